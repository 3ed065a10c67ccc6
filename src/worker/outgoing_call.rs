//! A call or an event as the application asks for it. Values only.

use super::call_options::CallOptions;

/// What shall be called, or emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingCall {
    /// Whether the name is a function's or an event's.
    pub kind: CallKind,
    /// The function's name, or the event's.
    pub name: Box<str>,
    /// What to call it with, as it travels.
    pub payload: Vec<u8>,
    /// How.
    pub options: CallOptions,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// A function, to be called.
    Function,
    /// An event, to be emitted.
    Event,
}
