//! Who gets in: connections at once, from one address, and without HELLO. Counts who is there; says nothing to
//! anybody by itself.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::chance::Keyed;
use super::connection::{Connection, Phase};
use super::refusal::Refusal;
use super::{Close, ConnId, Engine, Peer, Shutdown, Time};
use crate::limits::Limits;
use crate::protocol::Code;

/// Where connections come from, as far as one party can have many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    V4(Ipv4Addr),
    /// Whoever has one IPv6 address has the 2^64 of its network.
    V6([u16; 4]),
    /// A user of this host; `None` for those of whom the kernel tells nothing.
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

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Door {
    /// Connections that were let in, by where they come from.
    origins: HashMap<Origin, u64, Keyed>,
    /// Connections that are told that there is no room.
    refused: u64,
    /// Connections without HELLO.
    greeting: u64,
    /// Those, in the order in which they came; and others that were among them.
    greeters: VecDeque<ConnId>,
}

impl Door {
    pub(super) fn new(keys: Keyed) -> Self {
        Self {
            origins: HashMap::with_hasher(keys),
            refused: 0,
            greeting: 0,
            greeters: VecDeque::new(),
        }
    }

    /// Connections that have not said HELLO.
    pub(super) fn greeting(&self) -> u64 {
        self.greeting
    }

    /// A connection said HELLO, or ended without.
    pub(super) fn greeted(&mut self) {
        self.greeting -= 1;
    }

    /// A connection is forgotten.
    pub(super) fn left(&mut self, conn: &Connection) {
        if conn.refused {
            self.refused -= 1;
            return;
        }
        let origin = Origin::of(&conn.peer);
        if let Some(count) = self.origins.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&origin);
            }
        }
    }
}

impl Engine {
    /// A connection was accepted. Over the limit it is refused with a GOODBYE and closed like any other; if many
    /// are just being refused, closed at once.
    ///
    /// # Panics
    /// When the key is still in use: the shell forgot to ask [`Engine::poll_close`] first.
    pub fn handle_open(&mut self, id: ConnId, peer: Peer, now: Time) {
        self.stats.accepted += 1;
        let stopping = self.shutdown != Shutdown::No;
        let refusal = self.check_room(&peer).filter(|_| !stopping);
        let max_refused = self.config.limits.max_refused;
        if let Some(refusal) = &refusal {
            refusal.count(&mut self.stats);
            if self.door.refused >= max_refused {
                self.stats.count_limited(Limits::FLAGS.max_refused);
                self.stats.count_closed(refusal.code.as_str());
                self.closes.push_back(Close::Socket(id));
                return;
            }
        }
        let key = id.key();
        if self.connections.len() <= key {
            self.connections.resize_with(key + 1, || None);
        }
        assert!(
            self.connections[key].is_none(),
            "slab key {key} is used twice"
        );
        let mut conn = Box::new(Connection::new(id, self.stats.accepted, peer, now));
        conn.refused = refusal.is_some();
        self.connections[key] = Some(conn);
        self.connected += 1;
        self.door.greeting += 1;
        if let Some(refusal) = refusal {
            self.door.refused += 1;
            return self.say_goodbye(id, refusal.code, &refusal.message, now);
        }
        *self.door.origins.entry(Origin::of(&peer)).or_default() += 1;
        if stopping {
            let message = "the engine is about to stop";
            return self.say_goodbye(id, Code::ShuttingDown, message, now);
        }
        self.door.greeters.push_back(id);
        self.arm(id, now);
        self.make_room_for_greeters(now);
    }

    /// What speaks against one more connection from there.
    fn check_room(&self, peer: &Peer) -> Option<Refusal> {
        let limits = &self.config.limits;
        let code = Code::TooManyConnections;
        let limit = limits.max_connections;
        if self.connected as u64 - self.door.refused >= limit {
            let message = format!("the engine serves {limit} connections");
            return Some(Refusal::over(Limits::FLAGS.max_connections, code, &message));
        }
        let limit = limits.max_connections_per_address;
        let there = self.door.origins.get(&Origin::of(peer)).copied();
        if limit > 0 && there.unwrap_or(0) >= limit {
            let flag = Limits::FLAGS.max_connections_per_address;
            let message = format!("the engine serves {limit} connections from there");
            return Some(Refusal::over(flag, code, &message));
        }
        None
    }

    /// The one that has been silent for longest goes, if too many are.
    fn make_room_for_greeters(&mut self, now: Time) {
        while let Some(&first) = self.door.greeters.front() {
            let silent = self
                .get(first)
                .is_some_and(|conn| conn.phase == Phase::Greeting);
            let limit = self.config.limits.max_greeting;
            if silent && self.door.greeting <= limit {
                return;
            }
            self.door.greeters.pop_front();
            if silent {
                let flag = Limits::FLAGS.max_greeting;
                let message = format!("more than {limit} connections have not said HELLO");
                let refusal = Refusal::over(flag, Code::TooManyConnections, &message);
                self.turn_away(first, &refusal, now);
            }
        }
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
