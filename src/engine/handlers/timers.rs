//! Deadlines of connections: HELLO, incomplete frames, silence, stalled writes, takeovers, budgets, linger. Each
//! connection has one timer, set to its earliest deadline and computed again when it fires.

use crate::engine::connection::Connection;
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::Refusal;
use crate::engine::work;
use crate::engine::{Engine, Timer};
use crate::limits::Limits;
use crate::protocol::{Code, NoExtensions, Ping};

use super::backpressure::BUDGET_BURST;

/// Bytes of an announced frame for which its sender gets a further second.
const FRAME_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What happens at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Send a PING.
    Ping,
    /// Remove what a takeover left unconfirmed.
    Confirm,
    /// The budget has refilled: read again.
    Refilled,
    /// Close the connection, with this code.
    Close(Code),
    /// The time to read the GOODBYE is over.
    Linger,
}

/// The earliest deadline of a connection.
pub(super) fn earliest_deadline(conn: &Connection, limits: &Limits) -> (Time, Deadline) {
    let after = |time: Time, milliseconds| time.after(Limits::ms(milliseconds));
    if conn.is_leaving() {
        return (after(conn.phase_since(), limits.linger), Deadline::Linger);
    }
    // Computed with each read: the earliest is kept, not a list.
    let mut earliest = (Time(u64::MAX), Deadline::Ping);
    // What a peer is to send may be in what waits for its turn. One whose end waits is to send nothing.
    let waits = conn.has_deferred() || conn.is_eof_deferred();
    let Some(session) = conn.session() else {
        if waits {
            return earliest;
        }
        return (
            after(conn.phase_since(), limits.hello_timeout),
            Deadline::Close(Code::HelloTimeout),
        );
    };
    let mut consider = |at: Time, deadline| {
        if at < earliest.0 {
            earliest = (at, deadline);
        }
    };
    if let Some(since) = conn.blocked_since() {
        let at = after(since, limits.write_deadline);
        consider(at, Deadline::Close(Code::TooSlow));
    }
    let pause = conn.pause();
    if pause.budget {
        let at = conn.budget().half_refilled(BUDGET_BURST);
        consider(at, Deadline::Refilled);
    }
    let heard = conn.last_heard();
    // While the engine does not read, it can't blame a peer for silence.
    if !pause.any() && !waits {
        if !conn.is_pinged() {
            consider(after(heard, limits.ping_after), Deadline::Ping);
        }
        consider(after(heard, limits.silence), Deadline::Close(Code::Silent));
        if let Some(unread) = conn.unread()
            && let Some(announced) = unread.announced()
        {
            let wait = limits.frame_timeout + announced as u64 * 1000 / FRAME_BYTES_PER_SECOND;
            let at = after(unread.since(), wait);
            consider(at, Deadline::Close(Code::FrameTimeout));
        }
    }
    // Its READY may be in what is not read. Replies that pile up are its own fault.
    if session.is_unconfirmed() && !pause.budget && !waits {
        consider(after(heard, limits.ready_timeout), Deadline::Confirm);
    }
    earliest
}

impl Engine {
    /// Sets a connection's timer to its earliest deadline. A timer that fires too early is harmless, so a timer that is
    /// set is left alone unless it would fire too late.
    pub(super) fn arm(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        let (at, _) = earliest_deadline(conn, &self.config.limits);
        if at == Time(u64::MAX) {
            return;
        }
        let at = at.max(now);
        if let Some((timer, timer_at)) = conn.timer() {
            if timer_at <= at {
                return;
            }
            self.timers.remove(timer);
        }
        conn.set_timer(self.timers.insert(at, Timer::Connection(id)), at);
    }

    /// When [`Engine::poll_expired`] is to be called next, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let grace_end = self.lifecycle.grace_end();
        self.timers.next().into_iter().chain(grace_end).min()
    }

    /// The next connection whose deadline has passed. Read it once more (an engine that stalled must not close the
    /// connections of the innocent), then call [`Engine::handle_expired`], which checks again.
    pub fn poll_expired(&mut self, now: Time) -> Option<ConnId> {
        if self.lifecycle.grace_end().is_some_and(|end| end <= now) {
            self.metrics.count_limited(Limits::FLAGS.grace);
            self.stop(now);
        }
        while self.run.may_expire()
            && let Some(timer) = self.timers.expire(now)
        {
            self.run.expire(work::DEADLINE);
            let id = match timer {
                Timer::Connection(id) => id,
                Timer::Call(call) => {
                    self.expire_call(call, now);
                    continue;
                }
            };
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            conn.clear_timer();
            let (at, deadline) = earliest_deadline(conn, &self.config.limits);
            if at <= now {
                match deadline {
                    Deadline::Close(_) | Deadline::Linger | Deadline::Confirm => return Some(id),
                    Deadline::Ping => self.ping(id, now),
                    Deadline::Refilled => self.resume_after_refill(id, now),
                }
            }
            self.arm(id, now);
        }
        None
    }

    fn ping(&mut self, id: ConnId, now: Time) {
        let ping = Ping {
            revision: self.bookmark(id),
            ext: NoExtensions {},
        };
        if let Some(conn) = self.connections.get_mut(id) {
            // After a stall of the engine the PING is late: the answer may take as long as ever.
            let in_time = now.0.saturating_sub(self.config.limits.ping_after * 1000);
            conn.note_ping(Time(in_time));
        }
        self.send_unordered(id, ping.to_frame());
    }

    fn resume_after_refill(&mut self, id: ConnId, now: Time) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.pause_mut().budget = false;
            self.run_later(id);
        }
        self.resume(id, now);
    }

    /// The connection was read once more: acts on its deadline if that still has passed.
    pub fn handle_expired(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.connections.get(id) else {
            return;
        };
        let (at, deadline) = earliest_deadline(conn, &self.config.limits);
        match deadline {
            _ if at > now => self.arm(id, now),
            Deadline::Linger => {
                self.count_limited(id, Limits::FLAGS.linger);
                self.remove(id);
            }
            Deadline::Confirm => {
                if self.confirm(id, now) > 0 {
                    self.count_limited(id, Limits::FLAGS.ready_timeout);
                }
                self.arm(id, now);
            }
            Deadline::Close(code) => {
                self.run.expire(self.work_of_death(id));
                let refusal = expired(code, &self.config.limits);
                self.close_refused(id, &refusal, now);
            }
            Deadline::Ping | Deadline::Refilled => self.arm(id, now),
        }
    }

    /// Reads a connection again, unless it is paused for another reason. Its deadlines start over.
    pub(super) fn resume(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.pause().any() {
            return;
        }
        conn.excuse_silence(now);
        if let Some(unread) = conn.unread_mut() {
            unread.restart(now);
        }
        self.output.push_resume(id);
        self.arm(id, now);
    }
}

/// The refusal of a connection whose deadline has passed.
fn expired(code: Code, limits: &Limits) -> Refusal {
    let flags = &Limits::FLAGS;
    let (flag, message) = match code {
        Code::HelloTimeout => {
            let message = format!("no HELLO within {} ms", limits.hello_timeout);
            (flags.hello_timeout, message)
        }
        Code::FrameTimeout => {
            let message = "a frame was not completed in time".to_owned();
            (flags.frame_timeout, message)
        }
        Code::TooSlow => {
            let message = format!("the peer read nothing for {} ms", limits.write_deadline);
            (flags.write_deadline, message)
        }
        _ => {
            let message = format!("the peer sent nothing for {} ms", limits.silence);
            (flags.silence, message)
        }
    };
    Refusal::over(flag, code, &message)
}
