//! The link's side of calls: what the application calls, casts and emits, what comes in for its handlers,
//! and how it leaves the board. The tables are elsewhere; this passes on.

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
    /// Makes a call. [`Link::take_ended_calls`] tells its end; whoever waits for it asks
    /// [`Link::patience`] how long.
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

    /// Until when a call is to be waited for; `None` once it has ended.
    #[must_use]
    pub fn patience(&self, ticket: Ticket) -> Option<Instant> {
        self.calls.patience(ticket)
    }

    /// Ends a call if its time is over.
    pub fn expire_call(&mut self, ticket: Ticket, now: Instant) {
        self.calls.expire(ticket, now, &mut self.requests);
    }

    /// Nobody wants this call's end any more: cancels it.
    pub fn forget_call(&mut self, ticket: Ticket) {
        self.calls.forget(ticket, &mut self.requests);
    }

    /// How calls ended since the last time.
    pub fn take_ended_calls(&mut self) -> Vec<CallEnd> {
        self.calls.take_ended()
    }

    /// The calls and casts that came in since the last time, in order.
    pub fn take_work(&mut self) -> Vec<Work> {
        self.serving.take_work()
    }

    /// Answers a call that came in, if the answer is still owed.
    pub fn answer(&mut self, reply: Reply, result: Result<Vec<u8>, Fault>) {
        self.serving.answer(reply, result, &mut self.requests);
    }

    /// Says that nothing stands behind this function here.
    pub fn answer_unserved(&mut self, reply: Reply, provided: bool) {
        let fault = if provided {
            unsupported("this worker runs nothing for this function")
        } else {
            let code = Code::NoSuchFunction;
            Fault::new(code.as_str(), "this worker does not provide it")
                .retry_later()
                .not_executed()
        };
        self.answer(reply, Err(fault));
    }

    /// Takes no new calls: says DRAIN. What is in flight is still answered. Nothing is registered any
    /// more, not even after a reconnect.
    pub fn drain(&mut self) {
        if self.draining == DrainState::No {
            self.draining = DrainState::Confirmed;
            if matches!(self.state, LinkState::Up(_)) {
                self.draining = DrainState::Purpose;
                Drain::default().encode(&mut self.requests.out);
                // Its answer comes behind every call that was routed here before.
                self.requests.ready(Purpose::Drain);
            }
        }
    }

    /// Whether DRAIN was said.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining != DrainState::No
    }

    /// Calls that came in and are not answered, and whether more may come although DRAIN was said.
    #[must_use]
    pub fn in_flight(&self) -> (usize, bool) {
        let more = self.draining == DrainState::Purpose;
        (self.serving.in_flight(), more)
    }

    /// Tells all handlers to stop.
    pub fn cancel_serving(&self) {
        self.serving.cancel_all();
    }
}
