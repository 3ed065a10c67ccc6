//! How long turns take: the time in which the shell works, without its wait for events. Percentiles since the
//! start and of the last minutes. Is told each time; knows no clock.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Time;

/// After so long, the times of now become those of before. What is recent is one to two of these.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest turn that is told from a longer one, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;

/// Percentiles of turns, in microseconds, to a hundredth of their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct TurnTimes {
    /// Half of the turns took no longer.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// 999 of a thousand.
    pub p999: u64,
    /// The longest. A minute stands for all that took longer.
    pub max: u64,
}

impl TurnTimes {
    fn of(times: &Histogram<u64>) -> Self {
        Self {
            p50: times.value_at_quantile(0.5),
            p90: times.value_at_quantile(0.9),
            p99: times.value_at_quantile(0.99),
            p999: times.value_at_quantile(0.999),
            max: times.max(),
        }
    }
}

/// Each turn is noted once, in `current`; that moves to `previous` and from there to `older`, so that a turn
/// costs one count, and asking costs the sum.
#[derive(Debug)]
pub(super) struct TurnClock {
    older: Histogram<u64>,
    previous: Histogram<u64>,
    current: Histogram<u64>,
    /// When `current` began.
    since: Time,
}

impl TurnClock {
    pub(super) fn new(now: Time) -> Self {
        // Two digits: 20 KiB each. An operator looks at orders of magnitude.
        let empty = || Histogram::new_with_bounds(1, LONGEST, 2).expect("bounds in order");
        Self {
            older: empty(),
            previous: empty(),
            current: empty(),
            since: now,
        }
    }

    pub(super) fn note(&mut self, began: Time, ended: Time) {
        if ended >= self.since.after(WINDOW) {
            self.turn_over(ended);
        }
        self.current
            .saturating_record(ended.0.saturating_sub(began.0));
    }

    fn turn_over(&mut self, now: Time) {
        let idle = now >= self.since.after(2 * WINDOW);
        let added = self.older.add(&self.previous);
        added.expect("of the same bounds");
        std::mem::swap(&mut self.previous, &mut self.current);
        self.current.reset();
        if idle {
            // What was of now is older than a window, too.
            let added = self.older.add(&self.previous);
            added.expect("of the same bounds");
            self.previous.reset();
        }
        self.since = now;
    }

    /// How many turns were noted.
    pub(super) fn turns(&self) -> u64 {
        self.older.len() + self.previous.len() + self.current.len()
    }

    /// Since the start, and of the last one to two minutes in which there were turns.
    pub(super) fn percentiles(&self) -> (TurnTimes, TurnTimes) {
        // Who notes no turns and asks after each of them, as a simulation does, shall not pay for sums of nothing.
        if self.turns() == 0 {
            return Default::default();
        }
        let sum = |to: &Histogram<u64>, more: &Histogram<u64>| {
            let mut sum = to.clone();
            sum.add(more).expect("of the same bounds");
            sum
        };
        let recent = sum(&self.previous, &self.current);
        let all = sum(&self.older, &recent);
        (TurnTimes::of(&all), TurnTimes::of(&recent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn note(clock: &mut TurnClock, second: u64, took: u64) {
        let began = Time(second * SECOND);
        clock.note(began, Time(began.0 + took));
    }

    #[test]
    fn percentiles_are_those_of_all_turns_to_a_hundredth() {
        let mut clock = TurnClock::new(Time(0));
        for took in 1..=1000 {
            note(&mut clock, 1, took);
        }
        let (all, recent) = clock.percentiles();
        assert_eq!(all, recent);
        assert_eq!(clock.turns(), 1000);
        for (got, want) in [
            (all.p50, 500),
            (all.p90, 900),
            (all.p99, 990),
            (all.max, 1000),
        ] {
            assert!(got.abs_diff(want) <= want / 100, "{got} for {want}");
        }
    }

    #[test]
    fn a_bad_start_is_forgotten_by_what_is_recent_and_kept_by_the_whole() {
        let mut clock = TurnClock::new(Time(0));
        note(&mut clock, 0, 500_000);
        for second in 1..300 {
            note(&mut clock, second, 10);
            let (all, recent) = clock.percentiles();
            assert!(all.max >= 500_000);
            let over = second > 121;
            assert!(!over || recent.max == 10, "{recent:?} after {second} s");
            assert_eq!(recent.p50, 10);
        }
        assert_eq!(clock.turns(), 300);
    }

    #[test]
    fn after_a_long_silence_nothing_old_is_recent() {
        let mut clock = TurnClock::new(Time(0));
        note(&mut clock, 1, 500_000);
        note(&mut clock, 1000, 10);
        let (all, recent) = clock.percentiles();
        assert_eq!((recent.max, all.max >= 500_000), (10, true));
    }

    #[test]
    fn a_turn_longer_than_a_minute_counts_as_a_minute() {
        let mut clock = TurnClock::new(Time(0));
        note(&mut clock, 0, 500 * SECOND);
        let (all, _) = clock.percentiles();
        assert!(all.max >= LONGEST && all.max < LONGEST + LONGEST / 50);
    }
}
