//! What turns are like: how long they take (the time in which the shell works, without its wait for events), how
//! long the writing in them takes, and how much is read and written in one. Percentiles since the start and of the
//! last minutes. Is told each time; knows no clock.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Time;
use super::stats::Stats;

/// After so long, the times of now become those of before. What is recent is one to two of these.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest turn that is told from a longer one, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;

/// The largest number of frames, of write calls, of bytes that is told from a larger one.
const LARGEST: u64 = 1 << 30;

/// When a shell's turn came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Its wait for events was over.
    pub began: Time,
    /// All was read, and [`super::Engine::seal`] done.
    pub sealed: Time,
    /// All was written that the turn writes.
    pub flushed: Time,
    /// It was over.
    pub ended: Time,
}

/// Percentiles of what turns are like, of times to a hundredth of their value, of numbers to a tenth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Percentiles {
    /// Half of the turns had no more.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// 999 of a thousand.
    pub p999: u64,
    /// The most. A minute, or 2^30, stands for all that is more.
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

/// All percentiles of turns, as [`Stats`] names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loop {
    pub(super) turn_us: Percentiles,
    pub(super) recent_turn_us: Percentiles,
    pub(super) flush_us: Percentiles,
    pub(super) recent_flush_us: Percentiles,
    pub(super) recent_frames_read: Percentiles,
    pub(super) recent_writes: Percentiles,
    pub(super) recent_write_bytes: Percentiles,
}

/// One quantity. Each value is noted once, in `current`; that moves to `previous` and from there to `older`, so that
/// a turn costs one count, and asking costs the sum.
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
        // Who notes no turns and asks after each of them, as a simulation does, shall not pay for sums of nothing.
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

/// See the top of this file.
#[derive(Debug)]
pub(super) struct TurnClock {
    turns: Record,
    flushes: Record,
    frames_read: Record,
    writes: Record,
    write_bytes: Record,
    /// When what is current began.
    since: Time,
    /// What was counted by the end of the last turn: frames read, write calls, bytes written.
    counted: [u64; 3],
}

impl TurnClock {
    pub(super) fn new(now: Time) -> Self {
        // Two digits: 20 KiB for each of three. An operator looks at orders of magnitude. One: 3 KiB.
        Self {
            turns: Record::new(LONGEST, 2),
            flushes: Record::new(LONGEST, 2),
            frames_read: Record::new(LARGEST, 1),
            writes: Record::new(LARGEST, 1),
            write_bytes: Record::new(LARGEST, 1),
            since: now,
            counted: [0; 3],
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

    /// Notes a turn by whose end so much had been counted, and so many write calls made.
    pub(super) fn note(&mut self, turn: Turn, stats: &Stats, writes: u64) {
        let Turn {
            began,
            sealed,
            flushed,
            ended,
        } = turn;
        if ended >= self.since.after(WINDOW) {
            self.turn_over(ended);
        }
        let counted = [stats.frames_in, writes, stats.bytes_out];
        let [frames, writes, bytes] = [0, 1, 2].map(|it: usize| counted[it] - self.counted[it]);
        self.counted = counted;
        let note = |record: &mut Record, value| record.current.saturating_record(value);
        note(&mut self.turns, ended.0.saturating_sub(began.0));
        if frames > 0 {
            note(&mut self.frames_read, frames);
        }
        if writes > 0 {
            note(&mut self.flushes, flushed.0.saturating_sub(sealed.0));
            note(&mut self.writes, writes);
            note(&mut self.write_bytes, bytes / writes);
        }
    }

    fn turn_over(&mut self, now: Time) {
        let idle = now >= self.since.after(2 * WINDOW);
        for record in self.records() {
            record.turn_over();
            if idle {
                // What was of now is older than a window, too.
                record.turn_over();
            }
        }
        self.since = now;
    }

    /// How many turns were noted.
    pub(super) fn turns(&self) -> u64 {
        self.turns.len()
    }

    /// Since the start, and of the last one to two minutes in which there were turns.
    pub(super) fn percentiles(&self) -> Loop {
        let (turn_us, recent_turn_us) = self.turns.percentiles();
        let (flush_us, recent_flush_us) = self.flushes.percentiles();
        Loop {
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

    fn note(clock: &mut TurnClock, second: u64, took: u64) {
        let began = Time(second * SECOND);
        let ended = Time(began.0 + took);
        let (sealed, flushed) = (began, ended);
        let turn = Turn {
            began,
            sealed,
            flushed,
            ended,
        };
        clock.note(turn, &Stats::default(), 0);
    }

    /// How long turns took since the start, and lately.
    fn times(clock: &TurnClock) -> (Percentiles, Percentiles) {
        let turns = clock.percentiles();
        (turns.turn_us, turns.recent_turn_us)
    }

    #[test]
    fn percentiles_are_those_of_all_turns_to_a_hundredth() {
        let mut clock = TurnClock::new(Time(0));
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
        let mut clock = TurnClock::new(Time(0));
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
        let mut clock = TurnClock::new(Time(0));
        note(&mut clock, 1, 500_000);
        note(&mut clock, 1000, 10);
        let (all, recent) = times(&clock);
        assert_eq!((recent.max, all.max >= 500_000), (10, true));
    }

    #[test]
    fn a_turn_longer_than_a_minute_counts_as_a_minute() {
        let mut clock = TurnClock::new(Time(0));
        note(&mut clock, 0, 500 * SECOND);
        let (all, _) = times(&clock);
        assert!(all.max >= LONGEST && all.max < LONGEST + LONGEST / 50);
    }
}
