//! What comes in: bytes, ends. Bytes become frames, frames become messages, and each message
//! goes to whoever knows what to do about it.

use log::debug;

use crate::protocol::{
    Changes, Code, DecodeError, Executed, Failure, FrameError, Hot, Message, NoExtensions, Pong,
    Snapshot, Text, check_wellformed, kind_of, read_wellformed,
};

use super::connection::{Phase, Unread};
use super::ending::Ending;
use super::outbox::{OwnFrame, Stream};
use super::refusal::{Refusal, cut};
use super::stats::Dropped;
use super::{Close, ConnId, Engine, Time};
use crate::limits::Limits;

/// Bytes that a connection which is being closed may still send before it is cut off.
const DISCARD_MAX: u32 = 4 << 20;

/// Work that the frames of one connection may cause in one turn, in what costs about a tenth of a microsecond to
/// one: an event's delivery, a row of a list. A small frame can ask for very much of it, and the others wait
/// meanwhile. One frame is always handled whole.
const WORK_PER_TURN: u64 = 20_000;

/// Values of a frame that are looked at for one unit of work, whatever they are for: a megabyte of them may be for
/// nothing.
const VALUES_PER_WORK: u64 = 10;

impl Engine {
    /// Bytes came in, split in whatever way. All are taken; if they make too much work, some are handled in the
    /// turns that follow, and [`Engine::wants_read`] says no until then.
    pub fn handle_bytes(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        self.stats.bytes_in += bytes.len() as u64;
        conn.heard = now;
        conn.pinged = false;
        if let Phase::Leaving { discarded, .. } = &mut conn.phase {
            *discarded = discarded.saturating_add(bytes.len() as u32);
            if *discarded > DISCARD_MAX {
                self.remove(id);
            }
            return;
        }
        match &mut conn.unread {
            // A shell that looks for the end of a connection reads it all the same.
            Some(unread) if !unread.rest.is_empty() => {
                unread.rest.extend_from_slice(bytes);
                unread.note_held();
            }
            _ => self.handle_frames(id, bytes, now),
        }
        self.bound_partial(now);
    }

