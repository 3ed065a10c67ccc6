//! A call that was made and not waited for yet.

use std::sync::Arc;
use std::time::Instant;

use super::answer::Answer;
use super::call_error::CallError;
use super::call_port::CallPort;
use super::result_slot::ResultSlot;
use super::ticket::Ticket;
use crate::protocol::Executed;

/// A call under way. Its drop cancels it.
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct PendingCall {
    pub(super) port: Arc<dyn CallPort>,
    pub(super) ticket: Ticket,
    pub(super) slot: Arc<ResultSlot>,
}

impl PendingCall {
    /// Waits for the call's end, for as long as its time allows.
    pub fn wait(self) -> Result<Vec<u8>, CallError> {
        self.end().map(|answer| answer.payload)
    }

    /// Waits for an event's end.
    pub(super) fn matched(self) -> Result<u64, CallError> {
        self.end().map(|answer| answer.matched)
    }

    fn end(&self) -> Result<Answer, CallError> {
        // Once the link has ended the call, the end lies there.
        while let Some(until) = self.port.deadline(self.ticket) {
            if let Some(end) = self.slot.take(until) {
                return end;
            }
            self.port.clone().expire(self.ticket);
        }
        self.slot.take(Instant::now()).unwrap_or_else(|| {
            let executed = Executed::Maybe;
            Err(CallError::ConnectionLost { executed })
        })
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.port.forget(self.ticket);
    }
}
