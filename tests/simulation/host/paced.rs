//! Turns that do little work: the engine names the connections that are read, and says what it has handled; the model
//! and the pace follow. Checks what only makes sense there.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callboard::engine::{ConnId, Engine, Peer, Stats};

use super::sockets::Turn;
use super::{Conn, Host};
use crate::call_oracle::CallOracle;
use crate::journal::{hold, saw};
use crate::pace::{Deed, User};
use crate::peer_model::has_passed;
use crate::turn::Spent;

/// Addresses that connections come from.
pub(super) const ADDRESSES: u64 = 3;

/// A step of the engine: the connection, what it was, and its work.
type Step = (ConnId, Kind, u64);

/// What a step was.
enum Kind {
    Frame,
    Slice,
    End(&'static str),
    Parked,
    Judgement,
}

#[cfg(debug_assertions)]
pub(super) fn log_steps(engine: &mut Engine) {
    engine.log_steps();
}

#[cfg(debug_assertions)]
fn take_steps(engine: &mut Engine) -> Vec<Step> {
    use callboard::engine::StepKind;
    let kind = |kind| match kind {
        StepKind::Frame => Kind::Frame,
        StepKind::Slice => Kind::Slice,
        StepKind::End(code) => Kind::End(code),
        StepKind::Parked => Kind::Parked,
        StepKind::Judgement => Kind::Judgement,
    };
    let steps = engine.take_steps().into_iter();
    steps.map(|it| (it.conn, kind(it.kind), it.work)).collect()
}

/// What users owe for what was told, and the user of a connection, in the engine's own names.
#[cfg(debug_assertions)]
fn take_debts(engine: &mut Engine) -> Vec<(usize, u64)> {
    engine.take_debts()
}

#[cfg(debug_assertions)]
fn user_of(engine: &Engine, id: ConnId) -> Option<usize> {
    engine.user_of(id)
}

#[cfg(debug_assertions)]
fn is_slowed(engine: &Engine, id: ConnId) -> bool {
    engine.is_slowed(id)
}

// Without debug assertions the engine keeps no log, and no such world is run.

#[cfg(not(debug_assertions))]
pub(super) fn log_steps(_: &mut Engine) {}

#[cfg(not(debug_assertions))]
fn take_steps(_: &mut Engine) -> Vec<Step> {
    Vec::new()
}

#[cfg(not(debug_assertions))]
fn take_debts(_: &mut Engine) -> Vec<(usize, u64)> {
    Vec::new()
}

#[cfg(not(debug_assertions))]
fn user_of(_: &Engine, _: ConnId) -> Option<usize> {
    None
}

#[cfg(not(debug_assertions))]
fn is_slowed(_: &Engine, _: ConnId) -> bool {
    false
}

impl Turn<'_, '_> {
    /// The model hears what the engine has handled.
    pub(super) fn catch_up(&mut self) {
        let (oracle, now) = (&mut *self.around.oracle, self.around.now);
        self.host.catch_up(oracle, now, false);
    }

    /// Tells the engine which connections can be read.
    pub(super) fn announce(&mut self) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        for conn in host.conns.values_mut().filter(|it| !it.ended) {
            let up = &around.wires[&conn.wire].up;
            let is_there = up.arrived(around.now) > 0 || up.ended(around.now).is_some();
            let is_wanted = host.engine.wants_read(conn.id) || up.is_ending(around.now);
            let is_noticed = around.quiescent || around.at_once || !around.rng.one_in(4);
            if is_there && !is_wanted {
                saw("the engine did not read for a while");
                conn.held_back = true;
            }
            if is_there && is_wanted && is_noticed {
                conn.is_announced = true;
                host.engine.handle_readable(conn.id);
            }
        }
    }

