//! What a handler can find out about its call, and do while it runs. Holds no connection.

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

    /// How much longer the caller waits; `None` for a cast.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.invocation.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// The caller's headers as bytes; empty if there are none.
    #[must_use]
    pub fn raw_headers(&self) -> &[u8] {
        &self.invocation.headers
    }

    /// The caller's headers, decoded as MessagePack; `None` if there are none.
    pub fn headers<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.invocation.headers)
    }

    /// The event that caused it, if any.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.invocation.event.as_deref()
    }

    /// Whether the result is no longer needed: the caller cancelled or left, the deadline passed, the connection
    /// was lost, or the worker closes and its drain timeout has passed.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.invocation.is_cancelled()
    }

    /// Waits for [`Context::is_cancelled`] until the timeout; returns whether it is.
    #[must_use]
    pub fn wait_cancelled(&self, timeout: Duration) -> bool {
        self.invocation.cancelled.wait(timeout)
    }

    /// Calls other functions from within a handler.
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
