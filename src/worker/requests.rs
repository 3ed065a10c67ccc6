//! What was asked of the engine and is not answered yet, by id, and the bytes that wait to be written.
//! It knows how to put a question, and not what to do with the answer.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Binding, BindingName};
use super::error::Refusal;
use super::fault::Fault;
use super::function::Function;
use super::outgoing_call::OutgoingCall;
use super::ticket::Ticket;
use crate::protocol::{
    Bin, Bind, BindingKey, Call, CallOptions, Cancel, Cast, CastOptions, Code, Emit, EmitOptions,
    Executed, Failure, FailureOptions, MAX_ELEMENTS, MAX_FRAME_CEILING, NoExtensions, Outcome,
    OutcomeOptions, Ready, Register, Text, Unbind, Unregister, WorkerLimits,
};

/// What a request of this connection was for.
#[derive(Debug, PartialEq)]
pub(super) enum Purpose {
    /// The application's own registration, or its opposite.
    Operation(Ticket),
    /// Functions that are registered again.
    Restore(Vec<Arc<str>>),
    /// All is registered again.
    Ready,
    /// Bindings that are made again.
    Rebind(Vec<Arc<BindingName>>),
    /// A call or an event of the application.
    Call(Ticket),
    /// A call that was given up: its answer is nobody's.
    Cancelled,
    /// All that the engine sent before it took note of our DRAIN has come.
    Drain,
}

/// Bytes of a part of a registration. Small enough that a heartbeat does not wait long behind it.
const PART_BYTES: usize = 256 * 1024;

/// More than a frame holds beside one payload, or beside the texts and schemas of one definition.
const BESIDE_A_PAYLOAD: usize = 1024;

/// More than the keys and the headers of one definition take.
const DEFINITION_OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Requests {
    open: HashMap<u64, Purpose>,
    last_id: u64,
    /// Frames to be written, in order.
    pub(super) out: Vec<u8>,
    /// Bytes of this connection that were given away to be written.
    pub(super) written: u64,
    /// GOODBYE was said, and ends here in `out`.
    goodbye_end: Option<usize>,
    limits: WorkerLimits,
}

impl Requests {
    /// A connection begins, with the limits that its WELCOME told.
    pub(super) fn begin(&mut self, limits: &WorkerLimits) {
        self.limits = limits.clone();
    }

