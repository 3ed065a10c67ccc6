//! Counts of connections for admission: per origin, refused, and without HELLO. Counts; refuses nothing.

#[cfg(debug_assertions)]
use std::collections::BTreeMap;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use crate::engine::interface::{ConnId, Peer};
use crate::engine::rng::HashKeys;

#[cfg(debug_assertions)]
use super::{Connection, table::ConnectionTable};

/// The origin of a connection: the unit that `--max-connections-per-address` limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Origin {
    V4(Ipv4Addr),
    /// An IPv6 network: the holder of one address has the 2^64 of its network.
    V6([u16; 4]),
    /// A user of this host; `None` if the kernel does not report it.
    User(Option<u32>),
}

impl Origin {
    fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => Self::V4(address),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    Self::V6([a, b, c, d])
                }
            },
            Peer::Unix { uid, .. } => Self::User(*uid),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(&Peer::Tcp(address.parse().unwrap()))
    }

    #[test]
    fn an_origin_is_an_address_a_network_of_ipv6_or_a_user() {
        assert_eq!(origin("10.0.0.1:1"), origin("10.0.0.1:2"));
        assert_ne!(origin("10.0.0.1:1"), origin("10.0.0.2:1"));
        assert_eq!(origin("[::ffff:10.0.0.1]:1"), origin("10.0.0.1:1"));
        assert_eq!(origin("[2001:db8::1]:1"), origin("[2001:db8::2:3]:1"));
        assert_ne!(origin("[2001:db8:0:1::]:1"), origin("[2001:db8::]:1"));
        let user = |pid, uid| {
            Origin::of(&Peer::Unix {
                pid: Some(pid),
                uid,
            })
        };
        assert_eq!(user(1, Some(5)), user(2, Some(5)));
        assert_ne!(user(1, Some(5)), user(1, Some(6)));
        assert_ne!(user(1, Some(5)), user(1, None));
    }
}
