//! The calls of one connection: those it made, those it runs, and what it could take over when it has room.
//! Made when the first of them is; an idle watcher has none.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::board::Name;
use super::call::{CallId, CallList};
use super::chance::{Keyed, KeyedNumbers};
use super::routing::Load;

/// What calls are parked under: a function, and the only worker that will do, if the caller said so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Park {
    pub(super) function: Name,
    pub(super) worker: Option<u64>,
}

/// Memory for so many calls stays with a connection whose calls have all ended: a burst is bounded by
/// `--max-calls`, but what it leaves behind would be held for each connection that ever had one.
const MADE_KEPT: usize = 64;

/// So many entries of what was once parked may stay without being looked at again.
const STALE_MAX: usize = 64;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Traffic {
    /// Calls that wait for an ending, by the caller's id.
    pub(super) made: HashMap<u64, CallId, KeyedNumbers>,
    /// Calls that this worker runs.
    pub(super) running: CallList,
    pub(super) in_flight: u32,
    pub(super) capacity: u32,
    /// How many of those it runs are past their deadline.
    pub(super) overdue: u32,
    /// How many of those it runs nobody waits for any more.
    pub(super) abandoned: u32,
    /// Bytes of arguments that are kept of the calls it made.
    pub(super) retained: usize,
    /// What calls are parked for that this worker could run, by when the first of them was parked.
    hungry: BTreeMap<u64, Park>,
    /// The same, to have each once.
    hungry_for: HashSet<Park, Keyed>,
}

impl Traffic {
    pub(super) fn new(capacity: u32, keys: Keyed) -> Self {
        Self {
            made: HashMap::with_hasher(keys.for_numbers()),
            running: CallList::default(),
            in_flight: 0,
            capacity,
            overdue: 0,
            abandoned: 0,
            retained: 0,
            hungry: BTreeMap::new(),
            hungry_for: HashSet::with_hasher(keys),
        }
    }

    /// A call that it made has its ending.
    pub(super) fn forget_made(&mut self, request: u64) {
        self.made.remove(&request);
        if self.made.is_empty() && self.made.capacity() > MADE_KEPT {
            self.made.shrink_to(MADE_KEPT);
        }
    }

    pub(super) fn load(&self, choked: bool) -> Load {
        Load {
            in_flight: self.in_flight,
            capacity: self.capacity,
            overdue: self.overdue > 0,
            choked,
        }
    }

    /// Notes that calls are parked that this worker could run, the first of them with this ticket.
    pub(super) fn ask_for(&mut self, ticket: u64, park: Park) {
        if self.hungry_for.insert(park.clone()) {
            self.hungry.insert(ticket, park);
        }
    }

    /// What to ask for next, and the ticket of the call that was the first there.
    pub(super) fn next_park(&mut self) -> Option<(u64, Park)> {
        let (ticket, park) = self.hungry.pop_first()?;
        self.hungry_for.remove(&park);
        Some((ticket, park))
    }

    /// Forgets where nobody is parked any more, if that is most of it.
    pub(super) fn forget_all_but(&mut self, parked: &HashMap<Park, CallList, Keyed>) {
        if self.hungry.len() > STALE_MAX && self.hungry.len() > 2 * parked.len() {
            self.hungry.retain(|_, park| parked.contains_key(park));
            self.hungry_for.retain(|park| parked.contains_key(park));
        }
    }

    pub(super) fn is_hungry(&self) -> bool {
        !self.hungry.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::chance::Chance;

    #[test]
    fn a_burst_of_calls_leaves_little_memory_behind() {
        let mut traffic = Traffic::new(1, Chance::new([0; 32]).hash_keys());
        for request in 0..10_000 {
            traffic.made.insert(request, CallId::from_wire(request));
        }
        for request in 0..10_000 {
            traffic.forget_made(request);
        }
        assert!(traffic.made.is_empty() && traffic.made.capacity() < 4 * MADE_KEPT);
    }
}
