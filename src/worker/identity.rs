//! The part of a HELLO that stays the same for a worker's lifetime. A value only.

use super::watch::Watch;

/// Who a worker is, for its HELLO.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it watches.
    pub watch: Watch,
    /// What it says about itself, opaque.
    pub metadata: Vec<u8>,
    /// Calls that it takes at once; `None` leaves that to the engine (1,000).
    pub capacity: Option<u64>,
}
