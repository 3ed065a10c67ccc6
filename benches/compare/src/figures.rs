//! Figures of several rounds: their median, least and most, and ratios round by round. What ran beside each other in
//! one round is compared with each other; the ratio of two runs of the same target says what the machine adds.
//! Measures nothing.

/// A figure with its spread over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// One figure of one target, round by round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// `None` without a round.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Spread {
            median: median(&sorted)?,
            least: *sorted.first()?,
            most: *sorted.last()?,
        })
    }

    /// Round by round, this one in parts of another.
    pub(crate) fn to(&self, base: &Self) -> Self {
        let pairs = self.0.iter().zip(&base.0);
        Self(pairs.map(|(value, base)| value / base).collect())
    }

    /// Round by round, the middle of two runs of the same target.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(
            pairs
                .map(|(one, other)| f64::midpoint(*one, *other))
                .collect(),
        )
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Of sorted values; of an even number of them the middle of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

/// The least of a few figures, in seconds, at a part of all of them: 0 is the first, 1 the last.
pub(crate) fn at(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len() - 1;
    sorted[(last as f64 * part).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        values.iter().copied().collect()
    }

    #[test]
    fn a_spread_is_the_median_with_least_and_most() {
        let spread = series(&[3.0, 1.0, 2.0]).spread().unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        let spread = series(&[4.0, 1.0, 2.0, 3.0]).spread().unwrap();
        assert_eq!(spread.median, 2.5);
        assert_eq!(series(&[]).spread(), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine is ten times slower in the second round; the ratio does not see it.
        let base = series(&[1.0, 10.0]);
        let subject = series(&[2.0, 20.0]);
        assert_eq!(subject.to(&base), series(&[2.0, 2.0]));
        assert_eq!(base.with(&subject), series(&[1.5, 15.0]));
    }

    #[test]
    fn parts_are_counted_from_the_first_to_the_last() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(
            [0.0, 0.5, 1.0].map(|part| at(&sorted, part)),
            [1.0, 3.0, 5.0]
        );
    }
}
