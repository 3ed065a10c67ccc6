//! The report of a load of calls.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report_header::ReportHeader;
use super::resource_use::ResourceUse;
use super::time_histogram::Summary;

/// The results of a load of calls. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As requested.
    pub connections: usize,
    /// As requested.
    pub providers: usize,
    /// As requested, per connection; `None` if the load is paced.
    pub in_flight: Option<usize>,
    /// As requested.
    pub rate: Option<u64>,
    /// As requested: size of the argument and of the result.
    pub payload: usize,
    /// Calls made. Each must have exactly one end, or the measurement fails.
    pub calls: u64,
    /// Calls that returned a result.
    pub results: u64,
    /// The other calls, by error code.
    pub failures: BTreeMap<String, u64>,
    /// Time and resources used.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Calls per second.
    pub calls_per_second: f64,
    /// Calls per second of the engine's processor time.
    pub calls_per_engine_cpu_second: Option<f64>,
    /// From the scheduled moment of a call until its end.
    pub latency_us: Summary,
    /// From the moment a call was made until its end. Differs from `latency_us` only if the load is paced: a call
    /// made late because the engine was slow looks fast here.
    pub service_us: Summary,
    /// Whether it was stopped early.
    pub stopped: bool,
}
