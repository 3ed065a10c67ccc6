//! Departures: the workers that left a namespace lately, and why. A ring bounded in number. Decides nothing about a
//! departure, and tells nobody.

use std::collections::VecDeque;

use crate::engine::interface::{Peer, Time};
use crate::engine::memory::{Charge, Usage};

use super::entry::Name;

/// Functions of which a departure keeps the names.
pub(crate) const NAMES_KEPT: usize = 16;

/// Bytes of a departure beside its names.
const DEPARTURE: usize = size_of::<Departure>() + NAMES_KEPT * size_of::<Name>();

/// How a worker left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Farewell {
    pub(crate) peer: Peer,
    /// The code of its GOODBYE, or `drain`, `eof` or `reset`.
    pub(crate) code: &'static str,
    pub(crate) at: Time,
    /// When its session began, over any connection.
    pub(crate) since: Time,
}

/// A worker that had registrations and left.
#[derive(Debug)]
pub(crate) struct Departure {
    /// Departures of a namespace are counted from 1.
    pub(crate) number: u64,
    pub(crate) worker: u64,
    pub(crate) name: Name,
    pub(crate) how: Farewell,
    /// How many functions and bindings left with it.
    pub(crate) functions: usize,
    pub(crate) bindings: usize,
    /// The first of its functions, in order: up to [`NAMES_KEPT`].
    pub(crate) first: Vec<Name>,
}

impl Departure {
    fn bytes(&self) -> usize {
        let names: usize = self.first.iter().map(|name| name.len()).sum();
        DEPARTURE + self.name.len() + names
    }
}

/// The last departures of a namespace.
#[derive(Debug)]
pub(crate) struct Departures {
    /// The oldest first.
    ring: VecDeque<Departure>,
    most: usize,
    /// The number of the newest.
    count: u64,
    /// Its bytes, among those of all logs.
    charge: Charge,
}

impl Departures {
    pub(super) fn new(most: u64, usage: &Usage) -> Self {
        Self {
            ring: VecDeque::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            count: 0,
            charge: usage.charge(0),
        }
    }

    /// Adds a departure, in place of the oldest if there are as many as are kept. Sets its number.
    pub(super) fn push(&mut self, departure: Departure) {
        self.count += 1;
        self.charge.add(departure.bytes());
        self.ring.push_back(Departure {
            number: self.count,
            ..departure
        });
        if self.ring.len() > self.most {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest half.
    pub(super) fn halve(&mut self) {
        for _ in 0..self.ring.len().div_ceil(2) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.ring.pop_front() {
            self.charge.remove(oldest.bytes());
        }
    }

    /// The departures before the one with this number, the newest first; all without a number.
    pub(crate) fn before(&self, number: Option<u64>) -> impl Iterator<Item = &Departure> {
        let end = number.map_or(self.ring.len(), |number| {
            self.ring.partition_point(|it| it.number < number)
        });
        self.ring.range(..end).rev()
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes()
    }
}

#[cfg(debug_assertions)]
impl Departures {
    pub(super) fn check_books(&self) {
        let Self {
            ring,
            most,
            count,
            charge,
        } = self;
        assert!(ring.len() <= *most, "departures");
        let numbers = ring.iter().map(|it| it.number);
        assert!(
            numbers.eq(count + 1 - ring.len() as u64..=*count),
            "numbers of departures"
        );
        let bytes: usize = ring.iter().map(Departure::bytes).sum();
        assert_eq!(charge.bytes(), bytes, "bytes of departures");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure(worker: u64) -> Departure {
        Departure {
            number: 0,
            worker,
            name: "w".into(),
            how: Farewell {
                peer: Peer::Unix {
                    pid: None,
                    uid: None,
                },
                code: "eof",
                at: Time(2),
                since: Time(1),
            },
            functions: 1,
            bindings: 0,
            first: vec!["f".into()],
        }
    }

    #[test]
    fn the_oldest_make_room_and_pages_end_where_the_last_one_did() {
        let usage = Usage::default();
        let mut departures = Departures::new(3, &usage);
        for worker in 1..=5 {
            departures.push(departure(worker));
            departures.check_books();
        }
        let workers =
            |before| -> Vec<u64> { departures.before(before).map(|it| it.worker).collect() };
        assert_eq!(workers(None), [5, 4, 3]);
        assert_eq!(workers(Some(5)), [4, 3]);
        assert_eq!(workers(Some(4)), [3]);
        // What the page before ended with is gone by now.
        assert!(workers(Some(2)).is_empty());
        assert_eq!(workers(Some(99)), [5, 4, 3]);
        departures.halve();
        departures.check_books();
        assert_eq!(departures.before(None).count(), 1);
        drop(departures);
        assert_eq!(usage.total(), 0);
    }

    #[test]
    fn none_are_kept_if_none_may_be() {
        let mut departures = Departures::new(0, &Usage::default());
        departures.push(departure(1));
        departures.check_books();
        assert_eq!(departures.before(None).count(), 0);
    }
}
