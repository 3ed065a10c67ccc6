//! What all reports begin with: what was measured, and where.

use serde::Serialize;

/// See the top of this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportHeader {
    /// Which kind of measurement.
    pub bench: &'static str,
    /// The address that answered.
    pub address: String,
    /// What the engine calls itself.
    pub engine: String,
    /// Its process, if it is known.
    pub engine_pid: Option<u32>,
    /// The board.
    pub namespace: String,
}
