//! What was asked of the engine and is not answered yet, by id, and the bytes that wait to be written.
//! It knows how to put a question, and not what to do with the answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Function, Refusal};
use crate::protocol::{
    Bin, Code, Executed, Failure, FailureOptions, NoExtensions, Ready, Register, Text, Unregister,
    WorkerLimits,
};

/// Names one request of the application, across reconnects. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// What a request of this connection was for. Calls will stand here too.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// The application's own registration, or its opposite.
    Order(Ticket),
    /// Functions that are registered again.
    Restore(Vec<Arc<str>>),
    /// All is registered again.
    Ready,
}

/// Bytes of a part of a registration. Small enough that a heartbeat does not wait long behind it.
const PART_BYTES: usize = 256 * 1024;

/// More than the keys and the headers of one definition take.
const DEFINITION_OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Requests {
    open: HashMap<u64, Asked>,
    last_id: u64,
    /// Frames to be written, in order.
    pub(super) out: Vec<u8>,
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
    }

    /// A request ended: what was it for?
    pub(super) fn take(&mut self, id: u64) -> Option<Asked> {
        self.open.remove(&id)
    }

    /// Whether nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn ask(&mut self, asked: Asked) -> u64 {
        self.last_id += 1;
        self.open.insert(self.last_id, asked);
        self.last_id
    }

    pub(super) fn register(&mut self, functions: &[Arc<Function>], asked: Asked) -> u64 {
        let id = self.ask(asked);
        let most = or_unlimited(self.limits.max_frame).min(PART_BYTES) - 64;
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

    pub(super) fn unregister(&mut self, names: &[Arc<str>], asked: Asked) -> u64 {
        let id = self.ask(asked);
        Unregister {
            id,
            names: names.iter().map(|name| Text(name)).collect(),
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
        id
    }

    pub(super) fn ready(&mut self) {
        let id = self.ask(Asked::Ready);
        Ready {
            id,
            ext: NoExtensions {},
        }
        .encode(&mut self.out);
    }

    /// Tells the engine that we cannot do what it asks.
    pub(super) fn answer_unsupported(&mut self, id: u64, message: &str) {
        Failure {
            id,
            code: Text(Code::Unsupported.as_str()),
            message: Text(message),
            retryable: Code::Unsupported.retryable(),
            executed: Executed::No,
            ext: FailureOptions {
                from_function: false,
                details: Bin(&[]),
            },
        }
        .encode(&mut self.out);
    }

    /// Why the engine would refuse this function, or worse: a frame over its limit ends the connection.
    pub(super) fn entry_refusal(&self, function: &Function) -> Option<Refusal> {
        let limit = or_unlimited(self.limits.max_entry);
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
        let limit = or_unlimited(self.limits.max_frame);
        let bytes = names.iter().map(|name| name.len() + 3).sum::<usize>() + 64;
        (bytes > limit).then(|| {
            refusal(
                Code::FrameTooLarge,
                &format!(
                    "{} names make a frame of {bytes} bytes, the engine's limit is {limit} \
                     (--max-frame): unregister them in several batches",
                    names.len()
                ),
            )
        })
    }
}

/// An engine that does not tell a limit has none that a worker would have to know.
fn or_unlimited(limit: u64) -> usize {
    match limit {
        0 => crate::protocol::MAX_FRAME_CEILING - 1,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
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
