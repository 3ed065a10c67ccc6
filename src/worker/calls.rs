//! The calls of this worker that have not ended: sent, waiting for a connection, or to be repeated after a lost
//! connection. Performs no I/O and does not wait.
//!
//! An unsent call waits for the next connection. A sent call is repeated only if it is idempotent, or if the engine
//! reported that it was not executed because the engine is about to stop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::answer::{Answer, CallEnd};
use super::call_error::CallError;
use super::deadline::deadline_from;
use super::error::{End, Refusal};
use super::fault::Fault;
use super::outgoing_call::{CallKind, OutgoingCall};
use super::requests::{Purpose, Requests};
use super::ticket::Ticket;
use crate::protocol::{Code, Executed};

/// How much later than the engine the library gives up a call.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct OpenCall {
    outgoing: OutgoingCall,
    deadline: Instant,
    /// The request on the current connection; none while the call waits for a connection.
    request: Option<u64>,
    /// Bytes that this connection had sent before the call. An unwritten call was not executed.
    written_before: u64,
    /// It may have been executed over an earlier connection.
    in_doubt: bool,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In the order in which they were made, which is the order of repetition.
    open: BTreeMap<Ticket, OpenCall>,
    ended: Vec<CallEnd>,
    last_ticket: u64,
    /// The connection is up.
    up: bool,
    /// The engine is about to stop.
    stopping: bool,
}

impl Calls {
    /// Adds a call, and sends it if there is a connection.
    pub(super) fn begin(
        &mut self,
        outgoing: OutgoingCall,
        now: Instant,
        requests: &mut Requests,
    ) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let wait = outgoing.options.wait && outgoing.kind == CallKind::Function;
        let call = OpenCall {
            deadline: deadline_from(now, outgoing.options.timeout),
            outgoing,
            request: None,
            written_before: 0,
            in_doubt: false,
        };
        self.open.insert(ticket, call);
        // If the engine is about to stop, a call with `wait` waits for the next engine.
        if self.up && !(self.stopping && wait) {
            self.send(ticket, now, requests);
        }
        ticket
    }

    fn send(&mut self, ticket: Ticket, now: Instant, requests: &mut Requests) {
        let Some(call) = self.open.get_mut(&ticket) else {
            return;
        };
        let left = call.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return self.time_out(ticket);
        }
        let bytes = call.outgoing.payload.len();
        let limit = requests.max_payload();
        let options = &call.outgoing.options;
        let whole = bytes + options.headers.len() + call.outgoing.name.len() + 256;
        if bytes > limit || whole > requests.max_frame() {
            return self.end(ticket, Err(CallError::PayloadTooLarge { bytes, limit }));
        }
        call.written_before = requests.written_and_waiting();
        call.request = Some(match call.outgoing.kind {
            CallKind::Function => requests.call(&call.outgoing, left, Purpose::Call(ticket)),
            CallKind::Event => requests.emit(&call.outgoing, Purpose::Call(ticket)),
        });
    }

    /// WELCOME arrived: sends the waiting calls.
    pub(super) fn connected(&mut self, now: Instant, requests: &mut Requests) {
        self.up = true;
        self.stopping = false;
        let waiting: Vec<Ticket> = self.open.keys().copied().collect();
        for ticket in waiting {
            self.send(ticket, now, requests);
        }
    }

    /// DRAIN arrived from the engine.
    pub(super) fn engine_stops(&mut self) {
        self.stopping = true;
    }

    /// The connection was lost, after this many bytes were handed to the transport.
    pub(super) fn disconnected(&mut self, written: u64) {
        self.up = false;
        let mut lost = Vec::new();
        for (&ticket, call) in &mut self.open {
            if call.request.take().is_none() || call.written_before >= written {
                continue;
            }
            call.in_doubt = true;
            if !call.is_repeatable() {
                lost.push(ticket);
            }
        }
        for ticket in lost {
            let executed = Executed::Maybe;
            self.end(ticket, Err(CallError::ConnectionLost { executed }));
        }
    }

    /// The engine answered.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<Answer, CallError>,
        now: Instant,
    ) {
        let Some(call) = self.open.get_mut(&ticket) else {
            return;
        };
        if let Err(CallError::Engine(refusal)) = &answer
            && self.stopping
            && *refusal.code == *Code::Draining.as_str()
            && (call.outgoing.options.wait || call.outgoing.options.idempotent)
            && (refusal.executed == Executed::No || call.is_repeatable())
            && now < call.deadline
        {
            call.request = None;
            call.in_doubt |= refusal.executed == Executed::Maybe;
            return;
        }
        self.end(ticket, answer);
    }

    /// When the wait for it ends; `None` once it has ended.
    pub(super) fn patience(&self, ticket: Ticket) -> Option<Instant> {
        let call = self.open.get(&ticket)?;
        Some(if call.request.is_some() {
            call.deadline + GRACE
        } else {
            call.deadline
        })
    }

    /// Ends it if its deadline has passed.
    pub(super) fn expire(&mut self, ticket: Ticket, now: Instant, requests: &mut Requests) {
        if self.patience(ticket).is_none_or(|until| now < until) {
            return;
        }
        self.withdraw(ticket, requests);
        self.time_out(ticket);
    }

    /// Cancels a call whose end is no longer needed.
    pub(super) fn forget(&mut self, ticket: Ticket, requests: &mut Requests) {
        self.withdraw(ticket, requests);
        self.open.remove(&ticket);
    }

    fn withdraw(&mut self, ticket: Ticket, requests: &mut Requests) {
        if let Some(request) = self.open.get_mut(&ticket).and_then(|it| it.request.take()) {
            requests.cancel(request);
            if let Some(call) = self.open.get_mut(&ticket) {
                call.in_doubt = true;
            }
        }
    }

    fn time_out(&mut self, ticket: Ticket) {
        let Some(call) = self.open.get(&ticket) else {
            return;
        };
        let (after, executed) = (call.outgoing.options.timeout, call.executed());
        self.end(ticket, Err(CallError::Timeout { after, executed }));
    }

    /// The worker has ended: ends all calls.
    pub(super) fn finish(&mut self, end: &End) {
        self.up = false;
        let open: Vec<(Ticket, Executed)> = self
            .open
            .iter()
            .map(|(&ticket, call)| (ticket, call.executed()))
            .collect();
        for (ticket, executed) in open {
            let end = end.clone();
            self.end(ticket, Err(CallError::Ended { end, executed }));
        }
    }

    fn end(&mut self, ticket: Ticket, end: Result<Answer, CallError>) {
        let Some(call) = self.open.remove(&ticket) else {
            return;
        };
        let end = end.map_err(|error| match error {
            // This engine does not know what the previous one executed.
            CallError::Engine(refusal) if call.in_doubt => CallError::Engine(Refusal {
                executed: Executed::Maybe,
                ..refusal
            }),
            CallError::Function(fault) if call.in_doubt => CallError::Function(Fault {
                executed: Executed::Maybe,
                ..fault
            }),
            other => other,
        });
        self.ended.push((ticket, end));
    }

    /// The calls that ended since the last call of this method.
    pub(super) fn take_ended(&mut self) -> Vec<CallEnd> {
        std::mem::take(&mut self.ended)
    }
}

