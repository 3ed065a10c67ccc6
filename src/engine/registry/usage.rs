//! The memory of all namespaces together, by how it can be had back. Frees nothing by itself.

use crate::engine::memory::Usage;

/// Bytes of all namespaces.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryUsage {
    /// Boards, rosters, watches, and what workers say about themselves. It goes with those who brought it.
    pub(crate) boards: Usage,
    /// Change logs. Without them, readers get snapshots.
    pub(crate) logs: Usage,
    /// Encoded changes and snapshot pages. Without them, they are encoded again.
    pub(crate) caches: Usage,
}

impl RegistryUsage {
    pub(crate) fn total(&self) -> usize {
        self.boards.total() + self.logs.total() + self.caches.total()
    }
}
