//! Options of a call, as a reusable value.

use std::time::Duration;

use serde::Serialize;

use super::function::{FunctionError, pack};

/// The default timeout of a call.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of a call.
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
    /// The defaults: a timeout of 30 s and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The timeout of the call, including reconnects. The engine enforces it; if it does not, the library does a
    /// second later.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Wait, within the timeout, until the function has a provider with free capacity, or for the next engine if
    /// this one is about to stop.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.wait = true;
        self
    }

    /// The function may run more than once: the call is retried when its provider dies or the connection is lost.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Only this worker may run it.
    #[must_use]
    pub fn worker(mut self, id: u64) -> Self {
        self.worker = Some(id);
        self
    }

    /// Headers for the function, sent as MessagePack, by convention a map.
    pub fn headers(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.headers_bytes(pack(value)?))
    }

    /// Headers for the function, as bytes of any format.
    #[must_use]
    pub fn headers_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.headers = bytes.into();
        self
    }
}
