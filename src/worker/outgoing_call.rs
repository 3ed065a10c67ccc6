//! A call or an event as requested by the application. Values only.

use super::call_options::CallOptions;

/// A call to make, or an event to emit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingCall {
    /// Whether the name is a function's or an event's.
    pub kind: CallKind,
    /// Name of the function or event.
    pub name: Box<str>,
    /// The payload as bytes.
    pub payload: Vec<u8>,
    /// The options.
    pub options: CallOptions,
}

/// What a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// A function to call.
    Function,
    /// An event to emit.
    Event,
}
