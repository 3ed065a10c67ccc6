//! The part of HELLO that stays the same for a worker's lifetime. A value only.

use super::watch::Watch;

/// A worker's identity, sent in HELLO.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it watches.
    pub watch: Watch,
    /// Its metadata, opaque.
    pub metadata: Vec<u8>,
    /// Calls that it accepts at once; `None` for the engine's default (1,000).
    pub capacity: Option<u64>,
    /// Its tier; `None` for the lowest that it may ask for.
    pub tier: Option<u64>,
}
