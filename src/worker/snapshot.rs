//! A copy of the board at one revision. A value only.

use super::entry::{Binding, Entry, WorkerInfo};

/// A copy of the board at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// Whether the board was stale.
    pub stale: bool,
    /// The functions, by name.
    pub functions: Vec<Entry>,
    /// The workers, by id; empty unless watched.
    pub workers: Vec<WorkerInfo>,
    /// The bindings; empty unless watched.
    pub bindings: Vec<Binding>,
}
