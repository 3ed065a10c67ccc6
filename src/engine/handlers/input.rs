//! Input: bytes become frames, frames become messages, and each message is dispatched to its handler. Handles none
//! itself but PING.

use log::debug;

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::connection::batch::Batch;
use crate::engine::connection::session::Sender;
use crate::engine::connection::unread::Unread;
use crate::engine::interface::{ConnId, Time};
use crate::engine::metrics::stats::Dropped;
use crate::engine::refusal::Refusal;
use crate::engine::registry::position::Stream;
use crate::engine::work::{self, QUANTUM};
use crate::limits::Limits;
use crate::protocol::{
    Bind, Changes, Code, DecodeError, FastPath, FrameError, Goodbye, Message, NoExtensions, Pong,
    Register, Snapshot, Unbind, Unregister, check_wellformed, kind_of, read_wellformed,
};

use super::completion::Completion;

/// Bytes that a connection may send while it is being closed, before it is removed.
const DISCARD_MAX: u32 = 4 << 20;

/// How far a frame was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// A slice of it. The rest comes when its connection has its turn again.
    Slice,
    /// Not at all: it is one step, too large for the rest of this turn.
    Postponed,
}

impl Engine {
    /// Bytes came in, split at any place. All are accepted; those that do not fit into the turn are handled in later
    /// turns, and [`Engine::wants_read`] denies reads until then.
    pub fn handle_bytes(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        self.metrics.count_bytes_in(bytes.len());
        self.run.charge(conn.user(), work::of_bytes(bytes.len()));
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

    /// Handles frames as far as the turn has room for them. The rest is deferred.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8], now: Time) {
        self.judge(id, now);
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        let user = conn.user();
        // Taken out while frames borrow from it.
        let mut unread = conn.take_unread();
        let (mut inbox, progress) = unread
            .as_mut()
            .map(|it| it.take_inbox())
            .unwrap_or_default();
        let had_partial = inbox.held() > 0;
        let mut is_new_frame = !had_partial;
        let mut input = bytes;
        self.input.start_work(self.output.load());
        self.input.set_progress(progress);
        let mut step = Step::Done;
        let fault = loop {
            let limits = &self.config.limits;
            let limit = match self.connections.get(id) {
                Some(conn) if conn.is_live() => limits.max_frame,
                Some(conn) if conn.is_greeting() => limits.max_hello,
                // Nothing is read after a GOODBYE.
                _ => {
                    self.input.take_progress();
                    return self.run.charge(user, self.input.work());
                }
            };
            if !self.has_turn() {
                break None;
            }
            let before = input;
            match inbox.next(&mut input, limit as usize) {
                Ok(Some(frame)) => {
                    step = self.handle_step(id, frame, now);
                    if step == Step::Done {
                        self.metrics.count_frame_in();
                        is_new_frame = true;
                        continue;
                    }
                    if !inbox.put_back() {
                        input = before;
                    }
                    break None;
                }
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        // HELLO may have made it a principal's.
        let user = self.connections.get(id).map_or(user, Connection::user);
        let (work, charged) = (self.input.work(), self.input.share());
        // A user who is alone has all.
        if charged > 0 && self.run.is_contended(user) {
            self.charge_work(id, charged, now);
        }
        self.run.charge(user, work);
        if let Some(fault) = fault {
            return self.refuse_frame(id, fault, now);
        }
        let progress = self.input.take_progress();
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if inbox.held() > 0 || !input.is_empty() {
            let usage = self.input.partial();
            let mut unread = unread.unwrap_or_else(|| Box::new(Unread::new(now, usage)));
            if inbox.held() > 0 && is_new_frame {
                unread.restart(now);
            }
            // What is in the inbox is whole if it was handed out.
            let is_whole = step != Step::Done && inbox.held() > 0;
            unread.store((inbox, is_whole), input, progress);
            conn.set_unread(unread);
        }
        if step == Step::Postponed {
            self.run_postponed(id);
        } else {
            self.run_later(id);
        }
        self.check_outbound(id);
        self.arm(id, now);
    }

    /// Counts the work of what the frame that is being handled has made others read so far.
    fn count_output(&self) {
        let (writes, bytes) = self.input.more_output(self.output.load());
        let work = work::WRITE * writes as u64 + work::of_bytes(bytes);
        self.input.add_common(work);
    }

    /// Whether the connection whose frames are being handled may go on: the turn has room, and others have had theirs.
    pub(super) fn has_turn(&self) -> bool {
        self.count_output();
        let work = self.input.work();
        work < self.run.left() && (work < QUANTUM || !self.run.is_awaited())
    }

    /// Whether a step of a connection, of this much work, fits into the turn. One of any size does if it is the first.
    pub(super) fn has_room(&self, id: ConnId, work: u64) -> bool {
        self.input.is_first() && self.run.is_fresh(id)
            || self.input.work() + work <= self.run.left()
    }

    /// Handles a frame, and counts what it makes others read.
    fn handle_step(&mut self, id: ConnId, frame: &[u8], now: Time) -> Step {
        self.input.start_step();
        #[cfg(debug_assertions)]
        let before = self.input.work();
        self.input.add(work::FRAME, 1);
        let step = self.handle_frame(id, frame, now);
        self.count_output();
        #[cfg(debug_assertions)]
        self.log_frame(id, step, before);
        step
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

    fn handle_frame(&mut self, id: ConnId, frame: &[u8], now: Time) -> Step {
        let Some(conn) = self.connections.get(id) else {
            return Step::Done;
        };
        let from = conn.session().map(|session| session.sender(id));
        // CALL and its answers have a decoder of their own, once there is a session.
        if let Some(from) = from
            && let Some(fast) = FastPath::read(frame)
        {
            match fast {
                FastPath::Call(call) => return self.handle_call(from, &call, now),
                FastPath::Outcome(request, payload) => {
                    self.handle_answer(from, request, &Completion::Result(&payload), now);
                }
            }
            return Step::Done;
        }
        // These kinds are lists of lists: decoding them only to refuse them would cost too much.
        let kind = kind_of(frame);
        let list = match kind {
            Some(Snapshot::KIND) => Some("SNAPSHOT"),
            Some(Changes::KIND) => Some("CHANGES"),
            _ => None,
        };
        if let Some(kind) = list {
            self.refuse_kind(id, kind, now);
            return Step::Done;
        }
        // A batch is one step.
        if let Some(kind @ (Register::KIND | Unregister::KIND | Bind::KIND | Unbind::KIND)) = kind {
            let before = conn.batch().map_or(0, Batch::len);
            if !self.has_room(id, work::of_batch(kind, frame.len(), before)) {
                return Step::Postponed;
            }
        }
        if kind == Some(Goodbye::KIND) && !self.has_room(id, self.work_of_death(id)) {
            return Step::Postponed;
        }
        let message = check_wellformed(frame).map_err(DecodeError::from);
        let message = message.and_then(|values| {
            self.input.add_values(values);
            read_wellformed(frame)
        });
        match (message, from) {
            (Err(error), _) => {
                self.close_with(id, Code::ProtocolError, &error.to_string(), now);
            }
            (Ok(message), Some(from)) => return self.handle_message(from, message, now),
            (Ok(message), None) => self.handle_first_message(id, message, now),
        }
        Step::Done
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

    fn handle_message(&mut self, from: Sender, message: Message<'_>, now: Time) -> Step {
        let id = from.conn;
        if self.refuse_used_id(id, &message, now) {
            return Step::Done;
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
            Message::Drain(_) => self.handle_drain(from, now),
            Message::Goodbye(_) => self.handle_goodbye(id, now),
            Message::Hello(_) => {
                self.close_with(id, Code::ProtocolError, "a second HELLO", now);
            }
            Message::Bind(bind) => self.handle_bind(from, bind.id, &bind.bindings),
            Message::Unbind(unbind) => self.handle_unbind(from, unbind.id, &unbind.bindings),
            Message::Call(call) => return self.handle_call(from, &call, now),
            Message::Cancel(cancel) => self.handle_cancel(from, cancel.id, now),
            Message::Outcome(outcome) => {
                let result = Completion::Result(&outcome.payload);
                self.handle_answer(from, outcome.id, &result, now);
            }
            Message::Failure(failure) => {
                self.handle_answer(from, failure.id, &Completion::Failure(&failure), now);
            }
            Message::Emit(emit) => return self.handle_emit(from, &emit, now),
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
            Message::Cast(cast) => self.handle_cast(from, &cast, now),
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
        Step::Done
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
