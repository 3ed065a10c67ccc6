//! One try at an intent: a CALL over one connection.

use std::rc::Rc;

/// A CALL that the engine read.
#[allow(clippy::struct_excessive_bools)] // Independent facts, each with its own reason.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub intent: usize,
    pub token: u64,
    pub namespace: Rc<str>,
    pub worker: u64,
    pub caller: Rc<str>,
    /// The principal of its caller; empty without credentials.
    pub user: Rc<str>,
    /// When it was read.
    pub tick: u64,
    /// The board's revision then: what it causes comes behind that.
    pub revision: u64,
    pub deadline: u64,
    /// The function had no provider then.
    pub nobody: bool,
    /// It may have been refused for want of room, or for a limit.
    pub may_be_refused: bool,
    pub cancelled: bool,
    /// When its caller could get no ending any more, or got it.
    pub over: Option<u64>,
    /// It ended, and certainly no provider ran it.
    pub refused: bool,
    /// Why the engine must have ended it.
    pub due: Option<&'static str>,
    /// An INVOKE was seen that is of this attempt or of another one at the same intent.
    pub doubtful: bool,
    /// Whether its caller lost the right to make it while it waited.
    pub forbidden: Forbidden,
}

/// Whether a call was forbidden after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forbidden {
    No,
    /// If it waited then.
    Perhaps,
    /// It waited, and must end so.
    Certainly,
}
