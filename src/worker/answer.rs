//! How calls and events end. Values only.

use super::call_error::CallError;
use super::ticket::Ticket;

/// A good end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The result, as it travels.
    pub payload: Vec<u8>,
    /// Of an event: how many functions it was cast to.
    pub matched: u64,
}

/// How a call ended.
pub type CallEnd = (Ticket, Result<Answer, CallError>);
