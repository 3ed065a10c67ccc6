//! A histogram of durations (HDR, nanoseconds), and its summary. Measures nothing itself.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest duration; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Significant digits.
const DIGITS: u8 = 3;

/// A histogram of durations.
#[derive(Clone)]
pub struct TimeHistogram {
    histogram: Histogram<u64>,
}

impl Default for TimeHistogram {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS);
        Self {
            // These bounds are valid.
            histogram: histogram.expect("the bounds of a histogram"),
        }
    }
}

impl TimeHistogram {
    /// Adds a duration.
    pub fn add(&mut self, time: Duration) {
        self.histogram.saturating_record(time.as_nanos() as u64);
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The duration that this fraction, from 0 to 1, did not exceed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(part))
    }

    /// The summary.
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

/// Nanoseconds as microseconds, rounded to a tenth.
fn rounded(nanoseconds: f64) -> f64 {
    (nanoseconds / 100.0).round() / 10.0
}

/// The summary of a [`TimeHistogram`] in microseconds, with three significant digits or a tenth of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Summary {
    /// The number of durations.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
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
