//! Logs a summary of the loop's statistics at a fixed interval. Uses the loop's clock; without an interval it does
//! nothing.

use std::time::Duration;

use crate::engine::{Percentiles, Stats, Time};

/// Writes a summary of the statistics to the log at a fixed interval.
#[derive(Debug)]
pub(super) struct StatsLog {
    every: Option<Duration>,
    due: Time,
    /// The time and the counts of the last line.
    since: Time,
    turns: u64,
    frames: u64,
    bytes: u64,
}

impl StatsLog {
    pub(super) fn new(every: Option<Duration>) -> Self {
        Self {
            every,
            due: Time(0).after(every.unwrap_or_default()),
            since: Time(0),
            turns: 0,
            frames: 0,
            bytes: 0,
        }
    }

    /// When the next line is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.every.map(|_| self.due)
    }

    /// Logs a line if it is due.
    pub(super) fn handle_turn(&mut self, now: Time, stats: impl FnOnce() -> Stats) {
        let Some(every) = self.every.filter(|_| now >= self.due) else {
            return;
        };
        let stats = stats();
        let seconds = (now.0 - self.since.0) as f64 / 1e6;
        log::info!(
            "last {seconds:.0} s: {} turns, {} frames read, {} bytes written; recent p50/p99/max: turn {} us, \
             flush {} us, frames read per turn {}, write calls per turn {}, bytes per write call {}",
            stats.turns - self.turns,
            stats.frames_in - self.frames,
            stats.bytes_out - self.bytes,
            formatted(&stats.recent_turn_us),
            formatted(&stats.recent_flush_us),
            formatted(&stats.recent_frames_read),
            formatted(&stats.recent_writes),
            formatted(&stats.recent_write_bytes),
        );
        (self.turns, self.frames) = (stats.turns, stats.frames_in);
        (self.bytes, self.since) = (stats.bytes_out, now);
        // Counted from now, not from the due time: a stalled process does not catch up.
        self.due = now.after(every);
    }
}

fn formatted(of: &Percentiles) -> String {
    format!("{}/{}/{}", of.p50, of.p99, of.max)
}
