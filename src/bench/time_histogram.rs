//! Many times of one thing: an HDR histogram of nanoseconds, and the few numbers that people look at. Measures
//! nothing itself.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);

/// Digits of a time that are kept: to a thousandth.
const DIGITS: u8 = 3;

/// See the top of this file.
#[derive(Clone)]
pub struct TimeHistogram {
    histogram: Histogram<u64>,
}

impl Default for TimeHistogram {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        Self {
            // These bounds are legal.
            histogram: histogram.expect("the bounds of a histogram"),
        }
    }
}

impl TimeHistogram {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.histogram.saturating_record(time.as_nanos() as u64);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// So much of them, from 0 to 1, took at most this.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(part))
    }

    /// The numbers of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let at = |part| rounded(self.histogram.value_at_quantile(part) as f64);
        Summary {
            count: self.histogram.len(),
            min: rounded(self.histogram.min() as f64),
            mean: rounded(self.histogram.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: rounded(self.histogram.max() as f64),
        }
    }
}

impl fmt::Debug for TimeHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

/// Nanoseconds in microseconds, to a tenth.
fn rounded(nanoseconds: f64) -> f64 {
    (nanoseconds / 100.0).round() / 10.0
}

/// What is told of [`TimeHistogram`], in microseconds: each to a thousandth, or to a tenth of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Summary {
    /// How many times there are.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The sum divided by the count.
    pub mean: f64,
    /// Half of them took at most this.
    pub p50: f64,
    /// 90 of a hundred.
    pub p90: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_in_microseconds() {
        let mut time_histogram = TimeHistogram::default();
        for microsecond in 1..=1000 {
            time_histogram.add(Duration::from_micros(microsecond));
        }
        let summary = time_histogram.summary();
        assert_eq!(summary.count, 1000);
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted / 500.0;
        assert!(near(summary.p50, 500.0), "{summary:?}");
        assert!(near(summary.p99, 990.0), "{summary:?}");
        assert!(near(summary.mean, 500.5), "{summary:?}");
        assert!(near(summary.min, 1.0) && near(summary.max, 1000.0));
    }

    #[test]
    fn none_and_endless_times_do_no_harm() {
        assert_eq!(TimeHistogram::default().summary(), Summary::default());
        let mut time_histogram = TimeHistogram::default();
        time_histogram.add(Duration::MAX);
        time_histogram.add(Duration::ZERO);
        assert_eq!(time_histogram.count(), 2);
    }
}