    /// Reads the connection that the engine names, once.
    pub(super) fn read_named(&mut self, id: ConnId) {
        let token = self.host.token(id);
        let host = &mut *self.host;
        let Some(conn) = host.conns.get_mut(&token) else {
            return;
        };
        hold!(
            std::mem::take(&mut conn.is_announced),
            "the engine has that read which can be read",
            "connection {token:x}"
        );
        let before = self.around.wires[&conn.wire].up.under_way();
        let user = host.user(token);
        if let Some(pace) = &mut host.pace {
            pace.read(&user, token);
        }
        let wire = host.conns[&token].wire;
        self.read(token, 1);
        let (host, around) = (&mut *self.host, &mut *self.around);
        let Some(conn) = host.conns.get_mut(&token).filter(|it| !it.ended) else {
            return;
        };
        let up = &around.wires[&wire].up;
        let bytes = before - up.under_way();
        if let Some(pace) = &mut host.pace {
            pace.note_bytes(&user, token, bytes);
        }
        let is_read = bytes > 0;
        let is_there = up.arrived(around.now) > 0 || up.ended(around.now).is_some();
        if is_read && is_there {
            conn.is_announced = true;
            host.engine.handle_readable(id);
        }
    }
}

impl Host {
    /// The peer at the other end of a connection from this address.
    pub(super) fn peer_of(&self, address: u8) -> Peer {
        if self.pace.is_none() {
            return Peer::Unix {
                pid: None,
                uid: None,
            };
        }
        let address = format!("192.0.2.{address}:1");
        Peer::Tcp(address.parse().expect("an address"))
    }

    /// The user that a connection belongs to.
    fn user(&self, token: u64) -> User {
        self.engine_model.user(token)
    }

    /// The name of an address in the model, where it matters.
    pub(super) fn origin(&self, address: u8) -> Rc<str> {
        match self.pace {
            Some(_) => format!("address {address}").into(),
            None => "".into(),
        }
    }

    /// The wire of a connection whose event is being cast.
    pub(crate) fn emitting(&self) -> Option<u64> {
        let is_it = |(token, _): &(&u64, &Conn)| {
            let peer = self.engine_model.peers.get(*token);
            peer.is_some_and(|it| it.emission.is_some())
        };
        self.conns.iter().find(is_it).map(|(_, conn)| conn.wire)
    }

    /// Something that the engine has read is still to be handled, maybe when a budget has refilled.
    pub(crate) fn has_leftovers(&self) -> bool {
        let mut tokens = self.conns.keys();
        tokens.any(|token| self.engine_model.has_leftovers(*token))
    }

    /// The next turn has something to do, whatever happens until then.
    pub(crate) fn is_busy(&self, now: u64) -> bool {
        self.engine.has_more() || self.is_overdue(now)
    }

