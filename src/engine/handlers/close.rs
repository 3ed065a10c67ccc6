//! The end of a connection: GOODBYE, the removal of everything that its worker provides, the calls that end with it,
//! and the close of its socket once everything that it is owed was written. Clean-up compares connections, never names.

use log::{Level, info, log};

use crate::engine::Engine;
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::connection::session::Session;
use crate::engine::connection::{CloseStep, Connection};
use crate::engine::interface::{Close, ConnId, Time};
use crate::engine::metrics::stats::Dropped;
use crate::engine::refusal::{Refusal, truncated};
use crate::engine::registry::departures::Farewell;
use crate::engine::registry::namespace::AudiencePlace;
use crate::engine::registry::roster::Worker;
use crate::engine::user_key::UserKey;
use crate::engine::work;
use crate::protocol::{Code, Goodbye, GoodbyeOptions, Text, VERSION};

/// No client is told to stay away for less than this, in milliseconds.
const RETRY_MIN: u64 = 100;
/// Clients that were not authenticated stay away for this much longer.
const UNAUTHORIZED_RETRY: u64 = 5000;
/// Returning connections are spread over a millisecond each, up to this many.
const RETRY_SPREAD_MAX: u64 = 5000;
/// The least spread.
const RETRY_SPREAD_MIN: u64 = 400;

impl Engine {
    /// The peer closed its sending half: its worker leaves the board, and what it is owed is still written.
    pub fn handle_eof(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if let Some(step) = conn.leaving_eof() {
            if step == CloseStep::Remove {
                self.remove(id);
            }
            return;
        }
        if conn.has_deferred() {
            return conn.defer_eof();
        }
        if self.postpone_death(id) {
            return;
        }
        self.leave(id, "eof", "the peer closed the connection", now);
        if let Some(conn) = self.connections.get_mut(id) {
            conn.leaving_eof();
            self.continue_close(id);
        }
    }

    /// The connection broke while it was read or written. `why` is for the log.
    pub fn handle_reset(&mut self, id: ConnId, why: &str, now: Time) {
        let Some(conn) = self.connections.get(id) else {
            return;
        };
        if !conn.is_leaving() {
            self.drop_unread(id);
            if self.postpone_death(id) {
                return self.input.note_broken(id, why);
            }
            self.leave(id, "reset", why, now);
        }
        self.remove(id);
    }

    /// What a connection has sent and was not handled has no effect any more.
    fn drop_unread(&mut self, id: ConnId) {
        let conn = self.connections.get_mut(id);
        let unread = conn.and_then(Connection::take_unread);
        if unread.is_some_and(|it| it.is_emitting()) {
            self.metrics.count_dropped(Dropped::EventUnfinished);
        }
    }

    /// A death is one step. If it is too large for the rest of the turn, it comes first in the next one; until then the
    /// worker gets no calls. Returns whether it does.
    fn postpone_death(&mut self, id: ConnId) -> bool {
        let work = self.work_of_death(id);
        if self.run.is_fresh(id) || work <= self.run.left() {
            return false;
        }
        if let Some(conn) = self.connections.get_mut(id) {
            conn.defer_eof();
        }
        self.run_first(id);
        true
    }

    /// The end of a connection that was postponed.
    pub(super) fn handle_postponed_end(&mut self, id: ConnId, now: Time) {
        match self.input.take_broken(id) {
            Some(why) => self.handle_reset(id, &why, now),
            None => self.handle_eof(id, now),
        }
    }

    pub(super) fn handle_goodbye(&mut self, id: ConnId, now: Time) {
        self.leave(id, Code::Bye.as_str(), "the peer said goodbye", now);
        self.continue_close(id);
    }

    /// As [`Engine::close_with`]; counts the limit that caused the refusal, if one did.
    pub(super) fn close_refused(&mut self, id: ConnId, refusal: &Refusal, now: Time) {
        self.count_refusal(id, refusal);
        self.close_with(id, refusal.code, &refusal.message, now);
    }