    /// The connection ended: nothing will be answered, and what was not written never will be.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.out = Vec::new();
        self.written = 0;
        self.goodbye_end = None;
    }

    /// Adds the last frame of the connection.
    pub(super) fn append_goodbye(&mut self, frame: &[u8]) {
        self.drop_after_goodbye();
        if self.goodbye_end.is_none() {
            self.out.extend_from_slice(frame);
            self.goodbye_end = Some(self.out.len());
        }
    }

    /// Drops what was added behind the last frame: nobody would read it.
    fn drop_after_goodbye(&mut self) {
        if let Some(end) = self.goodbye_end {
            self.out.truncate(end);
        }
    }

    /// Moves the bytes that are to be written to the end of `into`.
    pub(super) fn take_output(&mut self, into: &mut Vec<u8>) {
        self.drop_after_goodbye();
        self.goodbye_end = self.goodbye_end.map(|_| 0);
        self.written += self.out.len() as u64;
        if into.is_empty() {
            mem::swap(into, &mut self.out);
        } else {
            into.append(&mut self.out);
        }
    }

    /// A request ended: what was it for?
    pub(super) fn take(&mut self, id: u64) -> Option<Purpose> {
        self.open.remove(&id)
    }

    /// Whether nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn open_request(&mut self, purpose: Purpose) -> u64 {
        self.last_id += 1;
        self.open.insert(self.last_id, purpose);
        self.last_id
    }

    pub(super) fn register(&mut self, functions: &[Arc<Function>], purpose: Purpose) -> u64 {
        let id = self.open_request(purpose);
        let most = self.max_frame().min(PART_BYTES).saturating_sub(64);
        let mut rest = functions;
        loop {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|function| {
                bytes += function.name().len() + function.entry_size() + DEFINITION_OVERHEAD;
                bytes <= most
            });
            // A single one that does not fit was ruled out by `entry_refusal`.
            let n = fitting.count().max(1).min(rest.len());
            let (part, after) = rest.split_at(n);
            rest = after;
            Register {
                id,
                more: !rest.is_empty(),
                functions: part.iter().map(|function| function.definition()).collect(),
                ext: NoExtensions {},
            }
            .encode(&mut self.out);
            if rest.is_empty() {
                return id;
            }
        }
    }

    pub(super) fn unregister(&mut self, names: &[Arc<str>], purpose: Purpose) -> u64 {
        let id = self.open_request(purpose);
        Unregister {
            id,
            names: names.iter().map(|name| Text(name)).collect(),
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
        id
    }

    pub(super) fn ready(&mut self, purpose: Purpose) {
        let id = self.open_request(purpose);
        Ready {
            id,
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
    }

    pub(super) fn bind(&mut self, bindings: &[Binding], purpose: Purpose) {
        let id = self.open_request(purpose);
        Bind {
            id,
            bindings: bindings.iter().map(Binding::to_wire).collect(),
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
    }

    pub(super) fn unbind(&mut self, bindings: &[Binding], purpose: Purpose) {
        let id = self.open_request(purpose);
        let key = |it| BindingKey {
            event: Text(Binding::event(it)),
            function: Text(it.function()),
            id: Text(it.id()),
        };
        Unbind {
            id,
            bindings: bindings.iter().map(key).collect(),
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
    }

    /// Calls a function, which has `left` for it.
    pub(super) fn call(&mut self, call: &OutgoingCall, left: Duration, purpose: Purpose) -> u64 {
        let id = self.open_request(purpose);
        let options = &call.options;
        Call {
            id,
            function: Text(&call.name),
            payload: Bin(&call.payload),
            ext: CallOptions {
                // A call of less than a millisecond has one.
                timeout_ms: Some((left.as_millis() as u64).max(1)),
                wait: options.wait,
                idempotent: options.idempotent,
                worker: options.worker,
                headers: Bin(&options.headers),
            },
        }
        .encode(&mut self.out);
        id
    }

    pub(super) fn emit(&mut self, call: &OutgoingCall, purpose: Purpose) -> u64 {
        let id = self.open_request(purpose);
        Emit {
            id,
            event: Text(&call.name),
            payload: Bin(&call.payload),
            ext: EmitOptions {
                headers: Bin(&call.options.headers),
            },
        }
        .encode(&mut self.out);
        id
    }

    pub(super) fn cast(&mut self, function: &str, payload: &[u8], headers: &[u8]) {
        Cast {
            function: Text(function),
            payload: Bin(payload),
            ext: CastOptions {
                headers: Bin(headers),
                ..CastOptions::default()
            },
        }
        .encode(&mut self.out);
    }

    /// The answer to a call is of no use any more. It still comes.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Some(purpose) = self.open.get_mut(&id) {
            *purpose = Purpose::Cancelled;
            let ext = NoExtensions {};
            Cancel { id, ext }.encode(&mut self.out);
        }
    }

    /// Answers a call that came in.
    pub(super) fn answer(&mut self, id: u64, result: Result<Vec<u8>, Fault>) {
        let limit = self.max_payload();
        let fault = match result {
            Ok(payload) if payload.len() <= limit => {
                return Outcome {
                    id,
                    payload: Bin(&payload),
                    ext: OutcomeOptions::default(),
                }
                .encode(&mut self.out);
            }
            Ok(payload) => {
                let bytes = payload.len();
                let message = format!(
                    "a result of {bytes} bytes, the engine's limit is {limit} (--max-payload)"
                );
                Fault::new(Code::PayloadTooLarge.as_str(), message)
            }
            Err(fault) => fault,
        };
        let words = fault.code.len() + fault.message.len();
        let fits =
            fault.details.len() <= limit && words + fault.details.len() + 256 <= self.max_frame();
        let fault = if fits {
            fault
        } else {
            let message = "the function failed, and said more about it than a frame takes";
            Fault::new(Code::PayloadTooLarge.as_str(), message)
        };
        Failure {
            id,
            code: Text(&fault.code),
            message: Text(&fault.message),
            retryable: fault.retryable,
            executed: fault.executed,
            ext: FailureOptions {
                from_function: false,
                details: Bin(&fault.details),
            },
        }
        .encode(&mut self.out);
    }

    /// Tells the engine that we cannot do what it asks.
    pub(super) fn answer_unsupported(&mut self, id: u64, message: &str) {
        self.answer(id, Err(unsupported(message)));
    }

    /// Bytes that a payload may have.
    pub(super) fn max_payload(&self) -> usize {
        let within_a_frame = self.max_frame().saturating_sub(BESIDE_A_PAYLOAD);
        or_unlimited(self.limits.max_payload).min(within_a_frame)
    }

    /// Bytes that the body of a frame may have.
    pub(super) fn max_frame(&self) -> usize {
        // Whatever an engine says, no frame is longer than the protocol's.
        or_unlimited(self.limits.max_frame).min(MAX_FRAME_CEILING - 1)
    }

    /// Bytes of this connection so far, those that wait to be written included.
    pub(super) fn written_and_waiting(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// Why these bindings are too many for one frame, or one of them is too long.
    pub(super) fn bindings_refusal(&self, bindings: &[Binding]) -> Option<Refusal> {
        let bytes = bindings.iter().map(bytes_of).sum();
        self.request_refusal("bindings", bindings.len(), bytes)
    }

    /// How many of these bindings make a part of a bearable size.
    pub(super) fn bindings_of_a_part(&self, bindings: &[Binding]) -> usize {
        let mut bytes = 64;
        let fitting = bindings.iter().take_while(|binding| {
            bytes += bytes_of(binding);
            bytes <= self.max_frame().min(PART_BYTES)
        });
        fitting.count().max(1).min(bindings.len())
    }

    /// Why the engine would refuse this function, or worse: a frame over its limit ends the connection.
    pub(super) fn entry_refusal(&self, function: &Function) -> Option<Refusal> {
        let within_a_frame = self.max_frame().saturating_sub(BESIDE_A_PAYLOAD);
        let limit = or_unlimited(self.limits.max_entry).min(within_a_frame);
        let bytes = function.entry_size();
        (bytes > limit).then(|| {
            refusal(
                Code::EntryTooLarge,
                &format!(
                    "description, schemas and metadata of `{}` have {bytes} bytes, the engine's \
                     limit is {limit} (--max-entry)",
                    function.name().escape_default()
                ),
            )
        })
    }

    /// Why the engine would refuse so many functions of one worker.
    pub(super) fn count_refusal(&self, count: usize) -> Option<Refusal> {
        let limit = or_unlimited(self.limits.max_functions);
        (count > limit).then(|| {
            refusal(
                Code::TooManyFunctions,
                &format!("{count} functions, the engine's limit is {limit} (--max-functions)"),
            )
        })
    }

    /// Why these names are too many for one frame.
    pub(super) fn names_refusal(&self, names: &[Arc<str>]) -> Option<Refusal> {
        let bytes = names.iter().map(|name| name.len() + 3).sum();
        self.request_refusal("names", names.len(), bytes)
    }

    /// Why `count` entries of so many bytes can't stand in one request.
    fn request_refusal(&self, entries: &str, count: usize, bytes: usize) -> Option<Refusal> {
        let (bytes, limit) = (bytes + 64, self.max_frame());
        let why = if bytes > limit {
            format!("make a frame of {bytes} bytes, the engine's limit is {limit} (--max-frame)")
        } else if count > MAX_ELEMENTS {
            format!("are more than the {MAX_ELEMENTS} that one request can list")
        } else {
            return None;
        };
        let message = format!("{count} {entries} {why}: take several requests");
        Some(refusal(Code::FrameTooLarge, &message))
    }
}

/// An engine that does not tell a limit has none that a worker would have to know.
fn or_unlimited(limit: u64) -> usize {
    match limit {
        0 => MAX_FRAME_CEILING - 1,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// More than a binding takes on the wire.
fn bytes_of(binding: &Binding) -> usize {
    let names = binding.event().len() + binding.function().len() + binding.id().len();
    names + binding.raw_config().len() + 64
}

/// We cannot do that.
pub(super) fn unsupported(message: &str) -> Fault {
    Fault::new(Code::Unsupported.as_str(), message).not_executed()
}

/// What the engine would say.
pub(super) fn refusal(code: Code, message: &str) -> Refusal {
    Refusal {
        code: code.as_str().into(),
        message: message.into(),
        retryable: code.retryable(),
        executed: Executed::No,
    }
}
