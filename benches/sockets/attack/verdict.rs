//! Verdicts on rows: how late the calls of another user may be, and which row is the worst. Knows no engine, and measures
//! nothing.

use std::time::Duration;

/// What a call may take beyond three times the idle engine's 99th percentile.
const SLACK: Duration = Duration::from_millis(10);

/// What one function of an atomic step may cost.
const STEP: Duration = Duration::from_micros(1);

/// How late the calls of another user may be at the 99th percentile. `step`: functions of the largest atomic step.
pub(crate) fn aim(idle: Duration, step: u32) -> Duration {
    3 * idle + SLACK + step * STEP
}

/// What a verdict reads of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// The bystander is of the attackers' user.
    pub(crate) same: bool,
    pub(crate) p99: Duration,
    pub(crate) aim: Duration,
    /// Calls that failed or had no answer, changes that nobody heard of, requests that were refused, connections that
    /// were lost.
    pub(crate) harmed: u64,
}

impl Outcome {
    /// How many times the aim its 99th percentile is.
    fn excess(&self) -> f64 {
        self.p99.as_secs_f64() / self.aim.as_secs_f64()
    }
}

/// The run that decides: of another user, and the latest against its aim. `None` if nobody else was measured.
pub(crate) fn worst(runs: &[Outcome]) -> Option<&Outcome> {
    let others = runs.iter().filter(|run| !run.same);
    others.max_by(|a, b| a.excess().total_cmp(&b.excess()))
}

/// Whether another user was as well as aimed for, whatever the number of attackers.
pub(crate) fn verdict(runs: &[Outcome]) -> &'static str {
    let late = worst(runs).is_some_and(|run| run.excess() > 1.0);
    let harmed = runs.iter().any(|run| !run.same && run.harmed > 0);
    match (late, harmed) {
        _ if worst(runs).is_none() => "not measured",
        (false, false) => "met",
        (true, false) => "**late**",
        (false, true) => "**harmed**",
        (true, true) => "**late, harmed**",
    }
}

/// Brings the worst row to the front; rows without another user go last.
pub(crate) fn order<T>(rows: &mut [T], runs: impl Fn(&T) -> Vec<Outcome>) {
    let excess = |row: &T| worst(&runs(row)).map_or(-1.0, Outcome::excess);
    rows.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
}
