//! The wire protocol: frames, messages, error codes and names. Pure bytes in, values out; no I/O.
//!
//! `docs/PROTOCOL.md` is the specification, `tests/vectors/` its golden examples.

mod code;
mod frame;
mod hot;
mod kinds;
mod message;
mod name;
mod sections;
mod wellformed;
mod wire;

pub use code::{Code, Executed};
pub use frame::{FrameError, HEADER_LEN, Inbox, MAX_FRAME_CEILING, begin_frame, end_frame};
pub(crate) use hot::Hot;
pub use kinds::*;
pub use message::{DecodeError, Message};
pub(crate) use message::{kind_of, read_wellformed};
pub use name::{NAME_MAX, NameError, check_event_name, check_function_name, check_worker_name};
pub use sections::{
    BindingEntry, BindingKey, BindingSection, Definition, FunctionSection, Sections, Watch,
    WorkerEntry, WorkerKey, WorkerSection,
};
pub use wellformed::{MAX_DEPTH, MAX_ELEMENTS, MAX_MAP_KEYS, Malformed, check_wellformed};
pub use wire::{Bin, Text};

/// The protocol version spoken here. A HELLO lists the versions its sender speaks; the engine picks
/// the highest that both do.
pub const VERSION: u64 = 1;

/// Kinds below this are requests: their first field is an id, and each ends with exactly one
/// RESULT or FAILURE that carries it. Other kinds are never answered.
pub const FIRST_UNANSWERED_KIND: u64 = 64;
