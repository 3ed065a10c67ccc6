//! Metrics: what an engine counts about itself. Counts; decides nothing.

mod log_limit;
pub(crate) mod size;
pub(crate) mod stats;
pub(crate) mod turn_times;

use std::cell::Cell;

use super::interface::Time;
use super::refusal::Refusal;
use super::registry::change::Changes;
use super::registry::feed::FeedCounts;
use super::registry::position::resync;
use crate::limits::Limits;
use log_limit::LogLimit;
use stats::{Dropped, Relief, Stats};
use turn_times::{Totals, Turn, TurnPercentiles, TurnTimes};

/// Gauges that cost a walk over all connections or histograms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CostlyGauges {
    /// Connections that have not been sent all changes.
    pub(crate) behind: u64,
    pub(crate) turns: TurnPercentiles,
}

/// All counters of an engine.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The counters; the gauges among them are filled in for a report.
    stats: Stats,
    /// Write calls of the shell.
    writes: u64,
    /// Calls that ended with a result: the most frequent ending, so not counted by name.
    results: u64,
    turn_times: TurnTimes,
    /// Computed once a turn at most, so that a peer that asks all the time costs the others little.
    costly: Cell<Option<CostlyGauges>>,
    log_limit: LogLimit,
}

impl Metrics {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            stats: Stats::default(),
            writes: 0,
            results: 0,
            turn_times: TurnTimes::new(now),
            costly: Cell::new(None),
            log_limit: LogLimit::default(),
        }
    }

    /// The counters, with gauges of 0.
    pub(crate) fn counters(&self) -> Stats {
        let mut stats = self.stats.clone();
        if self.results > 0 {
            stats.endings.insert("result", self.results);
        }
        stats.turns = self.turn_times.turns();
        stats
    }

    /// Gauges that are costly to compute: those of this turn, or else computed with `behind`.
    pub(crate) fn costly(&self, behind: impl FnOnce() -> u64) -> CostlyGauges {
        if let Some(known) = self.costly.get() {
            return known;
        }
        let costly = CostlyGauges {
            behind: behind(),
            turns: self.turn_times.percentiles(),
        };
        self.costly.set(Some(costly));
        costly
    }

    /// Drops the costly gauges: the state has changed.
    pub(crate) fn invalidate_costly(&self) {
        self.costly.set(None);
    }

    /// The shell finished a turn.
    pub(crate) fn record_turn(&mut self, turn: Turn) {
        let totals = Totals {
            frames_read: self.stats.frames_in,
            writes: self.writes,
            bytes_written: self.stats.bytes_out,
        };
        self.turn_times.record(turn, totals);
        self.costly.set(None);
    }

    /// Whether a log line about a single peer may be written. Returns the number of lines suppressed before it.
    pub(crate) fn may_log(&mut self, now: Time, rate: u64) -> Option<u64> {
        let suppressed = self.log_limit.allows(now, rate);
        if suppressed.is_none() {
            self.count_limited(Limits::FLAGS.log_lines_per_second);
        }
        suppressed
    }

    // Input and output.

    pub(crate) fn count_bytes_in(&mut self, bytes: usize) {
        self.stats.bytes_in += bytes as u64;
    }

    pub(crate) fn count_frame_in(&mut self) {
        self.stats.frames_in += 1;
    }

    pub(crate) fn count_write(&mut self) {
        self.writes += 1;
    }

    pub(crate) fn count_written(&mut self, bytes: usize, frames: u64) {
        self.stats.bytes_out += bytes as u64;
        self.stats.frames_out += frames;
    }

    // Connections.

    /// A connection was accepted. Returns its number since the start.
    pub(crate) fn count_accepted(&mut self) -> u64 {
        self.stats.accepted += 1;
        self.stats.accepted
    }

    pub(crate) fn count_closed(&mut self, code: &'static str) {
        *self.stats.closed.entry(code).or_default() += 1;
    }

    pub(crate) fn count_failed_login(&mut self) {
        self.stats.failed_logins += 1;
    }

    // Refusals and limits.

    /// A request that is no call was refused.
    pub(crate) fn count_refused_request(&mut self, refusal: &Refusal) {
        *self.stats.refused.entry(refusal.code.as_str()).or_default() += 1;
    }

    /// Counts the limit that caused a refusal, if one did.
    pub(crate) fn count_refusal(&mut self, refusal: &Refusal) {
        if let Some(flag) = refusal.limit() {
            self.count_limited(flag);
        }
    }

    /// The limit of this flag was met.
    pub(crate) fn count_limited(&mut self, flag: &'static str) {
        *self.stats.limited.entry(flag).or_default() += 1;
    }

    pub(crate) fn count_dropped(&mut self, why: Dropped) {
        *self.stats.dropped.entry(why.as_str()).or_default() += 1;
    }

    pub(crate) fn count_relief(&mut self, measure: Relief) {
        *self.stats.relieved.entry(measure.as_str()).or_default() += 1;
    }

    // Calls.

    pub(crate) fn count_ending(&mut self, outcome: &'static str) {
        *self.stats.endings.entry(outcome).or_default() += 1;
    }

    pub(crate) fn count_result(&mut self) {
        self.results += 1;
    }

    pub(crate) fn count_cast(&mut self) {
        self.stats.casts += 1;
    }

    // Revisions.

    pub(crate) fn count_revision(&mut self) {
        self.stats.revisions += 1;
    }

    /// The counts of changed entries.
    pub(crate) fn changes(&mut self) -> &mut Changes {
        &mut self.stats.changes
    }

    /// A snapshot starts, for this reason.
    pub(crate) fn count_resync(&mut self, reason: &'static str) {
        *self.stats.resyncs.entry(reason).or_default() += 1;
        if reason == resync::LOG_TRIMMED {
            self.count_limited(Limits::FLAGS.log_bytes);
        }
    }

    #[inline] // Once for each watcher of a change, most of which encode nothing.
    pub(crate) fn count_feed(&mut self, counts: &FeedCounts) {
        if counts.encodings == 0 {
            return;
        }
        self.stats.encodings += counts.encodings;
        for _ in 0..counts.evictions {
            self.count_limited(Limits::FLAGS.cache_bytes);
        }
    }
}

#[cfg(debug_assertions)]
impl Metrics {
    /// Every connection was accepted, and has ended or is one of the `present`.
    ///
    /// # Panics
    /// If a connection was counted twice, or not.
    pub(crate) fn check_books(&self, present: usize) {
        let ended: u64 = self.stats.closed.values().sum();
        assert_eq!(self.stats.accepted, ended + present as u64, "connections");
    }
}
