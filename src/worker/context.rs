//! What a handler may know about the call that it runs for, and what it can do meanwhile. It holds no
//! connection of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::client::Client;
use super::function::{FunctionError, unpack_optional};
use super::invocation::Invocation;

/// The call that a handler runs for. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub(super) invocation: Arc<Invocation>,
    pub(super) client: Client,
}

impl Context {
    /// The function that was called.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.invocation.function
    }

    /// The caller's worker id.
    #[must_use]
    pub fn caller(&self) -> u64 {
        self.invocation.caller
    }

    /// The caller's name.
    #[must_use]
    pub fn caller_name(&self) -> &str {
        &self.invocation.caller_name
    }

    /// Until when the caller waits; `None` for a cast.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.invocation.deadline
    }

    /// How long the caller still waits; `None` for a cast.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.invocation.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// What the caller sent along, as it travels; empty if nothing.
    #[must_use]
    pub fn raw_headers(&self) -> &[u8] {
        &self.invocation.headers
    }

    /// What the caller sent along, read as MessagePack of some type; `None` if nothing.
    pub fn headers<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.invocation.headers)
    }

    /// The event that caused it, if one did.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.invocation.event.as_deref()
    }

    /// Whether nobody waits for the answer any more: the caller cancelled or is gone, the deadline is
    /// over, the connection was lost, or the worker closes and its patience is at its end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.invocation.is_cancelled()
    }

    /// Waits at most so long for [`Context::is_cancelled`], and says whether it is.
    #[must_use]
    pub fn wait_cancelled(&self, timeout: Duration) -> bool {
        self.invocation.cancelled.wait(timeout)
    }

    /// To call others while one runs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.invocation.fmt(f)
    }
}
