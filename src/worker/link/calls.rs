//! The link's interface for calls: outgoing calls, casts and events, incoming work for handlers, and draining. The
//! tables are elsewhere; this delegates.

use std::time::Instant;

use super::{DrainState, Link, LinkState};
use crate::protocol::{Code, Drain, Executed};
use crate::worker::answer::CallEnd;
use crate::worker::call_error::CallError;
use crate::worker::fault::Fault;
use crate::worker::outgoing_call::OutgoingCall;
use crate::worker::requests::{Purpose, unsupported};
use crate::worker::serving::{Reply, Work};
use crate::worker::ticket::Ticket;

impl Link {
    /// Makes a call. [`Link::take_ended_calls`] returns its end, and [`Link::patience`] how long to wait for it.
    pub fn call(&mut self, call: OutgoingCall, now: Instant) -> Result<Ticket, CallError> {
        if let Some(end) = self.end.clone() {
            let executed = Executed::No;
            return Err(CallError::Ended { end, executed });
        }
        Ok(self.calls.begin(call, now, &mut self.requests))
    }

    /// Sends a cast, if there is a connection.
    pub fn cast(
        &mut self,
        function: &str,
        payload: &[u8],
        headers: &[u8],
    ) -> Result<(), CallError> {
        let executed = Executed::No;
        if let Some(end) = self.end.clone() {
            return Err(CallError::Ended { end, executed });
        }
        if !matches!(self.state, LinkState::Up(_)) {
            return Err(CallError::ConnectionLost { executed });
        }
        let (bytes, limit) = (payload.len(), self.requests.max_payload());
        let whole = bytes + headers.len() + function.len() + 256;
        if bytes > limit || whole > self.requests.max_frame() {
            return Err(CallError::PayloadTooLarge { bytes, limit });
        }
        self.requests.cast(function, payload, headers);
        Ok(())
    }

    /// When the wait for a call ends; `None` once it has ended.
    #[must_use]
    pub fn patience(&self, ticket: Ticket) -> Option<Instant> {
        self.calls.patience(ticket)
    }

    /// Ends a call if its deadline has passed.
    pub fn expire_call(&mut self, ticket: Ticket, now: Instant) {
        self.calls.expire(ticket, now, &mut self.requests);
    }

    /// Cancels a call whose end is no longer needed.
    pub fn forget_call(&mut self, ticket: Ticket) {
        self.calls.forget(ticket, &mut self.requests);
    }

    /// The calls that ended since the last call of this method.
    pub fn take_ended_calls(&mut self) -> Vec<CallEnd> {
        self.calls.take_ended()
    }

    /// Incoming calls and casts since the last call of this method, in order.
    pub fn take_work(&mut self) -> Vec<Work> {
        self.serving.take_work()
    }

    /// Answers an incoming call, if an answer is still required.
    pub fn answer(&mut self, reply: Reply, result: Result<Vec<u8>, Fault>) {
        self.serving.answer(reply, result, &mut self.requests);
    }

    /// Answers that this worker runs nothing for this function.
    pub fn answer_unserved(&mut self, reply: Reply, provided: bool) {
        let fault = if provided {
            unsupported("this worker has no handler for this function")
        } else {
            let code = Code::NoSuchFunction;
            Fault::new(code.as_str(), "this worker does not provide it")
                .retry_later()
                .not_executed()
        };
        self.answer(reply, Err(fault));
    }

    /// Sends DRAIN: no new calls arrive, those in flight are still answered. Nothing is registered any more, not
    /// even after a reconnect.
    pub fn drain(&mut self) {
        if self.draining == DrainState::No {
            self.draining = DrainState::Confirmed;
            if matches!(self.state, LinkState::Up(_)) {
                self.draining = DrainState::Purpose;
                Drain::default().encode(&mut self.requests.out);
                // Its answer follows every call routed here before.
                self.requests.ready(Purpose::Drain);
            }
        }
    }

    /// Whether DRAIN was sent.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining != DrainState::No
    }

    /// The number of unanswered incoming calls, and whether more may arrive in spite of DRAIN.
    #[must_use]
    pub fn in_flight(&self) -> (usize, bool) {
        let more = self.draining == DrainState::Purpose;
        (self.serving.in_flight(), more)
    }

    /// Cancels all handlers.
    pub fn cancel_serving(&self) {
        self.serving.cancel_all();
    }
}
