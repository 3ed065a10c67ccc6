//! A call in flight that the application can wait for.

use std::sync::Arc;
use std::time::Instant;

use super::answer::Answer;
use super::call_error::CallError;
use super::call_port::CallPort;
use super::result_slot::ResultSlot;
use super::ticket::Ticket;
use crate::protocol::Executed;

/// A call in flight. Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct PendingCall {
    pub(super) port: Arc<dyn CallPort>,
    pub(super) ticket: Ticket,
    pub(super) slot: Arc<ResultSlot>,
}

impl PendingCall {
    /// Waits for the result, as long as the call's timeout allows.
    pub fn wait(self) -> Result<Vec<u8>, CallError> {
        self.end().map(|answer| answer.payload)
    }

    /// Waits for the end of an event.
    pub(super) fn matched(self) -> Result<u64, CallError> {
        self.end().map(|answer| answer.matched)
    }

    fn end(&self) -> Result<Answer, CallError> {
        // Once the link has ended the call, its end is in the slot.
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
