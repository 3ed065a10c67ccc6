//! What came of a load of calls.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report_header::ReportHeader;
use super::{ResourceUse, Summary};

/// See the top of this file. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As asked for.
    pub connections: usize,
    /// As asked for.
    pub providers: usize,
    /// As asked for: on each connection. `None` where the load is paced.
    pub in_flight: Option<usize>,
    /// As asked for.
    pub rate: Option<u64>,
    /// As asked for: bytes of the argument, and of the result.
    pub payload: usize,
    /// Calls made, each with one ending, or the measurement fails.
    pub calls: u64,
    /// Those that ended with a result.
    pub results: u64,
    /// The others, by code.
    pub failures: BTreeMap<String, u64>,
    /// What it took.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Calls in a second.
    pub calls_per_second: f64,
    /// Calls in a second of the engine's processor time.
    pub calls_per_engine_cpu_second: Option<f64>,
    /// From the moment at which a call was to be made until its ending.
    pub latency_us: Summary,
    /// From the moment at which it was made. Differs from `latency_us` where the load is paced only: a call that is made
    /// late because the engine was slow looks fast here.
    pub service_us: Summary,
    /// It was stopped before its end.
    pub stopped: bool,
}
