//! The identity of one request of the application. A value only.

/// Names one request of the application, across reconnects. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);
