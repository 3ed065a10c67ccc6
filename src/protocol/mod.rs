//! The wire protocol: frames, messages, error codes and names. Pure bytes in, values out; no I/O.
//!
//! `docs/PROTOCOL.md` is the specification, `tests/vectors/` its golden examples.

mod code;
mod fast_path;
mod frame;
mod kinds;
mod message;
mod message_macro;
mod name;
mod sections;
mod wellformed;
mod wire;

pub use code::{Code, Executed};
pub(crate) use fast_path::FastPath;
pub use frame::{FrameError, HEADER_LEN, Inbox, MAX_FRAME_CEILING, begin_frame, end_frame};
pub use kinds::*;
pub use message::DecodeError;
pub(crate) use message::{kind_of, read_wellformed};
pub use name::{NAME_MAX, NameError, check_event_name, check_function_name, check_worker_name};
pub use sections::{
    BindingEntry, BindingKey, BindingSection, Definition, FunctionSection, Sections, Watch,
    WorkerEntry, WorkerKey, WorkerSection,
};
pub(crate) use wellformed::check_value;
pub use wellformed::{MAX_DEPTH, MAX_ELEMENTS, MAX_MAP_KEYS, Malformed, check_wellformed};
pub use wire::{Bin, Text};
