//! Routing: the choice of a provider for a call. A provider of the lowest tier that has room is chosen: the one with the
//! lowest ratio of calls in flight to capacity, round-robin among equals. Providers that hold a call past its deadline are
//! passed over while another has room, also if that is one of a higher tier. Keeps no state.

use crate::engine::interface::ConnId;
use crate::engine::registry::board::Provider;
use crate::engine::rng::Rng;

/// Above this many providers of a tier, two random ones are compared instead of all: nearly as even, and O(1).
const COMPARE_ALL: usize = 16;

/// The load of a provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) in_flight: u32,
    pub(crate) capacity: u32,
    /// It holds a call past its deadline.
    pub(crate) overdue: bool,
    /// Its connection does not read what it was sent, or it holds calls without a caller while the engine holds too
    /// many of those.
    pub(crate) congested: bool,
}

impl Load {
    pub(crate) fn has_room(self) -> bool {
        self.in_flight < self.capacity && !self.congested
    }

    /// Whether the ratio of calls in flight to capacity is lower.
    fn is_lighter_than(self, other: Self) -> bool {
        u64::from(self.in_flight) * u64::from(other.capacity)
            < u64::from(other.in_flight) * u64::from(self.capacity)
    }
}

/// The route of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    To(ConnId),
    /// There are providers, and none has room.
    Full,
    /// There is no provider.
    NoProvider,
}

/// Chooses among `providers`; with `pinned`, that worker or none.
pub(crate) fn choose_provider(
    providers: &[Provider],
    round_robin: &mut usize,
    pinned: Option<u64>,
    load_of: impl Fn(ConnId) -> Option<Load>,
    rng: &mut Rng,
) -> Route {
    if let Some(worker) = pinned {
        let Some(provider) = providers.iter().find(|provider| provider.worker == worker) else {
            return Route::NoProvider;
        };
        let has_room = load_of(provider.conn).is_some_and(Load::has_room);
        return if has_room {
            Route::To(provider.conn)
        } else {
            Route::Full
        };
    }
    // Most functions have one.
    if let [only] = providers {
        let has_room = load_of(only.conn).is_some_and(Load::has_room);
        return if has_room {
            Route::To(only.conn)
        } else {
            Route::Full
        };
    }
    let chosen = [false, true].into_iter().find_map(|overdue| {
        tiers(providers).find_map(|tier| choose(tier, round_robin, overdue, &load_of, rng))
    });
    chosen.map_or(Route::Full, Route::To)
}

/// The tiers of providers that are in the order of their tiers, the lowest first.
fn tiers(mut providers: &[Provider]) -> impl Iterator<Item = &[Provider]> {
    std::iter::from_fn(move || {
        let (first, last) = (providers.first()?, providers.last()?);
        let end = if first.tier == last.tier {
            providers.len()
        } else {
            providers.partition_point(|it| it.tier == first.tier)
        };
        let (tier, higher) = providers.split_at(end);
        providers = higher;
        Some(tier)
    })
}

/// Chooses within a tier; overdue providers only if `overdue` is set.
fn choose(
    tier: &[Provider],
    round_robin: &mut usize,
    overdue: bool,
    load_of: &impl Fn(ConnId) -> Option<Load>,
    rng: &mut Rng,
) -> Option<ConnId> {
    let count = tier.len();
    if count > COMPARE_ALL && !overdue {
        let two = [(); 2].map(|()| rng.up_to(count as u64 - 1) as usize);
        if let Some(index) = lightest(two.into_iter(), tier, load_of, false) {
            return Some(tier[index].conn);
        }
    }
    // The first one of equals wins, so the start rotates.
    let first = *round_robin % count;
    let all = (first..count).chain(0..first);
    let index = lightest(all, tier, load_of, overdue)?;
    *round_robin = index + 1;
    Some(tier[index].conn)
}

/// The first of the lightest providers that have room; overdue ones only if `overdue` is set.
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
