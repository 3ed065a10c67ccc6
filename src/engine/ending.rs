//! How calls end: by an answer, by the caller, by the clock, by a death, by the engine's own end. Each ends once
//! for its caller; its provider's slot is free only when the provider has answered, or is gone.

use crate::protocol::{
    Cancel, Code, Executed, Failure, FailureOptions, NoExtensions, Outcome, Text,
};

use super::board::Name;
use super::call::{CallId, Place};
use super::outbox::OwnFrame;
use super::routing::Choice;
use super::stats::Dropped;
use super::{ConnId, Engine, Shutdown, Time, live};
use crate::limits::Limits;

const GONE: &str = "the provider went before it answered";

/// Bytes of a RESULT or a FAILURE beside what the peer chose, at most.
const FIXED: usize = 128;

/// How a call ends for its caller.
pub(super) enum Ending<'a> {
    /// The function's result.
    Result(&'a [u8]),
    /// The function's own error, or what its worker says in its stead.
    Failure(&'a Failure<'a>),
    /// An error of the engine.
    Engine {
        code: Code,
        message: &'a str,
        executed: Executed,
    },
}

impl Ending<'_> {
    /// Bytes of what the peer chose.
    fn bytes(&self) -> usize {
        match self {
            Ending::Result(payload) => payload.len(),
            Ending::Failure(it) => it.code.len() + it.message.len() + it.ext.details.len(),
            Ending::Engine { message, .. } => message.len(),
        }
    }

    /// Appends it as a frame for the caller of `request`.
    fn write(&self, request: u64, out: &mut Vec<u8>) {
        match self {
            Ending::Result(payload) => Outcome::encode_hot(request, payload, out),
            Ending::Failure(failure) => Failure {
                id: request,
                ext: FailureOptions {
                    from_function: true,
                    details: failure.ext.details,
                },
                ..(*failure).clone()
            }
            .encode(out),
            Ending::Engine {
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
    /// A worker's answer to an INVOKE. One that is not owed is dropped and counted.
    pub(super) fn handle_answer(&mut self, id: ConnId, wire: u64, ending: &Ending<'_>, now: Time) {
        let call_id = CallId::from_wire(wire);
        let Some(call) = self.calls.get_mut(call_id) else {
            return self.stats.count_dropped(Dropped::UnknownAnswer);
        };
        if call.place != Place::Running(id) {
            return self.stats.count_dropped(Dropped::ForeignAnswer);
        }
        if call.caller.is_none() {
            self.stats.count_dropped(Dropped::LateAnswer);
        }
        // First, so that the end for the caller leaves no slot held.
        self.detach(call_id);
        let limit = self.config.limits.max_payload;
        let bytes = ending.bytes();
        if bytes as u64 > limit {
            let flag = Limits::FLAGS.max_payload;
            self.stats.count_limited(flag);
            let message = format!("an answer of {bytes} bytes, the limit is {limit} (--{flag})");
            let code = Code::PayloadTooLarge;
            let executed = Executed::Maybe;
            let message = &message;
            self.end(
                call_id,
                &Ending::Engine {
                    code,
                    message,
                    executed,
                },
            );
        } else {
            self.end(call_id, ending);
        }
        self.forget(call_id);
        self.serve(id, now);
        self.stop_if_idle(now);
    }

    /// The caller's CANCEL: the call ends at once; the provider is told and keeps its slot until it answers.
    pub(super) fn handle_cancel(&mut self, id: ConnId, request: u64, now: Time) {
        let traffic = self.get(id).and_then(|conn| conn.traffic.as_ref());
        let Some(&call_id) = traffic.and_then(|traffic| traffic.made.get(&request)) else {
            return self.stats.count_dropped(Dropped::LateCancel);
        };
        self.end_early(call_id, Code::Cancelled, "the caller cancelled");
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
            let traffic = live(&mut self.connections, provider).and_then(|it| it.traffic.as_mut());
            if let Some(traffic) = traffic {
                traffic.overdue += 1;
            }
        }
        self.end_early(call_id, Code::DeadlineExceeded, "the deadline passed");
        self.stop_if_idle(now);
    }

    /// Ends a call for its caller while the provider may still run it.
    pub(super) fn end_early(&mut self, call_id: CallId, code: Code, message: &str) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let (place, waits) = (call.place, call.caller.is_some());
        let executed = call.executed();
        self.end(
            call_id,
            &Ending::Engine {
                code,
                message,
                executed,
            },
        );
        match place {
            Place::Running(provider) if waits => {
                let cancel = Cancel {
                    id: call_id.wire(),
                    ext: NoExtensions {},
                };
                self.reply(provider, OwnFrame::Ready(cancel.to_frame()));
            }
            Place::Running(_) => {}
            Place::Parked | Place::Nowhere => self.forget(call_id),
        }
    }

    /// The calls of a connection that no provider has, with their functions, in a certain order.
    pub(super) fn waiting_of(&mut self, id: ConnId) -> Vec<(CallId, Name)> {
        let traffic = self.get(id).and_then(|conn| conn.traffic.as_deref());
        let made = traffic
            .into_iter()
            .flat_map(|traffic| traffic.made.values());
        let mut made: Vec<CallId> = made.copied().collect();
        made.sort_unstable_by_key(|call| call.wire());
        let mut waiting = Vec::new();
        for call_id in made {
            if let Some(call) = self.calls.get_mut(call_id)
                && call.place == Place::Parked
            {
                waiting.push((call_id, call.function.clone()));
            }
        }
        waiting
    }

    /// All calls that a connection made are of no use any more.
    pub(super) fn cancel_made(&mut self, id: ConnId) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        let Some(traffic) = conn.traffic.as_deref_mut() else {
            return;
        };
        let mut made: Vec<CallId> = traffic.made.drain().map(|(_, call)| call).collect();
        // The order of a hash map is nobody's business.
        made.sort_unstable_by_key(|call| call.wire());
        for call_id in made {
            let Some(call) = self.calls.get_mut(call_id) else {
                continue;
            };
            let place = call.place;
            self.release(call_id);
            if let Some(call) = self.calls.get_mut(call_id) {
                call.caller = None;
            }
            self.abandon(place);
            self.stats.count_ending("caller_gone");
            match place {
                Place::Running(provider) => {
                    let cancel = Cancel {
                        id: call_id.wire(),
                        ext: NoExtensions {},
                    };
                    self.reply(provider, OwnFrame::Ready(cancel.to_frame()));
                }
                Place::Parked | Place::Nowhere => self.forget(call_id),
            }
        }
    }

    /// The worker on a connection runs nothing any more. Its functions have left the board before: what is
    /// tried again goes to others.
    pub(super) fn end_running(&mut self, id: ConnId, now: Time) {
        loop {
            let Some(conn) = live(&mut self.connections, id) else {
                return;
            };
            let Some(traffic) = conn.traffic.as_deref_mut() else {
                return;
            };
            let Some(call_id) = self.calls.first(traffic.running) else {
                return;
            };
            self.detach(call_id);
            let Some(call) = self.calls.get_mut(call_id) else {
                continue;
            };
            call.tried = true;
            if call.caller.is_none() {
                self.forget(call_id);
                continue;
            }
            let (namespace, wishes) = (call.namespace, call.wishes);
            let again = wishes.idempotent && call.arguments.is_some();
            if !again || self.shutdown == Shutdown::Done {
                self.end_early(call_id, Code::ProviderGone, GONE);
                continue;
            }
            let function = call.function.clone();
            // An engine that drains lets it end elsewhere too, but waits for nobody new to come.
            let has_place = (self.parked as u64) < self.config.limits.max_parked;
            let may_wait = wishes.wait && has_place && self.shutdown == Shutdown::No;
            match self.route(namespace, &function, wishes.worker) {
                Choice::To(provider) => self.start_again(call_id, provider, now),
                Choice::Full | Choice::Nobody if may_wait => self.park(call_id),
                Choice::Full | Choice::Nobody => {
                    if wishes.wait && !has_place {
                        self.stats.count_limited(Limits::FLAGS.max_parked);
                    }
                    self.end_early(call_id, Code::ProviderGone, GONE);
                }
            }
        }
    }

    /// Tells the caller how its call ended, if it still waits for that.
    fn end(&mut self, call_id: CallId, ending: &Ending<'_>) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let place = call.place;
        if call.caller.is_none() {
            return;
        }
        // Nobody would be told of another try.
        self.release(call_id);
        let call = self.calls.get_mut(call_id);
        let Some(caller) = call.and_then(|call| call.caller.take()) else {
            return;
        };
        self.abandon(place);
        let bytes = FIXED + ending.bytes();
        let fits = self.fits_outbound(bytes);
        let limit = self.config.limits.max_backlog as usize;
        let Some(conn) = live(&mut self.connections, caller.conn) else {
            return;
        };
        if let Some(traffic) = conn.traffic.as_deref_mut() {
            traffic.forget_made(caller.request);
        }
        let flags = &Limits::FLAGS;
        let excess = if conn.outbox.bytes() + bytes > limit {
            let message = "the caller does not read its answers (--max-backlog)";
            Some((flags.max_backlog, message))
        } else if !fits {
            let message = "too much waits to be read, this answer included (--max-outbound-total)";
            Some((flags.max_outbound_total, message))
        } else {
            None
        };
        let refused;
        let mut ending = ending;
        if let Some((flag, message)) = excess {
            refused = Ending::Engine {
                code: Code::Overloaded,
                message,
                executed: Executed::Maybe,
            };
            ending = &refused;
            self.stats.count_limited(flag);
        }
        match ending {
            Ending::Result(_) => self.results += 1,
            Ending::Failure(_) => self.stats.count_ending("failure"),
            Ending::Engine { code, .. } => self.stats.count_ending(code.as_str()),
        }
        self.reply_with(caller.conn, |out| ending.write(caller.request, out));
    }

    /// One caller fewer waits; a provider that has its call runs it for nobody.
    fn abandon(&mut self, place: Place) {
        self.waiting -= 1;
        if let Place::Running(provider) = place {
            let conn = live(&mut self.connections, provider);
            if let Some(traffic) = conn.and_then(|conn| conn.traffic.as_deref_mut()) {
                traffic.abandoned += 1;
            }
            let held = (self.calls.len() - self.waiting) as u64;
            let crowded = held >= self.config.limits.max_calls_total;
            if crowded && !std::mem::replace(&mut self.crowded, true) {
                let flag = Limits::FLAGS.max_calls_total;
                self.stats.count_limited(flag);
            }
        }
    }

    /// Forgets a call wherever it stands; its arguments went with its caller.
    fn forget(&mut self, call_id: CallId) {
        self.detach(call_id);
        let call = self.calls.remove(call_id);
        debug_assert!(call.caller.is_none() && call.arguments.is_none());
        if let Some(timer) = call.timer {
            self.wheel.remove(timer);
        }
    }

    /// While draining: no call will be parked until a provider comes.
    pub(super) fn fail_parked(&mut self) {
        let parked = self.calls.all().filter(|call| call.place == Place::Parked);
        let parked: Vec<CallId> = parked.map(|call| call.id).collect();
        for call_id in parked {
            self.end_early(call_id, Code::Draining, "the engine is about to stop");
        }
    }

    /// The engine stops: whoever still waits is told that it waits in vain.
    pub(super) fn fail_all(&mut self) {
        let all: Vec<CallId> = self.calls.all().map(|call| call.id).collect();
        for call_id in all {
            self.end_early(
                call_id,
                Code::Draining,
                "the engine stopped before the answer came",
            );
        }
    }
}
