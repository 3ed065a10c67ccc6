//! Counts of connections for admission: per origin, refused, and without HELLO. Counts; refuses nothing.

#[cfg(debug_assertions)]
use std::collections::BTreeMap;
use std::collections::{HashMap, VecDeque};

use crate::engine::interface::{ConnId, Peer};
use crate::engine::rng::HashKeys;

use super::origin::Origin;
#[cfg(debug_assertions)]
use super::{Connection, table::ConnectionTable};

/// Counts of connections.
#[derive(Debug)]
pub(crate) struct ConnectionCounts {
    /// Admitted connections, by origin.
    by_origin: HashMap<Origin, u64, HashKeys>,
    /// Connections that only get a GOODBYE, since there is no room for them.
    refused: u64,
    /// Connections without HELLO.
    greeting: u64,
    /// Those in the order of their arrival, and others that were among them.
    greeting_order: VecDeque<ConnId>,
}

impl ConnectionCounts {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Self {
            by_origin: HashMap::with_hasher(keys),
            refused: 0,
            greeting: 0,
            greeting_order: VecDeque::new(),
        }
    }

    /// Connections that only get a GOODBYE.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Connections without HELLO.
    pub(crate) fn greeting(&self) -> u64 {
        self.greeting
    }

    /// Admitted connections from the origin of this peer.
    pub(crate) fn count_of_origin(&self, peer: &Peer) -> u64 {
        self.by_origin.get(&Origin::of(peer)).copied().unwrap_or(0)
    }

    /// A connection was accepted, and has not said HELLO.
    pub(crate) fn add(&mut self, peer: &Peer, is_refused: bool) {
        self.greeting += 1;
        if is_refused {
            self.refused += 1;
        } else {
            *self.by_origin.entry(Origin::of(peer)).or_default() += 1;
        }
    }

    /// A connection said HELLO, or began to close without.
    pub(crate) fn end_greeting(&mut self) {
        self.greeting -= 1;
    }

    /// A connection was removed.
    pub(crate) fn remove(&mut self, peer: &Peer, is_refused: bool) {
        if is_refused {
            self.refused -= 1;
            return;
        }
        let origin = Origin::of(peer);
        if let Some(count) = self.by_origin.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.by_origin.remove(&origin);
            }
        }
    }

    /// A connection that may say HELLO is the latest.
    pub(crate) fn push_greeting(&mut self, id: ConnId) {
        self.greeting_order.push_back(id);
    }

    /// The earliest connection that may still be without HELLO.
    pub(crate) fn first_greeting(&self) -> Option<ConnId> {
        self.greeting_order.front().copied()
    }

    pub(crate) fn pop_greeting(&mut self) {
        self.greeting_order.pop_front();
    }
}

#[cfg(debug_assertions)]
impl ConnectionCounts {
    /// Recounts the connections.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_books(&self, connections: &ConnectionTable) {
        let Self {
            by_origin,
            refused,
            greeting,
            greeting_order,
        } = self;
        let mut recounted: BTreeMap<Origin, u64> = BTreeMap::new();
        for conn in connections.iter().filter(|conn| !conn.is_refused()) {
            *recounted.entry(Origin::of(&conn.peer())).or_default() += 1;
        }
        assert_eq!(by_origin.len(), recounted.len(), "origins");
        for (origin, count) in recounted {
            assert_eq!(by_origin.get(&origin), Some(&count), "{origin:?}");
        }
        let count = |is: fn(&Connection) -> bool| connections.iter().filter(|it| is(it)).count();
        assert_eq!(*refused, count(Connection::is_refused) as u64, "refused");
        let without_hello = count(Connection::is_greeting);
        assert_eq!(*greeting, without_hello as u64, "connections without HELLO");
        let waiting = greeting_order.iter().filter_map(|id| connections.get(*id));
        let waiting: Vec<u64> = waiting
            .filter(|conn| conn.is_greeting())
            .map(Connection::sequence)
            .collect();
        assert_eq!(waiting.len(), without_hello, "order of those without HELLO");
        assert!(waiting.is_sorted(), "order of those without HELLO");
    }
}
