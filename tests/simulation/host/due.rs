//! What must have happened by the end of a turn: ends of calls, of a drain and of connections, reading again, READY,
//! PING and death by silence each have their turn. What comes only with the next heartbeat, the end of the grace or a
//! timeout is late. It asks the engine nothing but what a server asks it.

use callboard::engine::Stats;
use callboard::limits::Limits;

use super::{Conn, Host, Surroundings};
use crate::call_oracle::CallOracle;
use crate::coincidences::{Happening, happened};
use crate::journal::hold;
use crate::peer_model::{PeerModel, Phase, has_passed};

/// The promise that each of these breaks.
macro_rules! in_time {
    ($holds:expr, $($what:tt)*) => {
        hold!($holds, "nothing is late", $($what)*)
    };
}

/// Half of a second's worth of changes: the engine reads again when that much has refilled.
const HALF_REFILLED: u64 = 500_000;

impl Host {
    /// The turn is over. Nothing that was due in it is left.
    pub(super) fn assert_nothing_late(&mut self, stats: &Stats, around: &mut Surroundings<'_>) {
        let now = around.now;
        self.note_reading(now);
        self.assert_told_to_go();
        self.assert_read_again(stats, now);
        if self.is_overdue(now) {
            return;
        }
        self.assert_gone(now);
        self.assert_deadlines(now);
        self.assert_calls_ended(around.oracle, now);
        self.assert_drain_ended(around.oracle, now);
    }

    /// Takes down which connections the engine does not want to read.
    fn note_reading(&mut self, now: u64) {
        for (token, conn) in &mut self.conns {
            let is_over = self.engine_model.is_over(*token);
            if is_over {
                conn.over_since.get_or_insert(now);
            }
            if is_over || self.engine.wants_read(conn.id) {
                conn.paused_since = None;
                continue;
            }
            if conn.paused_since.is_none() {
                happened(Happening::Pause, Some(*token));
            }
            conn.unread_at = now;
            conn.paused_since.get_or_insert(now);
        }
    }

    /// A leaving connection that was sent all is closed as far as the engine can until the peer has.
    fn assert_told_to_go(&mut self) {
        for token in std::mem::take(&mut self.said_all) {
            let Some(conn) = self.conns.get(&token) else {
                continue;
            };
            in_time!(
                conn.half_closed && !conn.ended,
                "connection {token:x} was sent its last byte: {conn:?}"
            );
        }
    }

    /// A leaving connection is closed whole when its time is over.
    fn assert_gone(&self, now: u64) {
        let linger = self.engine_model.limits.linger * 1000;
        for (token, conn) in &self.conns {
            let until = conn.over_since.map(|since| since + linger);
            in_time!(
                until.is_none_or(|until| !has_passed(until, now)),
                "connection {token:x} lingers: {conn:?}"
            );
        }
    }

    /// The engine reads a connection that it owes nothing, unless that has used up its budget.
    fn assert_read_again(&self, stats: &Stats, now: u64) {
        if self.engine.has_more() {
            return;
        }
        let met = |flag| stats.limited.get(flag).copied().unwrap_or(0) > 0;
        if met(Limits::FLAGS.max_share) {
            // How much work a frame is, the engine alone knows.
            return;
        }
        let refilled = match self.engine_model.limits.changes_per_second {
            rate if met(Limits::FLAGS.changes_per_second) => HALF_REFILLED + 1_000_000 / rate,
            _ => 0,
        };
        for (token, conn) in &self.conns {
            let is_clean = self.is_clean(*token);
            let since = conn.paused_since.filter(|_| is_clean);
            in_time!(
                since.is_none_or(|since| !has_passed(since + refilled, now)),
                "connection {token:x} is owed nothing and not read: {conn:?}"
            );
        }
    }

    /// All that was due to a peer was written in this turn.
    fn is_clean(&self, token: u64) -> bool {
        let peer = self.engine_model.peers.get(&token);
        peer.is_some_and(|it| it.clean == self.engine_model.tick)
    }

    /// Each deadline of a connection that has passed had its effect.
    fn assert_deadlines(&self, now: u64) {
        for (token, conn) in &self.conns {
            let peer = &self.engine_model.peers[token];
            // One whose end waits for its turn has no deadlines.
            let has_none = matches!(peer.phase, Phase::Over(_)) || peer.ending.is_some();
            if has_none || self.broken.contains(token) {
                continue;
            }
            let late = self.late(*token, conn, peer, now);
            in_time!(
                late.is_none(),
                "connection {token:x}: {late:?}: {conn:?} {peer:?}"
            );
        }
    }

