//! Calls at a fixed pace. Their times are reckoned from when they should have been made: one that had to wait for the
//! one before it waits as well.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::load::{Dialect, Pair};

/// The time from one call to the next.
const CALL_EVERY: Duration = Duration::from_millis(1);

/// The longest time that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// The names of what [`columns`] has.
pub(super) const HEADINGS: &str = "   p50, us    p90, us    p99, us   most, us";

pub(super) fn no_times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds")
}

/// Makes calls until it is `over`, and adds their times. Returns how many there were.
pub(super) fn call<D: Dialect>(
    pair: &mut Pair<D>,
    times: &mut Histogram<u64>,
    over: impl Fn() -> bool,
) -> u64 {
    let mut due = Instant::now();
    let mut calls = 0;
    while !over() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        pair.exchange();
        calls += 1;
        times.saturating_record(due.elapsed().as_nanos() as u64);
        due += CALL_EVERY;
    }
    calls
}

/// Half of the times, nine in ten, 99 in a hundred, and all of them are within these.
pub(super) fn columns(times: &Histogram<u64>) -> String {
    let us = |part| format!("{:>10.0}", times.value_at_quantile(part) as f64 / 1e3);
    [0.5, 0.9, 0.99, 1.0].map(us).join(" ")
}
