//! What one question came to: its text, its tables, whether the targets were met, and its plot. Made by the questions,
//! written by `page.rs`. Measures nothing.

use crate::comparison::{Comparison, Unit};
use crate::figures::Spread;

pub(crate) struct Section {
    /// What its plot's file is called.
    pub(crate) key: &'static str,
    pub(crate) title: String,
    /// What was done, in a paragraph.
    pub(crate) text: String,
    pub(crate) tables: Vec<(String, Comparison)>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) plot: Plot,
}

/// A target of the project, beside what was measured.
pub(crate) struct Verdict {
    pub(crate) target: String,
    pub(crate) measured: String,
    /// What the same target twice came to.
    pub(crate) control: String,
    /// `None` if there is no aim, or if it could not be measured.
    pub(crate) met: Option<bool>,
}

pub(crate) enum Plot {
    Bars(Bars),
    Lines(Lines),
}

/// Bars in groups, one colour for each name in the legend.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) legend: Vec<String>,
    pub(crate) groups: Vec<(String, Vec<Option<Spread>>)>,
}

/// Lines over a logarithmic axis.
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) drawn: Vec<(String, Vec<(f64, Spread)>)>,
}

impl Verdict {
    /// The median of a ratio is to be at most so much.
    pub(crate) fn at_most(
        target: impl Into<String>,
        ratio: Option<Spread>,
        most: f64,
        control: Option<Spread>,
    ) -> Self {
        Self::of(target, ratio, control, |median| median <= most)
    }

    /// At least so much.
    pub(crate) fn at_least(
        target: impl Into<String>,
        ratio: Option<Spread>,
        least: f64,
        control: Option<Spread>,
    ) -> Self {
        Self::of(target, ratio, control, |median| median >= least)
    }

    /// Not above 1 by more than two runs of the same target are apart.
    pub(crate) fn not_above(
        target: impl Into<String>,
        ratio: Option<Spread>,
        control: Option<Spread>,
    ) -> Self {
        let most = control.map_or(1.0, |it| it.most.max(1.0 / it.least));
        Self::of(target, ratio, control, |median| median <= most)
    }

    /// For information: there is no aim.
    pub(crate) fn beside(
        target: impl Into<String>,
        ratio: Option<Spread>,
        control: Option<Spread>,
    ) -> Self {
        Self {
            met: None,
            ..Self::of(target, ratio, control, |_| true)
        }
    }

    fn of(
        target: impl Into<String>,
        ratio: Option<Spread>,
        control: Option<Spread>,
        holds: impl FnOnce(f64) -> bool,
    ) -> Self {
        Self {
            target: target.into(),
            measured: ratio.map_or_else(|| "not measured".to_owned(), times),
            control: control.map_or_else(|| "-".to_owned(), times),
            met: ratio.map(|ratio| holds(ratio.median)),
        }
    }
}

/// A ratio, for people.
pub(crate) fn times(ratio: Spread) -> String {
    let Spread {
        median,
        least,
        most,
    } = ratio;
    // Of a hundredth more must be seen.
    let digits = if median < 0.095 { 3 } else { 2 };
    format!("{median:.digits$} × ({least:.digits$} to {most:.digits$})")
}

impl Bars {
    /// The targets as groups, some metrics of one unit as bars.
    pub(crate) fn of(title: &str, comparison: &Comparison, metrics: &[usize]) -> Self {
        let name = |metric: usize| comparison.metrics[metric].name.to_owned();
        let group = |target: &str| {
            let bars = metrics.iter().map(|&it| comparison.spread(target, it));
            (target.to_owned(), bars.collect())
        };
        Self {
            title: title.to_owned(),
            unit: comparison.metrics[metrics[0]].unit,
            legend: metrics.iter().map(|&metric| name(metric)).collect(),
            groups: comparison.names().into_iter().map(group).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "as a comparison gives it")]
    const fn spread(least: f64, median: f64, most: f64) -> Option<Spread> {
        Some(Spread {
            median,
            least,
            most,
        })
    }

    #[test]
    fn targets_are_met_by_medians() {
        let ratio = spread(0.9, 1.1, 1.4);
        let control = spread(0.8, 1.0, 1.1);
        let met = |verdict: Verdict| verdict.met;
        assert_eq!(met(Verdict::at_most("", ratio, 1.15, control)), Some(true));
        assert_eq!(met(Verdict::at_most("", ratio, 1.05, control)), Some(false));
        assert_eq!(met(Verdict::at_least("", ratio, 1.05, control)), Some(true));
        assert_eq!(met(Verdict::at_least("", None, 1.05, control)), None);
        // Two runs of the same target were 1.25 apart, so 1.2 says nothing and 1.3 does.
        assert_eq!(met(Verdict::not_above("", ratio, control)), Some(true));
        let ratio = spread(1.2, 1.3, 1.4);
        assert_eq!(met(Verdict::not_above("", ratio, control)), Some(false));
        let verdict = Verdict::not_above("", ratio, control);
        assert_eq!(verdict.measured, "1.30 × (1.20 to 1.40)");
        assert_eq!(verdict.control, "1.00 × (0.80 to 1.10)");
        let verdict = Verdict::beside("", ratio, control);
        assert_eq!(
            (&*verdict.measured, verdict.met),
            ("1.30 × (1.20 to 1.40)", None)
        );
    }
}
