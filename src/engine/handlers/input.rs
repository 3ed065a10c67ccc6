//! Input: bytes become frames, frames become messages, and each message is dispatched to its handler. Handles none
//! itself but PING.

use log::debug;

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::connection::session::Sender;
use crate::engine::connection::unread::Unread;
use crate::engine::interface::{ConnId, Time};
use crate::engine::metrics::stats::Dropped;
use crate::engine::refusal::Refusal;
use crate::engine::registry::position::Stream;
use crate::limits::Limits;
use crate::protocol::{
    Changes, Code, DecodeError, FastPath, FrameError, Message, NoExtensions, Pong, Snapshot,
    check_wellformed, kind_of, read_wellformed,
};

use super::completion::Completion;

/// Bytes that a connection may send while it is being closed, before it is removed.
const DISCARD_MAX: u32 = 4 << 20;

/// Work that the frames of one connection may cause in one turn, in units of about a tenth of a microsecond: the
/// delivery of an event, a row of a list. A small frame can ask for very much of it, and other connections wait
/// meanwhile. A frame is always handled whole.
const WORK_PER_TURN: u64 = 20_000;

/// Values of a frame that are decoded for one unit of work. A megabyte of them may have no other effect.
pub(super) const VALUES_PER_WORK: u64 = 10;

impl Engine {
    /// Bytes came in, split at any place. All are accepted; if they cause too much work, some are handled in later
    /// turns, and [`Engine::wants_read`] denies reads until then.
    pub fn handle_bytes(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        self.metrics.count_bytes_in(bytes.len());
        conn.note_heard(now);
        if let Some(discarded) = conn.discard(bytes.len()) {
            if discarded > DISCARD_MAX {
                self.remove(id);
            }
            return;
        }
        match conn.unread_mut() {
            // The shell also reads to notice the end of a connection.
            Some(unread) if unread.has_deferred() => unread.defer(bytes),
            _ => self.handle_frames(id, bytes, now),
        }
        self.limit_partial(now);
    }