    /// Deadlines that have passed were left to the next turn.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        let next = self.engine.next_deadline();
        self.pace.is_some() && next.is_some_and(|at| has_passed(at.0, now))
    }

    pub(super) fn note_accept(&mut self, token: u64) {
        let user = self.user(token);
        if let Some(pace) = &mut self.pace {
            pace.accept(&user);
        }
    }

    /// The model hears what the engine has handled. `is_due`: a deadline or other rights may have ended connections, or a
    /// connection was not let in.
    pub(super) fn catch_up(&mut self, oracle: &mut CallOracle, now: u64, is_due: bool) {
        if self.pace.is_none() {
            return;
        }
        for (id, kind, work) in take_steps(&mut self.engine) {
            let token = self.token(id);
            let is_whole = matches!(kind, Kind::Frame);
            let mut user = self.user(token);
            let deed = match kind {
                Kind::Frame | Kind::Slice => {
                    let size = self.engine_model.handled(token, is_whole, oracle, now);
                    // HELLO makes it another one's, who pays for that.
                    user = self.user(token);
                    match kind {
                        Kind::Slice if size.bindings > 0 => Deed::Slice {
                            bindings: size.bindings,
                            bytes: 30_000,
                        },
                        _ => Deed::Frame {
                            entries: size.entries,
                            withdrawn: size.withdrawn,
                        },
                    }
                }
                Kind::Parked => Deed::Parked,
                Kind::Judgement => {
                    if let Some(checker) = self.checkers.get_mut(&token) {
                        checker.reload(&self.engine_model.peers[&token].filter);
                    }
                    self.engine_model.judge(token, oracle, now);
                    Deed::Judgement
                }
                Kind::End(code) => {
                    let is_known = self.engine_model.peers.get(&token);
                    let is_own = is_known.is_some_and(|it| it.ending == Some(code));
                    self.engine_model.ended(token, code, oracle);
                    let at_once = self.ending == Some(token);
                    if is_own {
                        Deed::Death { at_once }
                    } else {
                        Deed::End
                    }
                }
            };
            let pace = self.pace.as_mut().expect("checked");
            pace.step(&user, token, deed, work, is_due);
        }
    }

    /// The turn's input is over.
    pub(super) fn seal_pace(&mut self) {
        let Some(mut pace) = self.pace.take() else {
            return;
        };
        let mut names: BTreeMap<usize, User> = BTreeMap::new();
        for (token, conn) in &self.conns {
            let Some(key) = user_of(&self.engine, conn.id) else {
                continue;
            };
            let user = self.user(*token);
            let known = names.entry(key).or_insert_with(|| user.clone());
            hold!(
                *known == user,
                "connections are one user if they are a principal's or come from one address",
                "{token:x} of {user} is one with those of {known}"
            );
        }
        let count = names.values().collect::<BTreeSet<_>>().len();
        hold!(
            count == names.len(),
            "connections are one user if they are a principal's or come from one address",
            "one is several: {names:?}"
        );
        for (key, work) in take_debts(&mut self.engine) {
            if let Some(user) = names.get(&key) {
                pace.owe(user, work);
            }
        }
        let waits = |(token, conn): &(&u64, &Conn)| {
            let model = &self.engine_model;
            let is_slowed = is_slowed(&self.engine, conn.id);
            let has_leftovers = !is_slowed && model.has_leftovers(**token);
            has_leftovers || conn.is_announced && !model.is_over(**token)
        };
        // An engine that stops ends all of it when it likes.
        let stops = self.engine_model.stopping;
        let waiting = self.conns.iter().filter(|_| !stops).filter(waits);
        let waiting: BTreeMap<u64, User> = waiting
            .map(|(token, _)| (*token, self.user(*token)))
            .collect();
        let is_unread = |token: &&u64| !self.engine_model.has_leftovers(**token);
        let unread: BTreeSet<u64> = waiting.keys().filter(is_unread).copied().collect();
        let has_ended = |token: &u64| self.engine_model.peers[token].ending.is_some();
        if waiting.keys().any(has_ended) {
            saw("the end of a connection was postponed");
        }
        pace.seal(&waiting, &unread, |user| self.engine_model.weight(user));
        self.pace = Some(pace);
    }

    /// So much was written in the two phases of a turn.
    pub(super) fn note_writes(&self, phases: [Spent; 2], largest: usize) {
        if let Some(pace) = self.pace.as_ref().filter(|_| !self.engine_model.stopping) {
            for phase in phases {
                pace.wrote(phase.writes, phase.bytes, largest);
            }
        }
    }

    /// The turn is over. If the engine has nothing left to do, nothing is left that it could do.
    pub(super) fn assert_paced(&mut self, stats: &Stats, now: u64) {
        if self.pace.is_none() {
            return;
        }
        self.engine_model.assert_casts(stats);
        let unjudged = self.engine_model.unjudged();
        hold!(
            unjudged == 0 || unjudged < self.unjudged,
            "new credentials come to one connection after the other",
            "{unjudged} are left, as before"
        );
        if unjudged > 0 {
            saw("connections were left to be judged in the next turn");
        }
        self.unjudged = unjudged;
        self.overdue = if self.is_overdue(now) {
            saw("deadlines were left for the next turn");
            self.overdue + 1
        } else {
            0
        };
        hold!(
            self.overdue <= 1 + 3 * self.conns.len() as u64 + stats.calls,
            "deadlines are met one after the other",
            "{} turns have left some",
            self.overdue
        );
        if self.is_busy(now) {
            return;
        }
        for (token, conn) in &self.conns {
            hold!(
                is_slowed(&self.engine, conn.id)
                    || !conn.is_announced && !self.engine_model.has_leftovers(*token)
                    || self.engine_model.is_over(*token),
                "an engine that would sleep has nothing left to do",
                "connection {token:x}: {conn:?} {:?}",
                self.engine_model.peers[token]
            );
        }
        if let Some(pace) = &mut self.pace {
            pace.rest();
        }
    }
}
