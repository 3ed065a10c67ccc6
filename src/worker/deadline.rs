//! Deadlines of waits. Reads the clock; does not wait.

use std::time::{Duration, Instant};

/// The longest wait. A longer one could overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The deadline of a wait that begins now.
pub(super) fn deadline_after(timeout: Duration) -> Instant {
    deadline_from(Instant::now(), timeout)
}

/// The deadline of a wait that begins at `start`.
pub(super) fn deadline_from(start: Instant, timeout: Duration) -> Instant {
    start + timeout.min(LONGEST)
}