    fn handle_frames(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        // Taken out while frames borrow from it.
        let mut unread = conn.take_unread();
        let mut inbox = unread
            .as_mut()
            .map(|it| it.take_inbox())
            .unwrap_or_default();
        let had_partial = inbox.held() > 0;
        let frames_before = self.metrics.frames_in();
        let mut input = bytes;
        self.input.start_work();
        let fault = loop {
            let limits = &self.config.limits;
            let limit = match self.connections.get(id) {
                Some(conn) if conn.is_live() => limits.max_frame,
                Some(conn) if conn.is_greeting() => limits.max_hello,
                // Nothing is read after a GOODBYE.
                _ => return,
            };
            if self.input.work() >= WORK_PER_TURN {
                break None;
            }
            match inbox.next(&mut input, limit as usize) {
                Ok(Some(frame)) => {
                    self.metrics.count_frame_in();
                    self.handle_frame(id, frame, now);
                }
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        if let Some(fault) = fault {
            return self.refuse_frame(id, fault, now);
        }
        let work = self.input.work();
        if work > 0 {
            self.charge_work(id, work, now);
        }
        let is_new_frame = !had_partial || self.metrics.frames_in() > frames_before;
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if inbox.held() > 0 || !input.is_empty() {
            let usage = self.input.partial();
            let mut unread = unread.unwrap_or_else(|| Box::new(Unread::new(now, usage)));
            if inbox.held() > 0 && is_new_frame {
                unread.restart(now);
            }
            unread.store(inbox, input);
            conn.set_unread(unread);
            if !input.is_empty() && !conn.pause().budget {
                self.input.defer_again(id);
            }
        }
        self.check_outbound(id);
        self.arm(id, now);
    }

    /// Handles the bytes that earlier turns deferred.
    pub(super) fn handle_deferred(&mut self, now: Time) {
        for id in self.input.take_deferred() {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            // The engine did not read: that was no silence.
            conn.excuse_silence(now);
            let deferred = conn.unread_mut().map(Unread::take_deferred);
            self.handle_frames(id, &deferred.unwrap_or_default(), now);
            let Some(conn) = self.connections.get(id) else {
                continue;
            };
            if conn.is_leaving() || conn.has_deferred() {
                continue;
            }
            if conn.is_eof_deferred() {
                self.handle_eof(id, now);
            } else if !conn.pause().any() {
                self.output.push_resume(id);
            }
        }
        self.input.end_deferred();
    }

    fn refuse_frame(&mut self, id: ConnId, fault: FrameError, now: Time) {
        let is_greeting = self
            .connections
            .get(id)
            .is_some_and(Connection::is_greeting);
        let message = fault.to_string();
        let refusal = match fault {
            // Before WELCOME the limit is part of the protocol, not of the configuration.
            FrameError::TooLarge { .. } if is_greeting => {
                Refusal::over(Limits::FLAGS.max_hello, Code::ProtocolError, &message)
            }
            FrameError::TooLarge { .. } => {
                Refusal::over(Limits::FLAGS.max_frame, Code::FrameTooLarge, &message)
            }
            _ => Refusal::new(Code::ProtocolError, message),
        };
        self.close_refused(id, &refusal, now);
    }

    fn handle_frame(&mut self, id: ConnId, frame: &[u8], now: Time) {
        let Some(conn) = self.connections.get(id) else {
            return;
        };
        let from = conn.session().map(|session| session.sender(id));
        // CALL and its answers have a decoder of their own, once there is a session.
        if let Some(from) = from
            && let Some(fast) = FastPath::read(frame)
        {
            return match fast {
                FastPath::Call(call) => self.handle_call(from, &call, now),
                FastPath::Outcome(request, payload) => {
                    self.handle_answer(from, request, &Completion::Result(&payload), now);
                }
            };
        }
        // These kinds are lists of lists: decoding them only to refuse them would cost too much.
        match kind_of(frame) {
            Some(Snapshot::KIND) => return self.refuse_kind(id, "SNAPSHOT", now),
            Some(Changes::KIND) => return self.refuse_kind(id, "CHANGES", now),
            _ => {}
        }
        let message = check_wellformed(frame).map_err(DecodeError::from);
        let message = message.and_then(|values| {
            self.input.add_work(values as u64 / VALUES_PER_WORK);
            read_wellformed(frame)
        });
        match (message, from) {
            (Err(error), _) => {
                self.close_with(id, Code::ProtocolError, &error.to_string(), now);
            }
            (Ok(message), Some(from)) => self.handle_message(from, message, now),
            (Ok(message), None) => self.handle_first_message(id, message, now),
        }
    }

    /// Handles a message of a connection without a session.
    fn handle_first_message(&mut self, id: ConnId, message: Message<'_>, now: Time) {
        match message {
            Message::Hello(hello) => self.handle_hello(id, &hello, now),
            Message::Goodbye(_) => self.handle_goodbye(id, now),
            other => {
                let message = format!("{} came before HELLO", other.wire_name());
                self.close_with(id, Code::ProtocolError, &message, now);
            }
        }
    }

    fn handle_message(&mut self, from: Sender, message: Message<'_>, now: Time) {
        let id = from.conn;
        if self.refuse_used_id(id, &message, now) {
            return;
        }
        match message {
            Message::Register(register) => self.handle_register(from, &register, now),
            Message::Unregister(unregister) => self.handle_unregister(from, &unregister),
            Message::Ready(ready) => self.handle_ready(from, ready.id, now),
            Message::Ping(_) => {
                let pong = Pong {
                    revision: self.bookmark(id),
                    ext: NoExtensions {},
                };
                self.send_unordered(id, pong.to_frame());
            }
            Message::Pong(_) => {}
            Message::Drain(_) => self.handle_drain(from),
            Message::Goodbye(_) => self.handle_goodbye(id, now),
            Message::Hello(_) => {
                self.close_with(id, Code::ProtocolError, "a second HELLO", now);
            }
            Message::Bind(bind) => self.handle_bind(from, bind.id, &bind.bindings),
            Message::Unbind(unbind) => self.handle_unbind(from, unbind.id, &unbind.bindings),
            Message::Call(call) => self.handle_call(from, &call, now),
            Message::Cancel(cancel) => self.handle_cancel(from, cancel.id, now),
            Message::Outcome(outcome) => {
                let result = Completion::Result(&outcome.payload);
                self.handle_answer(from, outcome.id, &result, now);
            }
            Message::Failure(failure) => {
                self.handle_answer(from, failure.id, &Completion::Failure(&failure), now);
            }
            Message::Emit(emit) => self.handle_emit(from, &emit),
            Message::Unknown {
                kind,
                id: Some(request),
            } => {
                let message = format!("this engine does not support kind {kind}");
                self.refuse_request(id, request, &Refusal::new(Code::Unsupported, message));
            }
            Message::Unknown { kind, id: None } => {
                self.metrics.count_dropped(Dropped::UnknownKind);
                debug!("unknown kind {kind} ignored");
            }
            Message::Cast(cast) => self.handle_cast(from, &cast),
            Message::Welcome(_)
            | Message::Snapshot(_)
            | Message::Synced(_)
            | Message::Changes(_)
            | Message::Resync(_)
            | Message::Rights(_)
            | Message::Invoke(_) => {
                self.refuse_kind(id, &message.wire_name(), now);
            }
        }
    }

    /// A worker sent a kind that only the engine sends.
    fn refuse_kind(&mut self, id: ConnId, kind: &str, now: Time) {
        let message = format!("only the engine sends {kind}");
        self.close_with(id, Code::ProtocolError, &message, now);
    }

    /// The revision that a PING or PONG carries: everything that concerns the reader up to it was sent. 0 before SYNCED.
    pub(super) fn bookmark(&self, id: ConnId) -> u64 {
        let Some(conn) = self.connections.get(id) else {
            return 0;
        };
        let Some((namespace, (audience, _))) = conn.audience() else {
            return 0;
        };
        let namespace = &self.registry[namespace];
        match conn.outbox().stream() {
            Stream::Changes(position) if position.synced => {
                if position.at >= namespace.audience(audience).last() {
                    namespace.revision()
                } else {
                    position.at
                }
            }
            _ => 0,
        }
    }
}