impl OpenCall {
    /// Whether it may run twice.
    fn is_repeatable(&self) -> bool {
        self.outgoing.options.idempotent && self.outgoing.kind == CallKind::Function
    }

    fn executed(&self) -> Executed {
        if self.in_doubt || self.request.is_some() {
            Executed::Maybe
        } else {
            Executed::No
        }
    }
}

#[cfg(debug_assertions)]
impl Calls {
    /// Compares the calls with the open requests.
    ///
    /// # Panics
    /// If a call waits for an answer that is not requested, or waits to be sent for no reason.
    pub(super) fn check_books(&self, requests: &Requests) {
        let Self {
            open,
            ended: _,
            last_ticket,
            up,
            stopping,
        } = self;
        let mut sent = 0;
        for (ticket, call) in open {
            assert!(ticket.0 <= *last_ticket, "{ticket:?}");
            match call.request {
                Some(_) => sent += 1,
                None => assert!(!up || *stopping, "{ticket:?} is not sent"),
            }
        }
        let requested = requests.open().filter_map(|(id, purpose)| match purpose {
            Purpose::Call(ticket) => Some((id, ticket)),
            _ => None,
        });
        let requested = requested.map(|(id, ticket)| {
            let call = open.get(ticket);
            let known = call.and_then(|call| call.request);
            assert_eq!(known, Some(id), "request of {ticket:?}");
        });
        assert_eq!(requested.count(), sent, "calls that were sent");
    }
}