    fn handle_frames(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = self.get_mut(id) else { return };
        // Taken out while frames borrow from it.
        let mut unread = conn.unread.take();
        let inbox = unread.as_mut().map(|it| std::mem::take(&mut it.inbox));
        let mut inbox = inbox.unwrap_or_default();
        let was_held = inbox.held();
        let frames_before = self.stats.frames_in;
        let mut input = bytes;
        self.work.set(0);
        let fault = loop {
            let limits = &self.config.limits;
            let limit = match self.get(id).map(|conn| conn.phase) {
                Some(Phase::Greeting) => limits.max_hello,
                Some(Phase::Live) => limits.max_frame,
                // What follows a farewell is not read.
                _ => return,
            };
            if self.work.get() >= WORK_PER_TURN {
                break None;
            }
            match inbox.next(&mut input, limit as usize) {
                Ok(Some(frame)) => {
                    self.stats.frames_in += 1;
                    self.handle_frame(id, frame, now);
                }
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        if let Some(fault) = fault {
            return self.refuse_frame(id, fault, now);
        }
        let work = self.work.get();
        if work > 0 {
            self.charge_work(id, work, now);
        }
        let begun_anew = self.stats.frames_in > frames_before;
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if inbox.held() > 0 || !input.is_empty() {
            let new = || Box::new(Unread::new(now, &self.partial));
            let mut unread = unread.unwrap_or_else(new);
            if inbox.held() > 0 && (was_held == 0 || begun_anew) {
                unread.since = now;
            }
            unread.inbox = inbox;
            if !input.is_empty() {
                unread.rest = input.to_vec();
                if !conn.pause.budget {
                    self.later_rests.push(id);
                }
            }
            unread.note_held();
            conn.unread = Some(unread);
        }
        self.check_outbound(id);
        self.arm(id, now);
    }

    /// Notes what the frame that is being handled costs.
    pub(super) fn note_work(&self, work: u64) {
        self.work.set(self.work.get() + work);
    }

    /// Handles what earlier turns have left over.
    pub(super) fn handle_rests(&mut self, now: Time) {
        for id in std::mem::take(&mut self.rests) {
            let Some(conn) = self.get_mut(id) else {
                continue;
            };
            // The engine did not look: that was no silence.
            conn.heard = now;
            let unread = conn.unread.as_mut();
            let rest = unread.map(|unread| std::mem::take(&mut unread.rest));
            let rest = rest.unwrap_or_default();
            self.handle_frames(id, &rest, now);
            let Some(conn) = self.get_mut(id) else {
                continue;
            };
            if conn.is_leaving() || conn.has_rest() {
                continue;
            }
            if conn.rest_is_last {
                self.handle_eof(id, now);
            } else if !conn.pause.any() {
                self.resumes.push_back(id);
            }
        }
        self.rests = std::mem::take(&mut self.later_rests);
    }

    /// The peer closed its sending half: it is gone from the board; what it is owed is still written.
    pub fn handle_eof(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.get_mut(id) else { return };
        if let Phase::Leaving {
            heard_eof,
            half_closed,
            ..
        } = &mut conn.phase
        {
            *heard_eof = true;
            if *half_closed || !conn.outbox.owes() {
                self.remove(id);
            }
            return;
        }
        if conn.has_rest() {
            conn.rest_is_last = true;
            return;
        }
        self.leave(id, "eof", "the peer closed the connection", now);
        if let Some(conn) = self.get_mut(id) {
            if let Phase::Leaving { heard_eof, .. } = &mut conn.phase {
                *heard_eof = true;
            }
            self.finish_if_paid(id);
        }
    }

    /// The connection broke, in reading or writing. `why` is for the log.
    pub fn handle_reset(&mut self, id: ConnId, why: &str, now: Time) {
        let Some(conn) = self.get_mut(id) else { return };
        if !conn.is_leaving() {
            self.leave(id, "reset", why, now);
        }
        self.remove(id);
    }

    /// A connection that was [`super::Written::Blocked`] can be written to again.
    pub fn handle_writable(&mut self, id: ConnId) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if conn.blocked_since.take().is_some() {
            self.due.any(conn);
        }
    }

    fn refuse_frame(&mut self, id: ConnId, fault: FrameError, now: Time) {
        let greeting = self
            .get(id)
            .is_some_and(|conn| conn.phase == Phase::Greeting);
        let message = fault.to_string();
        let refusal = match fault {
            // Before WELCOME the limit is part of the protocol, not of the configuration.
            FrameError::TooLarge { .. } if greeting => {
                Refusal::over(Limits::FLAGS.max_hello, Code::ProtocolError, &message)
            }
            FrameError::TooLarge { .. } => {
                Refusal::over(Limits::FLAGS.max_frame, Code::FrameTooLarge, &message)
            }
            _ => Refusal::new(Code::ProtocolError, message),
        };
        self.turn_away(id, &refusal, now);
    }

    fn handle_frame(&mut self, id: ConnId, frame: &[u8], now: Time) {
        // Calls and their answers take the short way; all else, and all that comes before HELLO, the other.
        if self.get(id).is_some_and(|conn| conn.phase == Phase::Live)
            && let Some(hot) = Hot::read(frame)
        {
            return match hot {
                Hot::Call(call) => self.handle_call(id, &call, now),
                Hot::Outcome(request, payload) => {
                    self.handle_answer(id, request, &Ending::Result(&payload), now);
                }
            };
        }
        // Lists of lists: to read them only to see that they are nothing to say here would cost too much.
        match kind_of(frame) {
            Some(Snapshot::KIND) => return self.refuse_own_kind(id, "SNAPSHOT", now),
            Some(Changes::KIND) => return self.refuse_own_kind(id, "CHANGES", now),
            _ => {}
        }
        let message = check_wellformed(frame).map_err(DecodeError::from);
        let message = message.and_then(|values| {
            self.note_work(values as u64 / VALUES_PER_WORK);
            read_wellformed(frame)
        });
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                return self.say_goodbye(id, Code::ProtocolError, &error.to_string(), now);
            }
        };
        let Some(conn) = self.get_mut(id) else { return };
        if conn.phase == Phase::Greeting {
            return match message {
                Message::Hello(hello) => self.handle_hello(id, &hello, now),
                Message::Goodbye(_) => self.handle_goodbye(id, now),
                other => {
                    let message = format!("{} came before HELLO", other.wire_name());
                    self.say_goodbye(id, Code::ProtocolError, &message, now);
                }
            };
        }
        match message {
            Message::Register(register) => self.handle_register(id, &register, now),
            Message::Unregister(unregister) => self.handle_unregister(id, &unregister),
            Message::Ready(ready) => self.handle_ready(id, ready.id, now),
            Message::Ping(_) => {
                let pong = Pong {
                    revision: self.bookmark(id),
                    ext: NoExtensions {},
                };
                self.send_any_time(id, pong.to_frame());
            }
            Message::Pong(_) => {}
            Message::Drain(_) => self.handle_drain(id),
            Message::Goodbye(_) => self.handle_goodbye(id, now),
            Message::Hello(_) => {
                self.say_goodbye(id, Code::ProtocolError, "a second HELLO", now);
            }
            Message::Bind(bind) => self.handle_bind(id, bind.id, &bind.bindings),
            Message::Unbind(unbind) => self.handle_unbind(id, unbind.id, &unbind.bindings),
            Message::Call(call) => self.handle_call(id, &call, now),
            Message::Cancel(cancel) => self.handle_cancel(id, cancel.id, now),
            Message::Outcome(outcome) => {
                self.handle_answer(id, outcome.id, &Ending::Result(&outcome.payload), now);
            }
            Message::Failure(failure) => {
                self.handle_answer(id, failure.id, &Ending::Failure(&failure), now);
            }
            Message::Emit(emit) => self.handle_emit(id, &emit),
            Message::Unknown {
                kind,
                id: Some(request),
            } => {
                let message = format!("this engine does not know kind {kind}, or not yet");
                self.refuse(id, request, &Refusal::new(Code::Unsupported, message));
            }
            Message::Unknown { kind, id: None } => {
                self.stats.count_dropped(Dropped::UnknownKind);
                debug!("unknown kind {kind} ignored");
            }
            Message::Cast(cast) => self.handle_cast(id, &cast),
            Message::Welcome(_)
            | Message::Snapshot(_)
            | Message::Synced(_)
            | Message::Changes(_)
            | Message::Resync(_)
            | Message::Rights(_)
            | Message::Invoke(_) => {
                self.refuse_own_kind(id, &message.wire_name(), now);
            }
        }
    }

    /// A worker said what is the engine's to say.
    fn refuse_own_kind(&mut self, id: ConnId, kind: &str, now: Time) {
        let message = format!("{kind} is the engine's to send");
        self.say_goodbye(id, Code::ProtocolError, &message, now);
    }

    /// What a PING or PONG names: all that concerns the reader up to it was sent. 0 before SYNCED.
    pub(super) fn bookmark(&self, id: ConnId) -> u64 {
        let Some(conn) = self.get(id) else { return 0 };
        let Some(identity) = &conn.identity else {
            return 0;
        };
        let namespace = &self.namespaces[identity.namespace];
        match (&conn.outbox.stream, identity.audience) {
            (Stream::Changes(position), Some((audience, _))) if position.synced => {
                let up_to_date = position.at >= namespace.audiences[audience].last;
                if up_to_date {
                    namespace.revision()
                } else {
                    position.at
                }
            }
            _ => 0,
        }
    }

    /// Answers a request with an error of the engine; nothing was done.
    pub(super) fn fail(&mut self, id: ConnId, request: u64, code: Code, message: &str) {
        let failure = Failure {
            id: request,
            code: Text(code.as_str()),
            message: Text(cut(message)),
            retryable: code.retryable(),
            executed: Executed::No,
            ..Failure::default()
        };
        self.reply(id, OwnFrame::Ready(failure.to_frame()));
    }

    /// Queues a frame that must not overtake this turn's changes.
    pub(super) fn reply(&mut self, id: ConnId, frame: OwnFrame) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        // What came behind its farewell would not be read.
        if conn.is_leaving() {
            return;
        }
        conn.outbox.push(frame, &mut self.spare);
        if !conn.touched {
            conn.touched = true;
            self.touched.push(id);
        }
    }

    /// The same, for a frame that `write` appends to what the connection is owed.
    pub(super) fn reply_with(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if conn.is_leaving() {
            return;
        }
        conn.outbox.push_with(&mut self.spare, write);
        if !conn.touched {
            conn.touched = true;
            self.touched.push(id);
        }
    }

    /// Queues a frame that may go at any time.
    #[allow(clippy::needless_pass_by_value)] // Callers make it for this.
    pub(super) fn send_any_time(&mut self, id: ConnId, frame: Vec<u8>) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        conn.outbox.push_any_time(&frame, &mut self.spare);
        self.due.reply(conn);
    }

    /// Stops reading a connection whose replies pile up.
    pub(super) fn check_outbound(&mut self, id: ConnId) {
        let limit = self.config.limits.max_outbound as usize;
        if let Some(conn) = super::live(&mut self.connections, id)
            && conn.outbox.bytes() > limit
            && !std::mem::replace(&mut conn.pause.outbound, true)
        {
            self.stats.count_limited(Limits::FLAGS.max_outbound);
        }
    }

    /// Forgets a connection and has its socket dropped.
    pub(super) fn remove(&mut self, id: ConnId) {
        let Some(slot) = self.connections.get_mut(id.key()) else {
            return;
        };
        let Some(mut conn) = slot.take_if(|conn| conn.id == id) else {
            return;
        };
        self.connected -= 1;
        if let Some(timer) = conn.timer {
            self.wheel.remove(timer);
        }
        self.door.left(&conn);
        self.release_identity(&mut conn);
        self.closes.push_back(Close::Socket(id));
    }
}
