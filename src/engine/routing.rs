//! Which provider a call goes to: the one with the lowest ratio of calls in flight to capacity, whose turn it
//! is among equals. A provider that holds a call past its deadline is passed over while another has room.

use super::ConnId;
use super::board::Provider;
use super::chance::Chance;

/// Above this many providers, two random ones are compared instead of all: nearly as even, and O(1).
const COMPARE_ALL: usize = 16;

/// What a provider carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) in_flight: u32,
    pub(super) capacity: u32,
    /// It holds a call past its deadline.
    pub(super) overdue: bool,
    /// Its connection does not take what it was sent before, or it holds what nobody waits for while too much
    /// of that is held.
    pub(super) choked: bool,
}

impl Load {
    pub(super) fn has_room(self) -> bool {
        self.in_flight < self.capacity && !self.choked
    }

    /// Carries less, in proportion.
    fn is_lighter_than(self, other: Self) -> bool {
        u64::from(self.in_flight) * u64::from(other.capacity)
            < u64::from(other.in_flight) * u64::from(self.capacity)
    }
}

/// Where a call can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    To(ConnId),
    /// There are providers, and none has room.
    Full,
    /// There is no provider.
    Nobody,
}

/// Chooses among `providers`; with `pinned`, that worker or none.
pub(super) fn choose(
    providers: &[Provider],
    turn: &mut usize,
    pinned: Option<u64>,
    load_of: impl Fn(ConnId) -> Option<Load>,
    chance: &mut Chance,
) -> Choice {
    if let Some(worker) = pinned {
        let Some(provider) = providers.iter().find(|provider| provider.worker == worker) else {
            return Choice::Nobody;
        };
        let has_room = load_of(provider.conn).is_some_and(Load::has_room);
        return if has_room {
            Choice::To(provider.conn)
        } else {
            Choice::Full
        };
    }
    // Most functions have one.
    if let [only] = providers {
        let has_room = load_of(only.conn).is_some_and(Load::has_room);
        return if has_room {
            Choice::To(only.conn)
        } else {
            Choice::Full
        };
    }
    let count = providers.len();
    if count > COMPARE_ALL {
        let two = [(); 2].map(|()| chance.up_to(count as u64 - 1) as usize);
        let lightest = lightest(two.into_iter(), providers, &load_of, false);
        if let Some(index) = lightest {
            return Choice::To(providers[index].conn);
        }
    }
    // From whose turn it is: of equals, the first one wins.
    let first = *turn % count;
    let all = || (first..count).chain(0..first);
    let best = lightest(all(), providers, &load_of, false)
        .or_else(|| lightest(all(), providers, &load_of, true));
    match best {
        Some(index) => {
            *turn = index + 1;
            Choice::To(providers[index].conn)
        }
        None => Choice::Full,
    }
}

/// The first of the lightest among those that have room; the overdue only if they are allowed.
fn lightest(
    indices: impl Iterator<Item = usize>,
    providers: &[Provider],
    load_of: &impl Fn(ConnId) -> Option<Load>,
    overdue: bool,
) -> Option<usize> {
    let mut best: Option<(usize, Load)> = None;
    for index in indices {
        let Some(load) = load_of(providers[index].conn) else {
            continue;
        };
        let eligible = load.has_room() && (overdue || !load.overdue);
        if eligible && best.is_none_or(|(_, best)| load.is_lighter_than(best)) {
            best = Some((index, load));
        }
    }
    best.map(|(index, _)| index)
}
