//! The limit on log lines about single peers. Lines over the limit are counted, and the next line that is written
//! reports their number. Writes nothing itself.

use crate::engine::interface::Time;
use crate::engine::rate_limiter::RateLimiter;

/// Microseconds' worth of lines that may be written at once: a whole fleet may leave in one turn.
const BURST: u64 = 10_000_000;

/// A rate limiter for log lines that counts what it suppresses.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    limiter: RateLimiter,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be written, at `rate` a second (0: always). Returns the number of lines suppressed before it.
    pub(super) fn allows(&mut self, now: Time, rate: u64) -> Option<u64> {
        if !self.limiter.try_spend(rate, BURST, now) {
            self.suppressed += 1;
            return None;
        }
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_no_line_is_forgotten() {
        let mut limit = LogLimit::default();
        let (mut written, mut reported) = (0, 0);
        for millisecond in 0..20_000 {
            if let Some(suppressed) = limit.allows(Time(millisecond * 1000), 10) {
                written += 1;
                reported += suppressed;
            }
        }
        // The burst, and 20 seconds' worth.
        assert!((300..=302).contains(&written), "{written}");
        assert!(
            limit
                .allows(Time(100_000_000), 10)
                .is_some_and(|n| reported + n + written == 20_000)
        );
        assert!((0..1000).all(|_| limit.allows(Time(0), 0).is_some()));
    }
}
