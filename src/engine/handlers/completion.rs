//! Completion of calls: by an answer, by the caller, by the deadline, by the end of a connection, by the engine's
//! shutdown. A call completes once for its caller; its provider's slot is free only when the provider has answered or
//! is gone.

use crate::engine::Engine;
use crate::engine::calls::call::{CallId, Place};
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::calls::routing::Route;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::Sender;
use crate::engine::interface::{ConnId, Time};
use crate::engine::metrics::stats::Dropped;
use crate::engine::registry::entry::Name;
use crate::limits::Limits;
use crate::protocol::{
    Cancel, Code, Executed, Failure, FailureOptions, NoExtensions, Outcome, Text,
};

const GONE: &str = "the provider disconnected before it answered";

/// Bytes of a RESULT or a FAILURE beside what the peer chose, at most.
const ANSWER_OVERHEAD: usize = 128;

/// What a caller is told at the end of its call.
pub(super) enum Completion<'a> {
    /// The function's result.
    Result(&'a [u8]),
    /// The function's own error, or one that its worker's library reports.
    Failure(&'a Failure<'a>),
    /// An error of the engine.
    Engine {
        code: Code,
        message: &'a str,
        executed: Executed,
    },
}

impl Completion<'_> {
    /// Bytes that the peer chose.
    fn bytes(&self) -> usize {
        match self {
            Self::Result(payload) => payload.len(),
            Self::Failure(it) => it.code.len() + it.message.len() + it.ext.details.len(),
            Self::Engine { message, .. } => message.len(),
        }
    }

    /// Appends the frame for the caller of `request`.
    fn encode(&self, request: u64, out: &mut Vec<u8>) {
        match self {
            Self::Result(payload) => Outcome::encode_fast(request, payload, out),
            Self::Failure(failure) => Failure {
                id: request,
                ext: FailureOptions {
                    from_function: true,
                    details: failure.ext.details,
                },
                ..(*failure).clone()
            }
            .encode(out),
            Self::Engine {
                code,
                message,
                executed,
            } => Failure {
                id: request,
                code: Text(code.as_str()),
                message: Text(message),
                retryable: code.retryable(),
                executed: *executed,
                ..Failure::default()
            }
            .encode(out),
        }
    }
}

impl Engine {
    /// A worker's answer to an INVOKE. An answer that is not owed is dropped and counted.
    pub(super) fn handle_answer(
        &mut self,
        from: Sender,
        wire: u64,
        completion: &Completion<'_>,
        now: Time,
    ) {
        let call_id = CallId::from_wire(wire);
        let Some(call) = self.calls.get(call_id) else {
            return self.metrics.count_dropped(Dropped::UnknownAnswer);
        };
        if call.place != Place::Running(from.conn) {
            return self.metrics.count_dropped(Dropped::ForeignAnswer);
        }
        if call.caller.is_none() {
            self.metrics.count_dropped(Dropped::LateAnswer);
        }
        // First, so that the slot is free when the caller is told.
        self.detach(call_id);
        let limit = self.config.limits.max_payload;
        let bytes = completion.bytes();
        if bytes as u64 > limit {
            let flag = Limits::FLAGS.max_payload;
            self.count_limited(from.conn, flag);
            let message = format!("an answer of {bytes} bytes, the limit is {limit} (--{flag})");
            let completion = Completion::Engine {
                code: Code::PayloadTooLarge,
                message: &message,
                executed: Executed::Maybe,
            };
            self.complete(call_id, &completion);
        } else {
            self.complete(call_id, completion);
        }
        self.forget(call_id);
        self.run_parked(from.conn, now);
        self.stop_if_idle(now);
    }

    /// The caller's CANCEL: the call completes at once; its provider is told, and keeps the slot until it answers.
    pub(super) fn handle_cancel(&mut self, from: Sender, request: u64, now: Time) {
        let calls = self.calls_of(from.conn);
        let Some(call_id) = calls.and_then(|calls| calls.made_by_request(request)) else {
            return self.metrics.count_dropped(Dropped::LateCancel);
        };
        self.complete_early(call_id, Code::Cancelled, "the caller cancelled");
        self.stop_if_idle(now);
    }

