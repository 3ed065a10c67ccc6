//! One quantity measured in alternation: of the subject, and before and after it of two bases that are alike. The
//! ratio of the subject to the bases beside it says what the subject costs; the ratio of the bases says what the
//! machine adds. Measures nothing.

use std::fmt;

/// What came out, round by round.
#[derive(Default)]
pub(super) struct Ratio {
    base: Vec<f64>,
    subject: Vec<f64>,
    to_base: Vec<f64>,
    control: Vec<f64>,
}

impl Ratio {
    /// A round: both bases, and the subject.
    pub(super) fn add(&mut self, bases: [f64; 2], subject: f64) {
        let base = f64::midpoint(bases[0], bases[1]);
        self.base.push(base);
        self.subject.push(subject);
        self.to_base.push(subject / base);
        self.control.push(bases[1] / bases[0]);
    }

    /// The median of the ratios of the subject to its bases.
    pub(super) fn median(&self) -> f64 {
        median(&self.to_base)
    }
}

/// Medians of the base, of the subject, of their ratio, and the ratio of the bases with its least and most.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = span(&self.control);
        let (low, high) = span(&self.to_base);
        write!(
            f,
            "{:>10.1} {:>10.1}   {:>5.3} ({low:.2} to {high:.2})   {:>5.3} ({least:.2} to {most:.2})",
            median(&self.base),
            median(&self.subject),
            median(&self.to_base),
            median(&self.control),
        )
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

fn span(values: &[f64]) -> (f64, f64) {
    let sorted = sorted(values);
    (sorted[0], sorted[sorted.len() - 1])
}
