//! A digest of what a run writes on its wires, frame by frame: what the engine writes, and what the library's workers
//! write, each with the time and the connection. The texts of FAILURE and GOODBYE are no part of it, nor are the
//! counters of `engine::stats`; codes and the reason of a RESYNC are. It judges nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use callboard::protocol::{Bin, Failure, Goodbye, Inbox, Message, Outcome, Text};

use crate::call_oracle::number;
use crate::journal;

/// Replaces a text for people.
const MASK: Text<'static> = Text("a text");

/// Stands in each answer of `engine::stats`. It counts the texts, too.
const COUNTER: &[u8] = b"bytes_out";

/// The end of a wire that writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Engine,
    Worker,
}

/// Takes a frame down that was written to a connection.
pub(crate) fn take_down(side: Side, connection: u64, frame: &[u8], message: &Message<'_>) {
    let masked = masked(frame, message);
    journal::absorb_frame(&[side as u8]);
    journal::absorb_frame(&connection.to_le_bytes());
    journal::absorb_frame(&(masked.len() as u64).to_le_bytes());
    journal::absorb_frame(&masked);
}

fn masked<'a>(frame: &'a [u8], message: &Message<'_>) -> Cow<'a, [u8]> {
    match message {
        Message::Failure(it) => {
            let message = MASK;
            let failure = Failure {
                message,
                ..it.clone()
            };
            failure.to_frame().into()
        }
        Message::Goodbye(it) => {
            let message = MASK;
            let goodbye = Goodbye {
                message,
                ..it.clone()
            };
            goodbye.to_frame().into()
        }
        Message::Outcome(it) if it.payload.windows(COUNTER.len()).any(|at| at == COUNTER) => {
            let payload = Bin(COUNTER);
            let outcome = Outcome {
                payload,
                ..it.clone()
            };
            outcome.to_frame().into()
        }
        _ => frame.into(),
    }
}

/// The frames that a worker writes over one connection.
#[derive(Debug, Default)]
pub(crate) struct Said {
    inbox: Inbox,
    /// The calls and events among them.
    calls: BTreeSet<usize>,
}

impl Said {
    /// The worker wrote these bytes.
    pub(crate) fn hear(&mut self, connection: u64, mut bytes: &[u8]) {
        while let Ok(Some(frame)) = self.inbox.next(&mut bytes, 1 << 24) {
            let message = Message::decode(frame).expect("the library writes what can be read");
            take_down(Side::Worker, connection, frame, &message);
            let call = match message {
                Message::Call(it) => number(&it.payload),
                Message::Emit(it) => number(&it.payload),
                _ => None,
            };
            self.calls.extend(call);
        }
    }

    /// Whether this call or event was written.
    pub(crate) fn has(&self, number: usize) -> bool {
        self.calls.contains(&number)
    }
}
