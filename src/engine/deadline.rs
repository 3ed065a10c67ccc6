//! The clocks of connections: HELLO, unfinished frames, silence, stalled writes, takeovers, budgets, farewells.
//! Each connection has one timer, set to its earliest deadline and looked at again when it fires.

use crate::limits::Limits;
use crate::protocol::{Code, NoExtensions, Ping};

use super::connection::{Connection, Phase};
use super::refusal::Refusal;
use super::{ConnId, Engine, Shutdown, Time, Timer};

/// The bytes of an announced frame for which a peer gets a further second.
const FRAME_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What a deadline means when it has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Ask for a sign of life.
    Ping,
    /// What a newcomer did not register again leaves.
    Confirm,
    /// The budget allows it: read again.
    Unpause,
    /// End the connection, for this reason.
    End(Code),
    /// It had time enough to read its farewell.
    Drop,
}

impl Connection {
    /// The earliest deadline and what it means.
    fn next_due(&self, limits: &Limits) -> Option<(Time, Due)> {
        let after = |time: Time, milliseconds| time.after(Limits::ms(milliseconds));
        if let Phase::Leaving { .. } = self.phase {
            return Some((after(self.since, limits.linger), Due::Drop));
        }
        if self.phase == Phase::Greeting {
            return Some((
                after(self.since, limits.hello_timeout),
                Due::End(Code::HelloTimeout),
            ));
        }
        // Asked with each read: the earliest is kept, not a list.
        let mut earliest: Option<(Time, Due)> = None;
        let mut consider = |at: Time, due| {
            if earliest.is_none_or(|(earliest, _)| at < earliest) {
                earliest = Some((at, due));
            }
        };
        if let Some(since) = self.blocked_since {
            consider(after(since, limits.write_deadline), Due::End(Code::TooSlow));
        }
        if self.pause.budget {
            consider(self.budget.restored(), Due::Unpause);
        }
        // While the engine does not read, a peer can't be blamed for silence.
        if !self.pause.any() {
            if !self.pinged {
                consider(after(self.heard, limits.ping_after), Due::Ping);
            }
            consider(after(self.heard, limits.silence), Due::End(Code::Silent));
            if let Some(unread) = &self.unread
                && unread.inbox.held() > 0
            {
                let announced = unread.inbox.announced().unwrap_or(0) as u64;
                let wait = limits.frame_timeout + announced * 1000 / FRAME_BYTES_PER_SECOND;
                consider(after(unread.since, wait), Due::End(Code::FrameTimeout));
            }
        }
        // Its READY may be among what is not read. Replies that pile up are its own fault.
        let unconfirmed = self.identity.as_ref().is_some_and(|it| it.unconfirmed);
        if unconfirmed && !self.pause.budget {
            consider(after(self.heard, limits.ready_timeout), Due::Confirm);
        }
        earliest
    }
}

impl Engine {
    /// Sets a connection's timer to its earliest deadline. A timer that fires too early is harmless, so one
    /// that is set already is left alone unless it would fire too late.
    pub(super) fn arm(&mut self, id: ConnId, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let Some((at, _)) = conn.next_due(&self.config.limits) else {
            return;
        };
        let at = at.max(now);
        match conn.timer {
            Some(_) if conn.timer_at <= at => return,
            Some(timer) => {
                self.wheel.remove(timer);
            }
            None => {}
        }
        conn.timer = Some(self.wheel.insert(at, Timer::Connection(id)));
        conn.timer_at = at;
    }

    /// When [`Engine::poll_expired`] has something to say, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let grace = match self.shutdown {
            Shutdown::Draining(until) => Some(until),
            _ => None,
        };
        self.wheel.next().into_iter().chain(grace).min()
    }

    /// A connection whose deadline has passed. Read it once more (an engine that stalled must not kill the
    /// innocent), then say [`Engine::handle_expired`], which looks again.
    pub fn poll_expired(&mut self, now: Time) -> Option<ConnId> {
        if matches!(self.shutdown, Shutdown::Draining(until) if until <= now) {
            self.stats.count_limited(Limits::FLAGS.grace);
            self.stop(now);
        }
        while let Some(timer) = self.wheel.expire(now) {
            let id = match timer {
                Timer::Connection(id) => id,
                Timer::Call(call) => {
                    self.expire_call(call, now);
                    continue;
                }
            };
            let limits = &self.config.limits;
            let Some(conn) = super::live(&mut self.connections, id) else {
                continue;
            };
            conn.timer = None;
            match conn.next_due(limits) {
                Some((at, due)) if at <= now => match due {
                    Due::End(_) | Due::Drop | Due::Confirm => return Some(id),
                    Due::Ping => {
                        conn.pinged = true;
                        // An engine that stalled asks late: the answer may take as long as ever.
                        let asked = now.0.saturating_sub(limits.ping_after * 1000);
                        conn.heard = conn.heard.max(Time(asked));
                        let ping = Ping {
                            revision: self.bookmark(id),
                            ext: NoExtensions {},
                        };
                        self.send_any_time(id, ping.to_frame());
                    }
                    Due::Unpause => {
                        conn.pause.budget = false;
                        if conn.has_rest() {
                            self.rests.push(id);
                        }
                        self.unpause(id, now);
                    }
                },
                _ => {}
            }
            self.arm(id, now);
        }
        None
    }

    /// The connection was read once more: end it if its deadline still has passed.
    pub fn handle_expired(&mut self, id: ConnId, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let limits = &self.config.limits;
        match conn.next_due(limits) {
            Some((at, Due::Drop)) if at <= now => {
                self.stats.count_limited(Limits::FLAGS.linger);
                self.remove(id);
            }
            Some((at, Due::Confirm)) if at <= now => {
                if self.confirm(id, now) > 0 {
                    self.stats.count_limited(Limits::FLAGS.ready_timeout);
                }
                self.arm(id, now);
            }
            Some((at, Due::End(code))) if at <= now => {
                let flags = &Limits::FLAGS;
                let (flag, message) = match code {
                    Code::HelloTimeout => {
                        let message = format!("no HELLO within {} ms", limits.hello_timeout);
                        (flags.hello_timeout, message)
                    }
                    Code::FrameTimeout => {
                        let message = "a frame was begun and not completed in time".to_owned();
                        (flags.frame_timeout, message)
                    }
                    Code::TooSlow => {
                        let message = format!("nothing was read for {} ms", limits.write_deadline);
                        (flags.write_deadline, message)
                    }
                    _ => {
                        let message = format!("nothing was heard for {} ms", limits.silence);
                        (flags.silence, message)
                    }
                };
                self.turn_away(id, &Refusal::over(flag, code, &message), now);
            }
            _ => self.arm(id, now),
        }
    }

    /// Reads a connection again, if nothing else keeps it from being read. Its clocks start anew.
    pub(super) fn unpause(&mut self, id: ConnId, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if conn.pause.any() {
            return;
        }
        conn.heard = now;
        if let Some(unread) = &mut conn.unread {
            unread.since = now;
        }
        self.resumes.push_back(id);
        self.arm(id, now);
    }
}
