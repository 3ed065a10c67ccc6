//! How long a measurement goes on: for a time, for a number of things done, or for what comes first.

use std::time::{Duration, Instant};

/// See the top of this file. Without either it goes on until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopCondition {
    /// The time.
    pub time: Option<Duration>,
    /// Things done: changes, calls, joins.
    pub count: Option<u64>,
}

impl StopCondition {
    /// Whether no more is to be begun, so many having been begun since then.
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
