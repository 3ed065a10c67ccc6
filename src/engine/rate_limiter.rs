//! A rate limiter with a burst, for changes and work of a connection and for lines of the log. Holds one time stamp;
//! rate and burst come with each call, since they are limits of the engine. Decides nothing about the one it limits.

use super::interface::Time;

/// Microseconds in a second: what one second's worth of a rate costs.
const SECOND: u64 = 1_000_000;

/// A budget that refills at a rate, kept as the time until which it is spent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateLimiter {
    spent_until: Time,
}

impl RateLimiter {
    /// Spends `count` units at `rate` units a second, whether the budget covers them or not. Returns whether that
    /// overdraws it: more than `burst` microseconds' worth are spent in advance. A rate of 0 is no limit.
    pub(crate) fn spend(&mut self, count: u64, rate: u64, burst: u64, now: Time) -> bool {
        let Some(cost) = count.saturating_mul(SECOND).checked_div(rate) else {
            return false;
        };
        self.spent_until = Time(self.spent_until.max(now).0.saturating_add(cost));
        self.is_overdrawn(burst, now)
    }

    /// Spends one unit unless the budget is overdrawn. Returns whether it was spent.
    pub(crate) fn try_spend(&mut self, rate: u64, burst: u64, now: Time) -> bool {
        if rate > 0 && self.is_overdrawn(burst, now) {
            return false;
        }
        self.spend(1, rate, burst, now);
        true
    }

    /// When an overdrawn budget has half of its burst again.
    pub(crate) fn half_refilled(self, burst: u64) -> Time {
        Time(self.spent_until.0.saturating_sub(burst / 2))
    }

    fn is_overdrawn(self, burst: u64, now: Time) -> bool {
        self.spent_until.max(now).0 - now.0 > burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_whatever_it_is_spent_on() {
        let start = Time(5_000_000);
        let mut budget = RateLimiter { spent_until: start };
        assert!((0..10).all(|_| !budget.spend(1, 10, SECOND, start)));
        assert!(budget.spend(1, 1_000_000, SECOND, start));
        assert_eq!(budget.half_refilled(SECOND), Time(start.0 + 500_001));
        // The budget does not accumulate beyond its burst.
        let later = Time(60_000_000);
        assert!(!budget.spend(100_000, 100_000, SECOND, later));
        assert!(budget.spend(1, 10, SECOND, later));
    }

    #[test]
    fn without_a_rate_it_is_never_overdrawn() {
        let mut budget = RateLimiter::default();
        assert!(!budget.spend(u64::MAX, 0, SECOND, Time(0)));
        assert!(budget.spend(u64::MAX, 1, SECOND, Time(0)));
        assert!(budget.spend(u64::MAX, 1, SECOND, Time(0)));
        assert!(budget.try_spend(0, SECOND, Time(0)));
        assert!(!budget.try_spend(1, SECOND, Time(0)));
    }
}
