//! Totals over the registrations of a roster, and what they count as. Counts nothing by itself.

use crate::engine::ceiling::{REGISTRATION, WORKER};

/// Totals over all workers. A function of several providers counts once for each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) functions: usize,
    pub(crate) bindings: usize,
    /// Bytes of all entries.
    pub(crate) bytes: usize,
}

impl Totals {
    /// What these registrations of so many workers count as.
    pub(super) fn memory(self, workers: usize) -> usize {
        let registrations = self.functions + self.bindings;
        self.bytes + registrations * REGISTRATION + workers * WORKER
    }
}