    /// Sends GOODBYE with the reason and closes the connection.
    pub(super) fn close_with(&mut self, id: ConnId, code: Code, message: &str, now: Time) {
        let conn = self.connections.get(id);
        let Some(conn) = conn.filter(|conn| !conn.is_leaving()) else {
            return;
        };
        let message = truncated(message);
        let retry = matches!(code, Code::ShuttingDown) || code.retryable();
        // A person has to change something before the next attempt can succeed.
        let longer = if code == Code::Unauthorized && conn.is_greeting() {
            UNAUTHORIZED_RETRY
        } else {
            0
        };
        let retry_after_ms = retry.then(|| longer + self.retry_after());
        let versions = if code == Code::UnsupportedVersion {
            vec![VERSION]
        } else {
            Vec::new()
        };
        let goodbye = Goodbye {
            code: Text(code.as_str()),
            message: Text(message),
            ext: GoodbyeOptions {
                retry_after_ms,
                versions,
            },
        };
        self.send_unordered(id, goodbye.to_frame());
        self.leave(id, code.as_str(), message, now);
    }

    /// When a client that is sent away shall come back, in milliseconds: jittered, so that a fleet does not return at
    /// one instant.
    pub(super) fn retry_after(&mut self) -> u64 {
        let spread = self.connections.len() as u64;
        let spread = spread.clamp(RETRY_SPREAD_MIN, RETRY_SPREAD_MAX);
        RETRY_MIN + self.rng.up_to(spread)
    }

    /// Begins to close a connection: everything that its worker provides leaves the board in this turn. What it is owed
    /// is still offered until the linger deadline.
    fn leave(&mut self, id: ConnId, code: &'static str, message: &str, now: Time) {
        self.drop_unread(id);
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.is_greeting() {
            self.admission.end_greeting();
        }
        conn.start_leaving(now);
        self.output.queue().push(conn);
        // It may have been held back. From now on it is read in any case, and what it sends is discarded.
        self.output.push_resume(id);
        self.metrics.count_closed(code);
        let (user, had_session) = (conn.user(), conn.last_session().is_some());
        let work = self.work_of_death(id);
        let mut functions = 0;
        if had_session {
            self.run.charge(user, work);
            functions = self.end_session(id, code, now);
            if functions > 0 {
                self.run.note_changer(user);
            }
            self.cancel_made(id);
            self.end_running(id, now);
        }
        #[cfg(debug_assertions)]
        self.log_end(id, code, work);
        // A spectator that said goodbye is no news, and a failed authentication was logged before.
        let is_logged = code == Code::Unauthorized.as_str() && !had_session;
        let level = if code == Code::Bye.as_str() && functions == 0 || is_logged {
            Level::Debug
        } else {
            Level::Info
        };
        if level == Level::Debug || self.may_log(now) {
            self.log_close(id, level, code, message, functions);
        }
        self.arm(id, now);
        // It may have been the last connection that a draining engine waited for.
        self.stop_if_idle(now);
    }

    /// The work of withdrawing what the worker of a connection has, and of ending its calls.
    pub(super) fn work_of_death(&self, id: ConnId) -> u64 {
        let conn = self.connections.get(id);
        let Some(session) = conn.and_then(Connection::last_session) else {
            return 0;
        };
        let roster = self.registry[session.namespace()].roster();
        let worker = roster.get(session.worker());
        let registrations = worker.map_or(0, Worker::registrations);
        let calls = self.calls_of(id).map_or(0, ConnectionCalls::len);
        work::ENTRY.time * registrations as u64 + work::CALL.time * calls as u64
    }

    /// A connection of the user is gone, or belongs to another user now.
    pub(super) fn leave_user(&mut self, user: UserKey) {
        if self.users.leave(user) {
            self.run.forget(user);
        }
    }

