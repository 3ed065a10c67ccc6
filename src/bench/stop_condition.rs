//! When a measurement ends: after a time, after a count, or whichever comes first.

use std::time::{Duration, Instant};

/// When to stop. Without either limit, a measurement runs until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopCondition {
    /// The duration.
    pub time: Option<Duration>,
    /// The number of changes, calls or joins.
    pub count: Option<u64>,
}

impl StopCondition {
    /// Whether to begin no more, after `count` of them since `began`.
    #[must_use]
    pub fn is_met(&self, count: u64, began: Instant) -> bool {
        self.count.is_some_and(|most| count >= most)
            || self.time.is_some_and(|most| began.elapsed() >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_ends_it() {
        let now = Instant::now();
        let long = Some(Duration::from_secs(3600));
        let both = StopCondition {
            time: long,
            count: Some(3),
        };
        assert!(!both.is_met(2, now));
        assert!(both.is_met(3, now));
        let time = StopCondition {
            time: Some(Duration::ZERO),
            count: Some(3),
        };
        assert!(time.is_met(0, now));
        assert!(!StopCondition::default().is_met(u64::MAX, now));
    }
}
