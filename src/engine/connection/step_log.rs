//! The step log: what was handled, in which order, and the work that it was counted as. A test that asks for it can hold
//! a turn against its bound and follow what comes in a later one. In builds with debug assertions only. Judges nothing.

use crate::engine::interface::ConnId;

/// A step that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedStep {
    /// The connection that it was done for.
    pub conn: ConnId,
    /// What it was.
    pub kind: StepKind,
    /// Its work, without that of ends that it caused: these are steps of their own, before it.
    pub work: u64,
}

/// What a step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// A frame, or the last slice of one.
    Frame,
    /// A slice of a frame.
    Slice,
    /// The end of a connection, with this code.
    End(&'static str),
    /// A connection was judged by new credentials.
    Judgement,
}

/// Steps that nobody took yet, if anybody asked for them.
#[derive(Debug, Default)]
pub(crate) struct StepLog(Option<Vec<LoggedStep>>);

impl StepLog {
    /// From now on steps are kept.
    pub(crate) fn start(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(crate) fn push(&mut self, step: LoggedStep) {
        if let Some(steps) = &mut self.0 {
            steps.push(step);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<LoggedStep> {
        self.0.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
