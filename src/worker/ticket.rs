//! Identifies a request of the application. A value only.

/// Identifies a request of the application, across reconnects. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);