    /// A call's deadline has passed.
    pub(super) fn expire_call(&mut self, call_id: CallId, now: Time) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        call.timer = None;
        if let Place::Running(provider) = call.place {
            call.overdue = true;
            let conn = self.connections.get_mut(provider);
            if let Some(calls) = conn.and_then(Connection::calls_mut) {
                calls.count_overdue();
            }
        }
        self.complete_early(call_id, Code::DeadlineExceeded, "the deadline passed");
        self.stop_if_idle(now);
    }

    /// Completes a call for its caller while a provider may still run it.
    pub(super) fn complete_early(&mut self, call_id: CallId, code: Code, message: &str) {
        let Some(call) = self.calls.get(call_id) else {
            return;
        };
        let (place, waits) = (call.place, call.caller.is_some());
        let completion = Completion::Engine {
            code,
            message,
            executed: call.executed(),
        };
        self.complete(call_id, &completion);
        match place {
            Place::Running(provider) if waits => self.cancel(call_id, provider),
            Place::Running(_) => {}
            Place::Parked | Place::Detached => self.forget(call_id),
        }
    }

    /// Tells a provider that its call has no caller any more.
    fn cancel(&mut self, call_id: CallId, provider: ConnId) {
        let cancel = Cancel {
            id: call_id.wire(),
            ext: NoExtensions {},
        };
        self.reply(provider, Reply::Frame(cancel.to_frame()));
    }

    /// The parked calls of a caller, with their functions, oldest first.
    pub(super) fn parked_of(&self, caller: ConnId) -> Vec<(CallId, Name)> {
        let made = self.calls_of(caller).map(ConnectionCalls::all_made);
        let calls = made.into_iter().flatten();
        let calls = calls.filter_map(|call_id| self.calls.get(call_id));
        calls
            .filter(|call| call.place == Place::Parked)
            .map(|call| (call.id, call.function.clone()))
            .collect()
    }

    /// The caller is gone: its calls are cancelled.
    pub(super) fn cancel_made(&mut self, id: ConnId) {
        let conn = self.connections.get_mut(id);
        let Some(calls) = conn.and_then(Connection::calls_mut) else {
            return;
        };
        for call_id in calls.drain_made() {
            let Some(place) = self.calls.get(call_id).map(|call| call.place) else {
                continue;
            };
            self.release(call_id);
            self.calls.take_caller(call_id);
            self.note_abandoned(place);
            self.metrics.count_ending("caller_gone");
            match place {
                Place::Running(provider) => self.cancel(call_id, provider),
                Place::Parked | Place::Detached => self.forget(call_id),
            }
        }
    }

    /// The provider is gone: the calls that it ran complete, or another provider tries again. Its functions have left
    /// the board before.
    pub(super) fn end_running(&mut self, id: ConnId, now: Time) {
        while let Some(call_id) = self
            .calls_of(id)
            .and_then(|calls| self.calls.first_running(calls))
        {
            self.detach(call_id);
            if let Some(call) = self.calls.get_mut(call_id) {
                call.tried = true;
            }
            self.retry_or_complete(call_id, now);
        }
    }

    /// Another provider tries a call again, if the call allows it. Else it completes.
    fn retry_or_complete(&mut self, call_id: CallId, now: Time) {
        let Some(call) = self.calls.get(call_id) else {
            return;
        };
        if call.caller.is_none() {
            return self.forget(call_id);
        }
        let (namespace, terms) = (call.namespace, call.terms);
        let may_retry = terms.idempotent && call.arguments.is_some();
        if !may_retry || self.lifecycle.is_stopped() {
            return self.complete_early(call_id, Code::ProviderGone, GONE);
        }
        let function = call.function.clone();
        // While the engine drains, other providers may try again, but no call waits for a new one.
        let caller = call.caller.as_ref().map(|caller| caller.conn);
        let has_room = caller.is_some_and(|id| self.has_quota(id, self.parked_pool(), 1));
        let may_park = terms.wait && has_room && self.lifecycle.is_running();
        match self.route(namespace, &function, terms.worker, now).0 {
            Route::To(provider) => self.invoke_retained(call_id, provider, now),
            Route::Full | Route::NoProvider if may_park => self.park(call_id),
            Route::Full | Route::NoProvider => {
                if let Some(caller) = caller.filter(|_| terms.wait && !has_room) {
                    self.count_limited(caller, Limits::FLAGS.max_parked);
                }
                self.complete_early(call_id, Code::ProviderGone, GONE);
            }
        }
    }

    /// Tells the caller how its call ended, if it still waits for that.
    fn complete(&mut self, call_id: CallId, completion: &Completion<'_>) {
        let Some(call) = self.calls.get(call_id).filter(|call| call.caller.is_some()) else {
            return;
        };
        let place = call.place;
        // There will be no other try.
        self.release(call_id);
        let Some(caller) = self.calls.take_caller(call_id) else {
            return;
        };
        self.note_abandoned(place);
        let bytes = ANSWER_OVERHEAD + completion.bytes();
        let fits = self.fits_outbound(bytes);
        let limit = self.config.limits.max_backlog as usize;
        let Some(conn) = self.connections.get_mut(caller.conn) else {
            return;
        };
        if let Some(calls) = conn.calls_mut() {
            calls.remove_made(caller.request);
            if place == Place::Parked {
                calls.stop_waiting();
            }
        }
        let flags = &Limits::FLAGS;
        let excess = if conn.outbox().bytes() + bytes > limit {
            let message = "the caller does not read its answers (--max-backlog)";
            Some((flags.max_backlog, message))
        } else if !fits {
            let message = "the outboxes of all connections are full (--max-outbound-total)";
            Some((flags.max_outbound_total, message))
        } else {
            None
        };
        let overloaded;
        let mut completion = completion;
        let limited = excess.map(|(flag, _)| flag);
        if let Some((_, message)) = excess {
            overloaded = Completion::Engine {
                code: Code::Overloaded,
                message,
                executed: Executed::Maybe,
            };
            completion = &overloaded;
        }
        match completion {
            Completion::Result(_) => self.metrics.count_result(),
            Completion::Failure(_) => self.metrics.count_ending("failure"),
            Completion::Engine { code, .. } => self.metrics.count_ending(code.as_str()),
        }
        self.output
            .reply_with(conn, |out| completion.encode(caller.request, out));
        if let Some(flag) = limited {
            self.count_limited(caller.conn, flag);
        }
    }

    /// A call has lost its caller. If a provider runs it, it merely holds the provider's slot.
    fn note_abandoned(&mut self, place: Place) {
        let Place::Running(provider) = place else {
            return;
        };
        let conn = self.connections.get_mut(provider);
        if let Some(calls) = conn.and_then(Connection::calls_mut) {
            calls.count_abandoned();
        }
        let limit = self.config.limits.max_calls_total;
        if self.calls.abandoned() as u64 >= limit && !self.calls.set_saturated(true) {
            self.count_limited(provider, Limits::FLAGS.max_calls_total);
        }
    }

    /// Removes a call from its list and from the table. Its arguments went with its caller.
    fn forget(&mut self, call_id: CallId) {
        self.detach(call_id);
        let call = self.calls.remove(call_id);
        debug_assert!(call.caller.is_none() && call.arguments.is_none());
        if let Some(timer) = call.timer {
            self.timers.remove(timer);
        }
    }

    /// The engine drains: parked calls complete, since no provider will come.
    pub(super) fn fail_parked(&mut self) {
        let parked = self.calls.iter().filter(|call| call.place == Place::Parked);
        let parked: Vec<CallId> = parked.map(|call| call.id).collect();
        for call_id in parked {
            self.complete_early(call_id, Code::Draining, "the engine is shutting down");
        }
    }

    /// The engine stops: all calls complete.
    pub(super) fn fail_all(&mut self) {
        let all: Vec<CallId> = self.calls.iter().map(|call| call.id).collect();
        for call_id in all {
            let message = "the engine shut down before the answer came";
            self.complete_early(call_id, Code::Draining, message);
        }
    }
}
