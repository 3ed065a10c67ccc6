//! The calls of one connection: those it made, those its worker runs, and the parked calls that its worker could run.
//! Created with the first of them, so an idle watcher has none. Decides nothing.

use std::collections::HashMap;

use crate::engine::rng::{HashKeys, NumberHashKeys};

#[cfg(debug_assertions)]
use super::call::{Call, Place};
#[cfg(debug_assertions)]
use crate::engine::interface::ConnId;

use super::call::CallId;
use super::list::CallList;
use super::parked_notes::ParkedNotes;
use super::routing::Load;

/// Room for this many calls stays allocated when all calls of a connection have ended. `--max-calls` bounds a burst,
/// but every connection that ever had one would keep its memory.
const MADE_KEPT: usize = 64;

/// The calls of one connection, as caller and as provider.
#[derive(Debug)]
pub(crate) struct ConnectionCalls {
    /// Calls that this caller waits for, by its request ids.
    made: HashMap<u64, CallId, NumberHashKeys>,
    /// Calls that this worker runs.
    running: CallList,
    in_flight: u32,
    capacity: u32,
    /// Of the calls it runs, those whose deadline has passed.
    overdue: u32,
    /// Of the calls it runs, those without a caller.
    abandoned: u32,
    /// Bytes of arguments kept of the calls it made.
    retained: usize,
    /// Of the calls it made, those that are parked.
    waiting: usize,
    /// The parked calls that this worker could run.
    parked: ParkedNotes,
}

impl ConnectionCalls {
    pub(crate) fn new(capacity: u32, keys: HashKeys) -> Self {
        Self {
            made: HashMap::with_hasher(keys.for_numbers()),
            running: CallList::default(),
            in_flight: 0,
            capacity,
            overdue: 0,
            abandoned: 0,
            retained: 0,
            waiting: 0,
            parked: ParkedNotes::new(keys),
        }
    }

    // As a caller.

    /// Number of calls that it waits for and that it runs.
    pub(crate) fn len(&self) -> usize {
        self.made.len() + self.in_flight as usize
    }

    /// Number of calls it waits for.
    pub(crate) fn made(&self) -> usize {
        self.made.len()
    }

    /// The call with this request id.
    pub(crate) fn made_by_request(&self, request: u64) -> Option<CallId> {
        self.made.get(&request).copied()
    }

    /// The calls it waits for, oldest first.
    pub(crate) fn all_made(&self) -> Vec<CallId> {
        in_order(self.made.values().copied())
    }

    pub(crate) fn insert_made(&mut self, request: u64, call: CallId) {
        self.made.insert(request, call);
    }

    /// A call that it made has its ending.
    pub(crate) fn remove_made(&mut self, request: u64) {
        self.made.remove(&request);
        if self.made.is_empty() && self.made.capacity() > MADE_KEPT {
            self.made.shrink_to(MADE_KEPT);
        }
    }

    /// Removes and returns the calls it waits for, oldest first.
    pub(crate) fn drain_made(&mut self) -> Vec<CallId> {
        self.waiting = 0;
        in_order(self.made.drain().map(|(_, call)| call))
    }

    /// Of the calls it made, those that are parked.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A call that it made is parked.
    pub(crate) fn start_waiting(&mut self) {
        self.waiting += 1;
    }

    /// A call that it made is not parked any more, or has its ending.
    pub(crate) fn stop_waiting(&mut self) {
        self.waiting -= 1;
    }

    /// Bytes of arguments kept of the calls it made.
    pub(crate) fn retained(&self) -> usize {
        self.retained
    }

    pub(crate) fn add_retained(&mut self, bytes: usize) {
        self.retained += bytes;
    }

    pub(crate) fn remove_retained(&mut self, bytes: usize) {
        self.retained -= bytes;
    }

    // As a provider.

    /// The load of the worker. `congested` adds to what it knows itself.
    pub(crate) fn load(&self, congested: bool) -> Load {
        Load {
            in_flight: self.in_flight,
            capacity: self.capacity,
            overdue: self.overdue > 0,
            congested,
        }
    }

    /// Whether it runs a call without a caller.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.abandoned > 0
    }

    /// The deadline of a call that it runs has passed.
    pub(crate) fn count_overdue(&mut self) {
        self.overdue += 1;
    }

    /// A call that it runs has lost its caller.
    pub(crate) fn count_abandoned(&mut self) {
        self.abandoned += 1;
    }

    pub(super) fn running(&self) -> CallList {
        self.running
    }

    /// One call more runs. Returns the list to add it to.
    pub(super) fn start_running(&mut self) -> &mut CallList {
        self.in_flight += 1;
        &mut self.running
    }

    /// One call less runs. Returns the list to remove it from.
    pub(super) fn stop_running(&mut self, is_overdue: bool, is_abandoned: bool) -> &mut CallList {
        self.in_flight -= 1;
        self.overdue -= u32::from(is_overdue);
        self.abandoned -= u32::from(is_abandoned);
        &mut self.running
    }

    // Parked calls.

    pub(crate) fn parked_mut(&mut self) -> &mut ParkedNotes {
        &mut self.parked
    }

    /// Whether there may be parked calls that this worker could run.
    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}

#[cfg(debug_assertions)]
impl ConnectionCalls {
    /// Recounts what is kept beside the calls that this worker runs, and those that it made, by their requests.
    pub(super) fn check_books(&self, id: ConnId, runs: &[&Call], waits_for: &[(u64, &Call)]) {
        let Self {
            made,
            running: _,
            in_flight,
            capacity: _,
            overdue,
            abandoned,
            retained,
            waiting,
            parked,
        } = self;
        let count = |is: fn(&Call) -> bool| runs.iter().filter(|call| is(call)).count() as u32;
        assert!(runs.iter().all(|it| it.place == Place::Running(id)));
        assert_eq!(*in_flight, count(|_| true), "in flight on {id:?}");
        assert_eq!(*overdue, count(|it| it.overdue), "overdue on {id:?}");
        let without_caller = count(|it| it.caller.is_none());
        assert_eq!(*abandoned, without_caller, "abandoned on {id:?}");
        assert_eq!(made.len(), waits_for.len(), "made by {id:?}");
        for (request, call) in waits_for {
            assert_eq!(made.get(request), Some(&call.id), "made by {id:?}");
        }
        let arguments = waits_for.iter().filter_map(|(_, it)| it.arguments.as_ref());
        let bytes: usize = arguments.map(|it| it.bytes()).sum();
        assert_eq!(*retained, bytes, "retained for {id:?}");
        let is_parked = |(_, call): &&(u64, &Call)| call.place == Place::Parked;
        let parked_calls = waits_for.iter().filter(is_parked).count();
        assert_eq!(*waiting, parked_calls, "parked calls of {id:?}");
        parked.check_books();
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The parked calls that this worker could run.
    pub(crate) fn parked(&self) -> &ParkedNotes {
        &self.parked
    }
}

/// Calls in the order of their ids: that of a hash map differs from run to run.
fn in_order(calls: impl Iterator<Item = CallId>) -> Vec<CallId> {
    let mut calls: Vec<CallId> = calls.collect();
    calls.sort_unstable_by_key(|call| call.wire());
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    #[test]
    fn a_burst_of_calls_leaves_little_memory_behind() {
        let mut calls = ConnectionCalls::new(1, Rng::new([0; 32]).hash_keys());
        for request in 0..10_000 {
            calls.insert_made(request, CallId::from_wire(request));
        }
        for request in 0..10_000 {
            calls.remove_made(request);
        }
        assert!(calls.made.is_empty() && calls.made.capacity() < 4 * MADE_KEPT);
    }
}
