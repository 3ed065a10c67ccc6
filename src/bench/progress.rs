//! What a measurement says of itself while it runs, about once a second. Who shows it is not its matter.

use std::time::Duration;

/// See the top of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: `joining`, `changes`, `calls`.
    pub what: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// Since when.
    pub elapsed: Duration,
}
