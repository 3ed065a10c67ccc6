//! The header of every report: what was measured, and where.

use serde::Serialize;

/// The measurement, and the engine that it was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportHeader {
    /// The kind of measurement.
    pub bench: &'static str,
    /// The address that was connected.
    pub address: String,
    /// The engine's name.
    pub engine: String,
    /// The engine's process id, if known.
    pub engine_pid: Option<u32>,
    /// The namespace.
    pub namespace: String,
}
