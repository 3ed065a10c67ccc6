//! How calls and events end. Values only.

use super::call_error::CallError;
use super::ticket::Ticket;

/// A successful result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The result's bytes.
    pub payload: Vec<u8>,
    /// For an event: the number of functions it was cast to.
    pub matched: u64,
}

/// The end of a call.
pub type CallEnd = (Ticket, Result<Answer, CallError>);
