//! The output interface of `watch`, implemented for text and for JSON.

use callboard::worker::{Change, ConnectionInfo, Loss, Snapshot, Step};

use super::providers::Providers;
use crate::cli::failure::Failure;

/// Shows the board and its changes.
pub(super) trait Reporter {
    /// The connection was made, for the first time or again.
    fn connected(&mut self, connection: &ConnectionInfo) -> Result<(), Failure>;

    /// The whole board.
    fn board(&mut self, board: &Snapshot, providers: &Providers) -> Result<(), Failure>;

    /// A step of the board. `changes` are the ones to show, never empty.
    fn step(&mut self, step: &Step, changes: &[ShownChange<'_>]) -> Result<(), Failure>;

    /// The board is right as of this revision, after a reconnect.
    fn synced(&mut self, revision: u64) -> Result<(), Failure>;

    fn disconnected(&mut self, loss: &Loss) -> Result<(), Failure>;

    /// Changes were missed because they were read too slowly; the board follows.
    fn missed(&mut self) -> Result<(), Failure>;

    /// No more notices are pending: write out the buffer.
    fn flush(&mut self) -> Result<(), Failure>;
}

/// What a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Worker,
    /// A removed function.
    Removed,
    /// An added or updated function.
    Present,
    /// A binding, which is not watched.
    Binding,
}

pub(super) fn change_kind(change: &Change) -> ChangeKind {
    match change {
        Change::Removed(_) => ChangeKind::Removed,
        Change::Added(_) | Change::Updated { .. } => ChangeKind::Present,
        Change::WorkerJoined(_) | Change::WorkerLeft(_) | Change::WorkerUpdated { .. } => {
            ChangeKind::Worker
        }
        Change::BindingAdded(_) | Change::BindingRemoved(_) | Change::BindingUpdated { .. } => {
            ChangeKind::Binding
        }
    }
}

/// A change, with the names of the providers that the function has or had.
pub(super) struct ShownChange<'a> {
    pub(super) change: &'a Change,
    pub(super) workers: Vec<String>,
}
