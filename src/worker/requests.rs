//! The open requests of a connection by id, and the bytes to be written. Encodes requests; does not decide what to
//! do with the answers.

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

/// The purpose of an open request.
#[derive(Debug, PartialEq)]
pub(super) enum Purpose {
    /// An operation of the application.
    Operation(Ticket),
    /// Functions registered again.
    Restore(Vec<Arc<str>>),
    /// READY.
    Ready,
    /// Bindings registered again.
    Rebind(Vec<Arc<BindingName>>),
    /// A call or an event of the application.
    Call(Ticket),
    /// A cancelled call: its answer is ignored.
    Cancelled,
    /// READY after DRAIN: its answer follows every call routed here before.
    Drain,
}

/// Size of a part of a registration. Small enough that a heartbeat does not wait long behind it.
const PART_BYTES: usize = 256 * 1024;

/// More than a frame needs besides one payload, or besides the texts and schemas of one definition.
const BESIDE_A_PAYLOAD: usize = 1024;

/// More than the keys and headers of one definition need.
const DEFINITION_OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Requests {
    open: HashMap<u64, Purpose>,
    last_id: u64,
    /// Encoded frames to be written, in order.
    pub(super) out: Vec<u8>,
    /// Bytes of this connection handed out for writing.
    pub(super) written: u64,
    /// Where GOODBYE ends in `out`, if it was said.
    goodbye_end: Option<usize>,
    limits: WorkerLimits,
}

impl Requests {
    /// A connection begins, with the limits of its WELCOME.
    pub(super) fn begin(&mut self, limits: &WorkerLimits) {
        self.limits = limits.clone();
    }

    /// The connection was lost: its requests stay unanswered, and unwritten bytes are discarded.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.out = Vec::new();
        self.written = 0;
        self.goodbye_end = None;
    }

    /// Appends GOODBYE, the last frame of the connection.
    pub(super) fn append_goodbye(&mut self, frame: &[u8]) {
        self.drop_after_goodbye();
        if self.goodbye_end.is_none() {
            self.out.extend_from_slice(frame);
            self.goodbye_end = Some(self.out.len());
        }
    }

    /// Discards frames behind GOODBYE, which the engine would not read.
    fn drop_after_goodbye(&mut self) {
        if let Some(end) = self.goodbye_end {
            self.out.truncate(end);
        }
    }

    /// Moves the bytes to be written to the end of `into`.
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

    /// Closes a request; returns its purpose.
    pub(super) fn take(&mut self, id: u64) -> Option<Purpose> {
        self.open.remove(&id)
    }

    /// Whether no request is open.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The open requests with their ids.
    #[cfg(debug_assertions)]
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, &Purpose)> {
        self.open.iter().map(|(&id, purpose)| (id, purpose))
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
            // `entry_refusal` has ruled out a single definition that does not fit.
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

    /// Calls a function with `left` as its timeout.
    pub(super) fn call(&mut self, call: &OutgoingCall, left: Duration, purpose: Purpose) -> u64 {
        let id = self.open_request(purpose);
        let options = &call.options;
        Call {
            id,
            function: Text(&call.name),
            payload: Bin(&call.payload),
            ext: CallOptions {
                // A call with less than a millisecond left still gets one.
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

    /// Cancels a call. Its answer still arrives.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Some(purpose) = self.open.get_mut(&id) {
            *purpose = Purpose::Cancelled;
            let ext = NoExtensions {};
            Cancel { id, ext }.encode(&mut self.out);
        }
    }

    /// Answers an incoming call.
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
            let message = "the function failed with more details than a frame can hold";
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

    /// Answers a request that this worker does not support.
    pub(super) fn answer_unsupported(&mut self, id: u64, message: &str) {
        self.answer(id, Err(unsupported(message)));
    }

    /// The largest payload.
    pub(super) fn max_payload(&self) -> usize {
        let within_a_frame = self.max_frame().saturating_sub(BESIDE_A_PAYLOAD);
        or_unlimited(self.limits.max_payload).min(within_a_frame)
    }

    /// The largest body of a frame.
    pub(super) fn max_frame(&self) -> usize {
        // No frame exceeds the protocol's limit, whatever the engine says.
        or_unlimited(self.limits.max_frame).min(MAX_FRAME_CEILING - 1)
    }

    /// Bytes of this connection so far, including those still to be written.
    pub(super) fn written_and_waiting(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// The refusal if these bindings exceed one frame.
    pub(super) fn bindings_refusal(&self, bindings: &[Binding]) -> Option<Refusal> {
        let bytes = bindings.iter().map(bytes_of).sum();
        self.request_refusal("bindings", bindings.len(), bytes)
    }

    /// How many of these bindings fit into one part.
    pub(super) fn bindings_of_a_part(&self, bindings: &[Binding]) -> usize {
        let mut bytes = 64;
        let fitting = bindings.iter().take_while(|binding| {
            bytes += bytes_of(binding);
            bytes <= self.max_frame().min(PART_BYTES)
        });
        fitting.count().max(1).min(bindings.len())
    }

    /// The refusal if the engine would refuse this function, or close the connection because of its size.
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

    /// The refusal if a worker may not have so many functions.
    pub(super) fn count_refusal(&self, count: usize) -> Option<Refusal> {
        let limit = or_unlimited(self.limits.max_functions);
        (count > limit).then(|| {
            refusal(
                Code::TooManyFunctions,
                &format!("{count} functions, the engine's limit is {limit} (--max-functions)"),
            )
        })
    }

    /// The refusal if these names exceed one frame.
    pub(super) fn names_refusal(&self, names: &[Arc<str>]) -> Option<Refusal> {
        let bytes = names.iter().map(|name| name.len() + 3).sum();
        self.request_refusal("names", names.len(), bytes)
    }

    /// The refusal if `count` entries with these bytes exceed one request.
    fn request_refusal(&self, entries: &str, count: usize, bytes: usize) -> Option<Refusal> {
        let (bytes, limit) = (bytes + 64, self.max_frame());
        let why = if bytes > limit {
            format!("make a frame of {bytes} bytes, the engine's limit is {limit} (--max-frame)")
        } else if count > MAX_ELEMENTS {
            format!("are more than the {MAX_ELEMENTS} that one request can list")
        } else {
            return None;
        };
        let message = format!("{count} {entries} {why}: use several requests");
        Some(refusal(Code::FrameTooLarge, &message))
    }
}

/// A limit that the engine does not tell does not concern a worker.
fn or_unlimited(limit: u64) -> usize {
    match limit {
        0 => MAX_FRAME_CEILING - 1,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// More than a binding needs on the wire.
fn bytes_of(binding: &Binding) -> usize {
    let names = binding.event().len() + binding.function().len() + binding.id().len();
    names + binding.raw_config().len() + 64
}

/// A failure with the code `unsupported`.
pub(super) fn unsupported(message: &str) -> Fault {
    Fault::new(Code::Unsupported.as_str(), message).not_executed()
}

/// A refusal in the engine's words.
pub(super) fn refusal(code: Code, message: &str) -> Refusal {
    Refusal {
        code: code.as_str().into(),
        message: message.into(),
        retryable: code.retryable(),
        executed: Executed::No,
    }
}