    /// When the next connection is ended by a deadline, if nothing comes from it.
    pub(crate) fn expiry_at(&self, now: u64) -> Option<u64> {
        let limits = &self.engine_model.limits;
        let of_one = |(token, conn): (&u64, &Conn)| {
            let peer = &self.engine_model.peers[token];
            let hello = peer.opened + limits.hello_timeout * 1000;
            let hello = (peer.phase == Phase::Greeting).then_some(hello);
            let write = conn
                .blocked_since
                .map(|it| it + limits.write_deadline * 1000);
            let frame = |(since, announced)| since + frame_time(limits, announced) * 1000;
            let times = [hello, write, peer.frame.map(frame)].into_iter().flatten();
            times
                .min()
                .filter(|_| !matches!(peer.phase, Phase::Over(_)))
        };
        let times = self.conns.iter().filter_map(of_one);
        let times = times.map(|it| it.next_multiple_of(1000));
        times.filter(|it| *it > now).min()
    }

    /// What should have happened to a connection before.
    fn late(&self, token: u64, conn: &Conn, peer: &PeerModel, now: u64) -> Option<&'static str> {
        let limits = &self.engine_model.limits;
        if peer.phase == Phase::Greeting {
            // A HELLO that the engine has read may wait for its turn.
            let until = (peer.opened + limits.hello_timeout * 1000).max(conn.unread_at + 1);
            let is_late = conn.paused_since.is_none() && has_passed(until, now);
            return is_late.then_some("hello_timeout");
        }
        // A connection has one timer. If that fired for another reason, it fires again with the next tick.
        let is_next = |until: u64| has_passed(until.max(conn.expired_at + 1), now);
        let write_until = |since| since + limits.write_deadline * 1000;
        if conn.blocked_since.map(write_until).is_some_and(is_next) {
            return Some("too_slow");
        }
        if conn.paused_since.is_some() {
            return None;
        }
        let ping_after = limits.ping_after;
        // A PING that was due together with something else may have gone out a tick later.
        let pinged_at = self.checkers[&token].pinged_at;
        let silent_since = peer.silent_since(ping_after * 1000).max(conn.unread_at);
        let silent_since = silent_since.max(pinged_at.saturating_sub(ping_after * 1000));
        // Before its PING is written, nobody but the engine knows when that was made.
        let is_pinged = pinged_at >= peer.spoke;
        if is_next(silent_since + limits.silence * 1000) && (is_pinged || self.is_clean(token)) {
            return Some("silent");
        }
        if peer.unconfirmed && is_next(silent_since + limits.ready_timeout * 1000) {
            return Some("a READY is no longer waited for");
        }
        if let Some((since, announced)) = peer.frame {
            let until = since.max(conn.unread_at) + frame_time(limits, announced) * 1000;
            if is_next(until) {
                return Some("frame_timeout");
            }
        }
        if is_next(silent_since + ping_after * 1000) && self.is_clean(token) && !is_pinged {
            return Some("PING");
        }
        None
    }

    /// A call that has ended for the engine has ended for its caller, unless that cannot be written to.
    fn assert_calls_ended(&self, oracle: &mut CallOracle, now: u64) {
        for index in oracle.open.clone() {
            let attempt = &mut oracle.attempts[index];
            if attempt.due.is_none() && has_passed(attempt.deadline, now) {
                attempt.due = Some("its deadline passed");
            }
            let attempt = &oracle.attempts[index];
            let intent = &oracle.intents[attempt.intent];
            if !self.is_clean(attempt.token) {
                continue;
            }
            let is_nowhere = || !intent.wait && self.engine_model.is_nowhere(attempt, intent);
            let why = attempt
                .due
                .or_else(|| is_nowhere().then_some("nobody runs it"));
            in_time!(
                why.is_none(),
                "call {} should have ended, since {why:?}: {intent:?} {attempt:?}",
                attempt.intent
            );
        }
    }

    /// A draining engine stops when the last caller has its ending, and at the end of the grace.
    fn assert_drain_ended(&self, oracle: &CallOracle, now: u64) {
        let model = &self.engine_model;
        let lives = model
            .peers
            .values()
            .any(|it| !matches!(it.phase, Phase::Over(_)));
        if !model.stopping || self.stopped || !lives {
            return;
        }
        let waits = |index: &usize| oracle.attempts[*index].due.is_none();
        in_time!(
            oracle.open.iter().any(waits),
            "the engine drains although nobody waits any more: {:?}",
            oracle.open
        );
        in_time!(
            self.grace_end.is_some_and(|end| now < end),
            "the engine drains beyond its grace"
        );
    }
}

/// How long a frame may take, in milliseconds.
pub(super) fn frame_time(limits: &Limits, announced: usize) -> u64 {
    limits.frame_timeout + announced as u64 * 1000 / (64 * 1024)
}
