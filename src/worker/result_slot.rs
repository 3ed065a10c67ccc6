//! Hands the end of a call from the runtime to the one thread that waits for it.

use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::answer::Answer;
use super::call_error::CallError;
use super::lock::{lock, wait_until};

/// The end of one call, once it is known.
#[derive(Debug, Default)]
pub(super) struct ResultSlot {
    end: Mutex<Option<Result<Answer, CallError>>>,
    filled: Condvar,
}

impl ResultSlot {
    pub(super) fn put(&self, end: Result<Answer, CallError>) {
        *lock(&self.end) = Some(end);
        self.filled.notify_one();
    }

    /// Waits for the end, until `until` at the latest.
    pub(super) fn take(&self, until: Instant) -> Option<Result<Answer, CallError>> {
        let mut end = lock(&self.end);
        loop {
            if end.is_some() || Instant::now() >= until {
                return end.take();
            }
            end = wait_until(&self.filled, end, until);
        }
    }
}
