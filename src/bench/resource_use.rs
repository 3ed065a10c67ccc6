//! The cost of a measurement: elapsed time, processor time, and the engine's counters. The difference of two
//! samples.

use std::time::Duration;

use serde::Serialize;

use super::sample::{Counters, Sample};

/// Flags of the limits that form a connection's budget for changes.
const BUDGET: [&str; 2] = ["changes-per-second", "max-share"];

/// Time and resources used by a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceUse {
    /// Elapsed time.
    pub seconds: f64,
    /// Processor time of the engine's process, including kernel time; `None` if the process is unknown.
    pub engine_cpu_seconds: Option<f64>,
    /// Processor time of this program, which has one thread: if it is close to `seconds`, the bench was the
    /// bottleneck.
    pub load_cpu_seconds: Option<f64>,
    /// The engine's counters, including work for others; `None` if the engine does not tell.
    pub engine_work: Option<EngineWork>,
    /// How often a connection used up the engine's budget for changes and was slowed down (`--changes-per-second`,
    /// `--max-share`). Above 0, a rate of changes shows the budget, not the engine. `None` if the engine does not
    /// tell.
    pub budget_met: Option<u64>,
}

/// The growth of the engine's counters during a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineWork {
    /// Revisions sealed.
    pub revisions: u64,
    /// Times that changes were encoded.
    pub encodings: u64,
    /// Snapshot pages encoded.
    pub pages_encoded: u64,
    /// Snapshots begun, for any reason.
    pub resyncs: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Turns of the event loop.
    pub turns: u64,
}

impl ResourceUse {
    /// The difference from one sample to a later one.
    #[must_use]
    pub fn between(before: &Sample, after: &Sample) -> Self {
        let used = |before: Option<Duration>, after: Option<Duration>| {
            let (before, after) = before.zip(after)?;
            Some(after.saturating_sub(before).as_secs_f64())
        };
        let counters = before.counters.as_ref().zip(after.counters.as_ref());
        Self {
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            engine_cpu_seconds: used(before.cpu, after.cpu),
            load_cpu_seconds: used(before.load_cpu, after.load_cpu),
            engine_work: counters.map(|(before, after)| EngineWork::between(before, after)),
            budget_met: counters.map(|(before, after)| {
                let met = |counters: &Counters| -> u64 {
                    let met = BUDGET.iter().filter_map(|flag| counters.limited.get(*flag));
                    met.sum()
                };
                met(after).saturating_sub(met(before))
            }),
        }
    }

    /// Whether this program was busy nearly all the time.
    #[must_use]
    pub fn is_bound_by_load(&self) -> bool {
        self.load_cpu_seconds
            .is_some_and(|used| used > 0.9 * self.seconds)
    }

    /// A count per second.
    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// A count per second of the engine's processor time.
    #[must_use]
    pub fn per_cpu_second(&self, count: u64) -> Option<f64> {
        let used = self.engine_cpu_seconds.filter(|used| *used > 0.0);
        used.map(|used| count as f64 / used)
    }
}

impl EngineWork {
    fn between(before: &Counters, after: &Counters) -> Self {
        // Counters of one engine only grow.
        let grown = |of: fn(&Counters) -> u64| of(after).saturating_sub(of(before));
        Self {
            revisions: grown(|it| it.revisions),
            encodings: grown(|it| it.encodings),
            pages_encoded: grown(|it| it.pages_encoded),
            resyncs: grown(|it| it.resyncs.values().sum()),
            frames_in: grown(|it| it.frames_in),
            frames_out: grown(|it| it.frames_out),
            bytes_out: grown(|it| it.bytes_out),
            turns: grown(|it| it.turns),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_difference_of_two_samples_is_told_as_far_as_both_know_it() {
        let at = Instant::now();
        let mut before = Sample {
            at,
            counters: Some(Counters::default()),
            load_cpu: None,
            cpu: Some(Duration::from_millis(100)),
            memory: None,
        };
        let mut counters = Counters {
            revisions: 7,
            ..Counters::default()
        };
        for (flag, met) in BUDGET.into_iter().zip([1, 2]) {
            counters.limited.insert(flag.to_owned(), met);
        }
        let after = Sample {
            at: at + Duration::from_secs(2),
            counters: Some(counters),
            load_cpu: None,
            cpu: Some(Duration::from_millis(600)),
            memory: None,
        };
        let resource_use = ResourceUse::between(&before, &after);
        assert!((resource_use.per_second(10) - 5.0).abs() < 1e-9);
        assert!((resource_use.per_cpu_second(10).unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(resource_use.budget_met, Some(3));
        assert_eq!(resource_use.engine_work.unwrap().revisions, 7);

        (before.counters, before.cpu) = (None, None);
        let resource_use = ResourceUse::between(&before, &after);
        assert_eq!(
            (resource_use.budget_met, resource_use.per_cpu_second(10)),
            (None, None)
        );
    }
}
