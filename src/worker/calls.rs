//! The calls that this worker made and that have not ended: which are sent, which wait for a connection,
//! and which are made again when one is lost. It neither reads nor writes, nor waits.
//!
//! A call that is not sent waits for the next connection. One that was sent is made again only if it is
//! idempotent, or if the engine said that it was not executed because it is about to stop.

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

/// How much later than the engine the library gives a call up.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct OpenCall {
    outgoing: OutgoingCall,
    deadline: Instant,
    /// The request of the present connection; none while it waits for one.
    request: Option<u64>,
    /// How many bytes this connection had written before it. What is not written is not executed.
    written_before: u64,
    /// An earlier connection may have had it executed.
    in_doubt: bool,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In the order of their making, so that they are sent again in it.
    open: BTreeMap<Ticket, OpenCall>,
    ended: Vec<CallEnd>,
    last_ticket: u64,
    /// Calls can be sent.
    up: bool,
    /// The engine is about to stop.
    stopping: bool,
}

impl Calls {
    /// Takes a call, and sends it if there is a connection.
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
        // Where the engine is about to stop, who waits does so for the next one.
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

    /// WELCOME came: sends what waits.
    pub(super) fn connected(&mut self, now: Instant, requests: &mut Requests) {
        self.up = true;
        self.stopping = false;
        let waiting: Vec<Ticket> = self.open.keys().copied().collect();
        for ticket in waiting {
            self.send(ticket, now, requests);
        }
    }

    /// The engine said DRAIN.
    pub(super) fn engine_stops(&mut self) {
        self.stopping = true;
    }

    /// The connection ended, after this many bytes were given away to be written.
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

    /// Until when it is to be waited for; `None` once it has ended.
    pub(super) fn patience(&self, ticket: Ticket) -> Option<Instant> {
        let call = self.open.get(&ticket)?;
        Some(if call.request.is_some() {
            call.deadline + GRACE
        } else {
            call.deadline
        })
    }

    /// Ends it if its time is over.
    pub(super) fn expire(&mut self, ticket: Ticket, now: Instant, requests: &mut Requests) {
        if self.patience(ticket).is_none_or(|until| now < until) {
            return;
        }
        self.withdraw(ticket, requests);
        self.time_out(ticket);
    }

    /// Nobody wants its end any more.
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

    /// The worker is over: so are its calls.
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
            // What this engine knows is not what the one before did.
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

    /// How calls ended since the last time.
    pub(super) fn take_ended(&mut self) -> Vec<CallEnd> {
        std::mem::take(&mut self.ended)
    }
}

impl OpenCall {
    /// Whether it may run a second time.
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
