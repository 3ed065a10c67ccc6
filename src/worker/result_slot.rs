//! Where the runtime leaves the end of a call for the one thread that waits for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::answer::Answer;
use super::call_error::CallError;

/// Holds the end of one call, once it is known.
#[derive(Debug, Default)]
pub(super) struct ResultSlot {
    end: Mutex<Option<Result<Answer, CallError>>>,
    filled: Condvar,
}

impl ResultSlot {
    pub(super) fn put(&self, end: Result<Answer, CallError>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.filled.notify_one();
    }

    /// Waits for the end until then.
    pub(super) fn take(&self, until: Instant) -> Option<Result<Answer, CallError>> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if end.is_some() || left.is_zero() {
                return end.take();
            }
            end = self
                .filled
                .wait_timeout(end, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