    fn log_close(&self, id: ConnId, level: Level, code: &str, message: &str, functions: usize) {
        let Some(conn) = self.connections.get(id) else {
            return;
        };
        let (peer, message) = (conn.peer(), message.escape_debug());
        match conn.last_session() {
            Some(session) => log!(
                level,
                "{peer} closed: {code}: {message}; removed worker {} {:?} with {functions} functions",
                session.worker(),
                session.name(),
            ),
            None => log!(level, "{peer} closed before HELLO: {code}: {message}"),
        }
    }

    /// Removes the worker of a connection from the board. Returns the number of its functions. A session that was taken
    /// over belongs to the newer connection: nothing of it is removed.
    fn end_session(&mut self, id: ConnId, code: &'static str, now: Time) -> usize {
        if self.forget_session(id) {
            self.remove_worker(id, code, now)
        } else {
            0
        }
    }

    /// Removes what the worker of a connection provides and binds, and notes why. Returns the number of its functions.
    pub(super) fn remove_worker(&mut self, id: ConnId, code: &'static str, now: Time) -> usize {
        let Some(conn) = self.connections.get(id) else {
            return 0;
        };
        let Some(session) = conn.last_session() else {
            return 0;
        };
        let how = Farewell {
            peer: conn.peer(),
            code,
            at: now,
            since: session.since(),
        };
        self.registry[session.namespace()].remove_worker(session.worker(), how)
    }

    /// Invalidates the session keys of a connection. Returns whether it held the session.
    pub(super) fn forget_session(&mut self, id: ConnId) -> bool {
        let conn = self.connections.get_mut(id);
        let Some(session) = conn.and_then(Connection::last_session_mut) else {
            return false;
        };
        let (key, older) = (session.key(), session.take_older_key());
        if let Some(older) = older {
            self.sessions.remove_held(&older, id);
        }
        self.sessions.remove_held(&key, id)
    }

    /// Closes a leaving connection further, if everything that it is owed was written.
    pub(super) fn continue_close(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        match conn.next_close_step() {
            CloseStep::Wait => {}
            CloseStep::HalfClose => self.output.push_close(Close::SendingHalf(id)),
            CloseStep::Remove => self.remove(id),
        }
    }

    /// Forgets a connection and has its socket dropped.
    pub(super) fn remove(&mut self, id: ConnId) {
        let Some(conn) = self.connections.remove(id) else {
            return;
        };
        if let Some((timer, _)) = conn.timer() {
            self.timers.remove(timer);
        }
        self.input.take_broken(id);
        self.admission.remove(&conn.peer(), conn.is_refused());
        self.leave_user(conn.user());
        if let Some(session) = conn.into_last_session() {
            self.release_session(*session);
        }
        self.output.push_close(Close::Socket(id));
    }

    /// Releases the place of a session in its namespace.
    fn release_session(&mut self, mut session: Session) {
        let key = session.namespace();
        if let Some(filter) = session.take_requested() {
            self.registry[key].release_requested(&filter);
        }
        self.registry.disconnect(key);
        if let Some(place) = session.audience() {
            self.leave_audience(key, place);
        }
    }

    /// Removes a connection from its audience; another member may move to its place.
    pub(super) fn leave_audience(&mut self, namespace: usize, place: AudiencePlace) {
        let moved = self.registry[namespace].leave(place);
        let Some(moved) = moved.and_then(|id| self.connections.get_mut(id)) else {
            return;
        };
        self.output.queue().push_continuation(moved);
        if let Some(session) = moved.last_session_mut() {
            session.set_audience(Some(place));
        }
    }

    /// Whether a log line about a single peer may be written. Those that may not are counted.
    pub fn may_log(&mut self, now: Time) -> bool {
        let rate = self.config.limits.log_lines_per_second;
        let Some(suppressed) = self.metrics.may_log(now, rate) else {
            return false;
        };
        if suppressed > 0 {
            info!("suppressed {suppressed} lines about single peers (--log-lines-per-second)");
        }
        true
    }
}
