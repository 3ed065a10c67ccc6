//! A call that was made and not waited for yet.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::CallError;
use super::calls::Answer;
use super::link::Ticket;
use super::shell::Shell;
use crate::protocol::Executed;

/// A call under way. Its drop cancels it.
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct PendingCall {
    pub(super) shell: Arc<Shell>,
    pub(super) ticket: Ticket,
    pub(super) slot: Arc<Slot>,
}

/// Where a call's end is laid down for the one thread that waits for it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    end: Mutex<Option<Result<Answer, CallError>>>,
    there: Condvar,
}

impl Slot {
    pub(super) fn put(&self, end: Result<Answer, CallError>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.there.notify_one();
    }

    /// Waits for the end until then.
    fn take(&self, until: Instant) -> Option<Result<Answer, CallError>> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if end.is_some() || left.is_zero() {
                return end.take();
            }
            end = self
                .there
                .wait_timeout(end, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
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
        while let Some(until) = self.shell.patience_with(self.ticket) {
            if let Some(end) = self.slot.take(until) {
                return end;
            }
            self.shell.expire_call(self.ticket);
        }
        self.slot.take(Instant::now()).unwrap_or_else(|| {
            let executed = Executed::Maybe;
            Err(CallError::ConnectionLost { executed })
        })
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.shell.forget_call(self.ticket);
    }
}
