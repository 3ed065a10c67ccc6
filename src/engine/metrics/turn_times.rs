//! Turn times: how long turns take (without the wait for events), how long the writing in them takes, and how much one
//! reads and writes. Percentiles since the start and of the last minutes. Knows no clock.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::interface::Time;

/// After this long, the current values become the previous ones. "Recent" covers both.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest time that is distinguished from longer ones, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;

/// The largest number of frames, write calls or bytes that is distinguished from larger ones.
const LARGEST: u64 = 1 << 30;

/// The times at which a turn of the shell reached its phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// The wait for events ended.
    pub began: Time,
    /// Everything was read, and [`crate::engine::Engine::seal`] returned.
    pub sealed: Time,
    /// The writes of the turn were done.
    pub flushed: Time,
    /// The turn ended.
    pub ended: Time,
}

/// Percentiles over turns: times to a hundredth of their value, numbers to a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Percentiles {
    /// Half of the turns were at or below.
    pub p50: u64,
    /// 90 of 100 turns.
    pub p90: u64,
    /// 99 of 100 turns.
    pub p99: u64,
    /// 999 of 1,000 turns.
    pub p999: u64,
    /// The maximum. A minute, or 2^30, stands for everything above.
    pub max: u64,
}

impl Percentiles {
    fn of(values: &Histogram<u64>) -> Self {
        Self {
            p50: values.value_at_quantile(0.5),
            p90: values.value_at_quantile(0.9),
            p99: values.value_at_quantile(0.99),
            p999: values.value_at_quantile(0.999),
            max: values.max(),
        }
    }
}

/// All percentiles of turns, with the names of [`super::stats::Stats`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnPercentiles {
    pub(crate) turn_us: Percentiles,
    pub(crate) recent_turn_us: Percentiles,
    pub(crate) flush_us: Percentiles,
    pub(crate) recent_flush_us: Percentiles,
    pub(crate) recent_frames_read: Percentiles,
    pub(crate) recent_writes: Percentiles,
    pub(crate) recent_write_bytes: Percentiles,
}

/// The values of one quantity. A value is recorded once, in `current`, which moves to `previous` and then to `older`.
/// So a turn costs one record, and a report costs the sums.
#[derive(Debug)]
struct Record {
    older: Histogram<u64>,
    previous: Histogram<u64>,
    current: Histogram<u64>,
}

impl Record {
    fn new(largest: u64, digits: u8) -> Self {
        let empty = || Histogram::new_with_bounds(1, largest, digits).expect("bounds in order");
        Self {
            older: empty(),
            previous: empty(),
            current: empty(),
        }
    }

    /// Moves `previous` to `older`, and `current` to `previous`.
    fn turn_over(&mut self) {
        let added = self.older.add(&self.previous);
        added.expect("of the same bounds");
        std::mem::swap(&mut self.previous, &mut self.current);
        self.current.reset();
    }

    fn len(&self) -> u64 {
        self.older.len() + self.previous.len() + self.current.len()
    }

    /// Since the start, and of what is recent.
    fn percentiles(&self) -> (Percentiles, Percentiles) {
        // A simulation records no turns, and reports after each of them.
        if self.len() == 0 {
            return Default::default();
        }
        let sum = |to: &Histogram<u64>, more: &Histogram<u64>| {
            let mut sum = to.clone();
            sum.add(more).expect("of the same bounds");
            sum
        };
        let recent = sum(&self.previous, &self.current);
        let all = sum(&self.older, &recent);
        (Percentiles::of(&all), Percentiles::of(&recent))
    }
}

/// Counters since the start, whose growth a turn is recorded with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) frames_read: u64,
    /// Write calls.
    pub(super) writes: u64,
    pub(super) bytes_written: u64,
}

/// Histograms of turn times, and of what turns read and write.
#[derive(Debug)]
pub(super) struct TurnTimes {
    turns: Record,
    flushes: Record,
    frames_read: Record,
    writes: Record,
    write_bytes: Record,
    /// When the current window began.
    since: Time,
    /// Totals at the end of the last turn.
    totals: Totals,
}

impl TurnTimes {
    pub(super) fn new(now: Time) -> Self {
        // Two digits take 20 KiB for each of three histograms, one digit 3 KiB.
        Self {
            turns: Record::new(LONGEST, 2),
            flushes: Record::new(LONGEST, 2),
            frames_read: Record::new(LARGEST, 1),
            writes: Record::new(LARGEST, 1),
            write_bytes: Record::new(LARGEST, 1),
            since: now,
            totals: Totals::default(),
        }
    }

