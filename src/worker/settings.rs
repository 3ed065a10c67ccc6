//! Timeouts, threads, capacity and tier that the application may choose for a worker. Values only.

use std::time::Duration;

/// What the application may choose for a worker, with the defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// How long a request may wait for its answer.
    pub(super) request_timeout: Duration,
    /// About how often to look for engines that come before the present one.
    pub(super) probe_interval: Duration,
    /// How long a close may wait for handlers.
    pub(super) drain_timeout: Duration,
    /// Handlers that run at once.
    pub(super) threads: usize,
    /// Calls that are taken at once, waiting ones included.
    pub(super) capacity: usize,
    /// The tier to ask for.
    pub(super) tier: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            probe_interval: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            threads: 8,
            capacity: 1000,
            tier: None,
        }
    }
}
