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
    /// Parked calls went out to a connection in its turn.
    Parked,
    /// A connection was judged by new credentials.
    Judgement,
}

/// Steps that nobody took yet, if anybody asked for them.
#[derive(Debug, Default)]
pub(crate) struct StepLog {
    is_on: bool,
    steps: Vec<LoggedStep>,
    /// What users owe for what others were told because of them.
    debts: Vec<(usize, u64)>,
}

impl StepLog {
    /// From now on steps are kept.
    pub(crate) fn start(&mut self) {
        self.is_on = true;
    }

    pub(crate) fn push(&mut self, step: LoggedStep) {
        if self.is_on {
            self.steps.push(step);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<LoggedStep> {
        std::mem::take(&mut self.steps)
    }

    pub(crate) fn push_debt(&mut self, user: usize, work: u64) {
        if self.is_on {
            self.debts.push((user, work));
        }
    }

    pub(crate) fn take_debts(&mut self) -> Vec<(usize, u64)> {
        std::mem::take(&mut self.debts)
    }
}
