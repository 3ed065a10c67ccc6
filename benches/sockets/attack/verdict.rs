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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn run(same: bool, p99: u32) -> Outcome {
        Outcome {
            same,
            p99: p99 * MS,
            aim: 10 * MS,
            harmed: 0,
        }
    }

    #[test]
    fn the_aim_grows_with_the_idle_engine_and_with_the_largest_step() {
        assert_eq!(aim(MS, 0), 13 * MS);
        assert_eq!(aim(2 * MS, 5_000), 21 * MS);
    }

    #[test]
    fn another_user_decides_and_the_same_one_does_not() {
        assert_eq!(verdict(&[]), "not measured");
        assert_eq!(verdict(&[run(true, 99)]), "not measured");
        assert_eq!(verdict(&[run(true, 99), run(false, 10)]), "met");
        assert_eq!(verdict(&[run(false, 11), run(false, 1)]), "**late**");
        let harmed = |same| Outcome {
            harmed: 1,
            ..run(same, 1)
        };
        assert_eq!(verdict(&[harmed(true), run(false, 1)]), "met");
        assert_eq!(verdict(&[harmed(false), run(false, 1)]), "**harmed**");
        assert_eq!(verdict(&[harmed(false), run(false, 11)]), "**late, harmed**");
    }

    #[test]
    fn the_worst_row_comes_first() {
        let mut rows = vec![
            ("mild", vec![run(false, 2), run(true, 90)]),
            ("unknown", vec![run(true, 99)]),
            ("bad", vec![run(false, 3), run(false, 30)]),
            ("worse", vec![run(false, 40)]),
        ];
        order(&mut rows, |(_, runs)| runs.clone());
        let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["worse", "bad", "mild", "unknown"]);
    }
}