    fn records(&mut self) -> [&mut Record; 5] {
        [
            &mut self.turns,
            &mut self.flushes,
            &mut self.frames_read,
            &mut self.writes,
            &mut self.write_bytes,
        ]
    }

    /// Records a turn, with the totals at its end.
    pub(super) fn record(&mut self, turn: Turn, totals: Totals) {
        let Turn {
            began,
            sealed,
            flushed,
            ended,
        } = turn;
        if ended >= self.since.after(WINDOW) {
            self.turn_over(ended);
        }
        let before = std::mem::replace(&mut self.totals, totals);
        let frames = totals.frames_read - before.frames_read;
        let writes = totals.writes - before.writes;
        let bytes = totals.bytes_written - before.bytes_written;
        let record = |record: &mut Record, value| record.current.saturating_record(value);
        record(&mut self.turns, ended.0.saturating_sub(began.0));
        if frames > 0 {
            record(&mut self.frames_read, frames);
        }
        if writes > 0 {
            record(&mut self.flushes, flushed.0.saturating_sub(sealed.0));
            record(&mut self.writes, writes);
            record(&mut self.write_bytes, bytes / writes);
        }
    }

    fn turn_over(&mut self, now: Time) {
        let idle = now >= self.since.after(2 * WINDOW);
        for record in self.records() {
            record.turn_over();
            if idle {
                // The current values are older than a window, too.
                record.turn_over();
            }
        }
        self.since = now;
    }

    /// Number of turns recorded.
    pub(super) fn turns(&self) -> u64 {
        self.turns.len()
    }

    /// Since the start, and of the last one to two minutes in which there were turns.
    pub(super) fn percentiles(&self) -> TurnPercentiles {
        let (turn_us, recent_turn_us) = self.turns.percentiles();
        let (flush_us, recent_flush_us) = self.flushes.percentiles();
        TurnPercentiles {
            turn_us,
            recent_turn_us,
            flush_us,
            recent_flush_us,
            recent_frames_read: self.frames_read.percentiles().1,
            recent_writes: self.writes.percentiles().1,
            recent_write_bytes: self.write_bytes.percentiles().1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn note(clock: &mut TurnTimes, second: u64, took: u64) {
        let began = Time(second * SECOND);
        let ended = Time(began.0 + took);
        let (sealed, flushed) = (began, ended);
        let turn = Turn {
            began,
            sealed,
            flushed,
            ended,
        };
        clock.record(turn, Totals::default());
    }

    /// Turn times since the start, and recent ones.
    fn times(clock: &TurnTimes) -> (Percentiles, Percentiles) {
        let turns = clock.percentiles();
        (turns.turn_us, turns.recent_turn_us)
    }

    #[test]
    fn percentiles_are_those_of_all_turns_to_a_hundredth() {
        let mut clock = TurnTimes::new(Time(0));
        for took in 1..=1000 {
            note(&mut clock, 1, took);
        }
        let (all, recent) = times(&clock);
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
        let mut clock = TurnTimes::new(Time(0));
        note(&mut clock, 0, 500_000);
        for second in 1..300 {
            note(&mut clock, second, 10);
            let (all, recent) = times(&clock);
            assert!(all.max >= 500_000);
            let over = second > 121;
            assert!(!over || recent.max == 10, "{recent:?} after {second} s");
            assert_eq!(recent.p50, 10);
        }
        assert_eq!(clock.turns(), 300);
    }

    #[test]
    fn after_a_long_silence_nothing_old_is_recent() {
        let mut clock = TurnTimes::new(Time(0));
        note(&mut clock, 1, 500_000);
        note(&mut clock, 1000, 10);
        let (all, recent) = times(&clock);
        assert_eq!((recent.max, all.max >= 500_000), (10, true));
    }

    #[test]
    fn a_turn_longer_than_a_minute_counts_as_a_minute() {
        let mut clock = TurnTimes::new(Time(0));
        note(&mut clock, 0, 500 * SECOND);
        let (all, _) = times(&clock);
        assert!(all.max >= LONGEST && all.max < LONGEST + LONGEST / 50);
    }
}
