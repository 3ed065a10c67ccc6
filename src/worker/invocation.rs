//! An incoming call or cast, and its cancellation. Runs nothing.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::deadline::deadline_after;
use super::lock::{lock, wait_until};

/// An incoming call or cast, without its arguments.
#[derive(Debug)]
pub struct Invocation {
    /// The function that was called.
    pub function: Arc<str>,
    /// The caller's worker id.
    pub caller: u64,
    /// The caller's name.
    pub caller_name: Box<str>,
    /// Until when the caller waits; `None` for a cast.
    pub deadline: Option<Instant>,
    /// The caller's headers as bytes.
    pub headers: Box<[u8]>,
    /// The event that caused it, if any.
    pub event: Option<Box<str>>,
    pub(super) cancelled: Arc<Cancellation>,
}

impl Invocation {
    /// See [`Context::is_cancelled`](super::Context::is_cancelled).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

/// Whether an invocation was cancelled; handlers can wait for it.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Cancellation {
    pub(super) fn cancel(&self) {
        *lock(&self.cancelled) = true;
        self.changed.notify_all();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        *lock(&self.cancelled)
    }

    /// Waits for the cancellation until the timeout; returns whether it came.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let deadline = deadline_after(timeout);
        let mut cancelled = lock(&self.cancelled);
        while !*cancelled {
            if Instant::now() >= deadline {
                return false;
            }
            cancelled = wait_until(&self.changed, cancelled, deadline);
        }
        true
    }
}
