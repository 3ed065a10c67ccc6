//! How many log lines about single peers may be written: a rate with a burst. Lines beyond it are counted, and
//! the next line that is written says how many there were. Writes nothing itself.

use super::Time;

/// So many seconds' worth may be written at once: all of a fleet may leave in one turn.
const BURST_SECONDS: u64 = 10;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When the budget will be even.
    even: Time,
    left_out: u64,
}

impl Throttle {
    /// Whether a line may be written, at `rate` a second (0: always). If so: how many were left out before.
    pub(super) fn allows(&mut self, now: Time, rate: u64) -> Option<u64> {
        if let Some(line) = 1_000_000_u64.checked_div(rate) {
            let even = self.even.max(now);
            if even.0 - now.0 > BURST_SECONDS * 1_000_000 {
                self.left_out += 1;
                return None;
            }
            self.even = Time(even.0 + line);
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_no_line_is_forgotten() {
        let mut throttle = Throttle::default();
        let (mut written, mut told) = (0, 0);
        for millisecond in 0..20_000 {
            if let Some(left_out) = throttle.allows(Time(millisecond * 1000), 10) {
                written += 1;
                told += left_out;
            }
        }
        // The burst, and 20 seconds' worth.
        assert!((300..=302).contains(&written), "{written}");
        assert!(
            throttle
                .allows(Time(100_000_000), 10)
                .is_some_and(|n| told + n + written == 20_000)
        );
        assert!((0..1000).all(|_| throttle.allows(Time(0), 0).is_some()));
    }
}
