//! The progress of a measurement, reported about once a second. Shows nothing.

use std::time::Duration;

/// The progress of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The work in progress: `joining`, `changes`, `calls`.
    pub what: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// Time since the session began.
    pub elapsed: Duration,
}
