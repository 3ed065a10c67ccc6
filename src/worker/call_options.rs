//! How a call shall be made, as a value to be kept and used again.

use std::time::Duration;

use serde::Serialize;

use super::function::{FunctionError, pack};

/// The time of a call that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a call shall be made.
///
/// ```
/// use std::time::Duration;
/// use callboard::worker::CallOptions;
///
/// let patient = CallOptions::new().timeout(Duration::from_secs(5)).wait().idempotent();
/// # let _ = patient;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    pub(super) timeout: Duration,
    pub(super) wait: bool,
    pub(super) idempotent: bool,
    pub(super) worker: Option<u64>,
    pub(super) headers: Vec<u8>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            wait: false,
            idempotent: false,
            worker: None,
            headers: Vec::new(),
        }
    }
}

impl CallOptions {
    /// 30 s, and nothing special.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time that the call has, reconnects included. The engine enforces it; should the engine not,
    /// the library does a second later.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Wait, within the time, until somebody provides the function and has room; and where the engine is
    /// about to stop, for the next engine.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.wait = true;
        self
    }

    /// The function may run more than once: when its provider dies or the connection is lost, the call
    /// is made again.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// To be run by this worker and no other.
    #[must_use]
    pub fn worker(mut self, id: u64) -> Self {
        self.worker = Some(id);
        self
    }

    /// Passed through to the function, sent as MessagePack, by convention a map.
    pub fn headers(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.headers_bytes(pack(value)?))
    }

    /// Passed through to the function as it is.
    #[must_use]
    pub fn headers_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.headers = bytes.into();
        self
    }
}
