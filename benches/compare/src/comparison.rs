//! One question put to several targets in alternation. Each round runs all of them, the next in the other order, so
//! that a drift of the machine favours none. A target that stands in it twice is its own control. A target that
//! loses or invents something has no figures but the reason. Runs what it is given; measures nothing itself.

use crate::figures::{Series, Spread};
use crate::wire::Fault;

/// The figures of each target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Microseconds,
    Nanoseconds,
    Milliseconds,
    PerSecond,
    Bytes,
    MiB,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
            Self::Milliseconds => "ms",
            Self::PerSecond => "1/s",
            Self::Bytes => "bytes",
            Self::MiB => "MiB",
        }
    }
}

pub(crate) struct Comparison {
    pub(crate) metrics: Vec<Metric>,
    /// The target whose figures are shown in parts of the others'.
    pub(crate) subject: String,
    runs: Vec<Run>,
}

struct Run {
    name: String,
    series: Vec<Series>,
    fault: Option<Fault>,
}

impl Comparison {
    /// Names in the order in which they are shown; a name that comes again is the control of the first.
    pub(crate) fn new(
        metrics: &[Metric],
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let run = |name: String| Run {
            name,
            series: vec![Series::default(); metrics.len()],
            fault: None,
        };
        Self {
            metrics: metrics.to_vec(),
            subject: "Callboard".to_owned(),
            runs: names.into_iter().map(|name| run(name.into())).collect(),
        }
    }

    /// The same, with another target than Callboard in parts of the others.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.subject);
        self
    }

    /// Runs all subjects, one for each name, round by round. Each gives one figure for each metric.
    pub(crate) fn alternate<T>(
        &mut self,
        rounds: usize,
        subjects: &mut [T],
        mut measure: impl FnMut(&mut T) -> Result<Vec<f64>, Fault>,
    ) {
        assert_eq!(subjects.len(), self.runs.len());
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..subjects.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let run = &mut self.runs[at];
                if run.fault.is_some() {
                    continue;
                }
                match measure(&mut subjects[at]) {
                    Ok(figures) => {
                        assert_eq!(figures.len(), run.series.len());
                        for (series, figure) in run.series.iter_mut().zip(figures) {
                            series.add(figure);
                        }
                    }
                    Err(fault) => run.fault = Some(fault),
                }
            }
        }
    }

    /// Each name once, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !names.contains(&&*run.name) {
                names.push(&run.name);
            }
        }
        names
    }

    fn runs(&self, name: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.name == name)
    }

    /// Why a target has no figures.
    pub(crate) fn fault(&self, name: &str) -> Option<&str> {
        self.runs(name).find_map(|run| run.fault.as_deref())
    }

    /// The figure of a target, of both its runs together if it ran twice.
    pub(crate) fn series(&self, name: &str, metric: usize) -> Option<Series> {
        if self.fault(name).is_some() {
            return None;
        }
        let mut runs = self.runs(name).map(|run| &run.series[metric]);
        let first = runs.next()?;
        Some(
            runs.next()
                .map_or_else(|| first.clone(), |other| first.with(other)),
        )
    }

    pub(crate) fn spread(&self, name: &str, metric: usize) -> Option<Spread> {
        self.series(name, metric)?.spread()
    }

    /// The figure of one target in parts of another's.
    pub(crate) fn ratio(&self, subject: &str, base: &str, metric: usize) -> Option<Spread> {
        let base = self.series(base, metric)?;
        self.series(subject, metric)?.to(&base).spread()
    }

    /// The second run of a target in parts of its first.
    pub(crate) fn control(&self, name: &str, metric: usize) -> Option<Spread> {
        if self.fault(name).is_some() {
            return None;
        }
        let mut runs = self.runs(name).map(|run| &run.series[metric]);
        let (one, other) = (runs.next()?, runs.next()?);
        other.to(one).spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: Metric = Metric {
        name: "time",
        unit: Unit::Microseconds,
    };

    #[test]
    fn order_turns_round_by_round_and_a_fault_ends_a_target() {
        let mut comparison = Comparison::new(&[METRIC], ["floor", "ours", "theirs", "floor"]);
        let (mut order, mut subjects) = (Vec::new(), [2.0, 3.0, 0.0, 4.0]);
        comparison.alternate(3, &mut subjects, |subject| {
            order.push(*subject);
            if *subject == 0.0 {
                return Err("lost one".to_owned());
            }
            Ok(vec![*subject])
        });
        assert_eq!(order, [2.0, 3.0, 0.0, 4.0, 4.0, 3.0, 2.0, 2.0, 3.0, 4.0]);
        assert_eq!(comparison.names(), ["floor", "ours", "theirs"]);
        assert_eq!(comparison.fault("theirs"), Some("lost one"));
        assert_eq!(comparison.spread("theirs", 0), None);
        assert_eq!(comparison.ratio("ours", "theirs", 0), None);
        assert_eq!(comparison.ratio("ours", "floor", 0).unwrap().median, 1.0);
        assert_eq!(comparison.control("floor", 0).unwrap().median, 2.0);
        assert_eq!(comparison.control("ours", 0), None);
    }
}
