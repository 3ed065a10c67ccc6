//! What shows the board and its changes: the interface that the text and the JSON of `watch` have in common.

use callboard::worker::{Change, ConnectionInfo, Loss, Snapshot, Step};

use super::providers::Providers;
use crate::cli::failure::Failure;

/// Shows what happens.
pub(super) trait Reporter {
    /// The connection stands, for the first time or again.
    fn connected(&mut self, connection: &ConnectionInfo) -> Result<(), Failure>;

    /// The board as it is, all of it.
    fn board(&mut self, board: &Snapshot, providers: &Providers) -> Result<(), Failure>;

    /// A step of the board. `changes` holds what is to be shown of it, never nothing.
    fn step(&mut self, step: &Step, changes: &[ShownChange<'_>]) -> Result<(), Failure>;

    /// The board is right as of this revision, after a reconnect.
    fn synced(&mut self, revision: u64) -> Result<(), Failure>;

    fn disconnected(&mut self, loss: &Loss) -> Result<(), Failure>;

    /// Changes were dropped because they were not read in time; the board follows.
    fn missed(&mut self) -> Result<(), Failure>;

    /// Nothing more is at hand: show what was written.
    fn flush(&mut self) -> Result<(), Failure>;
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Worker,
    /// A function that is gone.
    Removed,
    /// A function that is there, new or different.
    Present,
    /// Not watched.
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

/// A change with the names of those who provide the function now, or did before it was removed.
pub(super) struct ShownChange<'a> {
    pub(super) change: &'a Change,
    pub(super) workers: Vec<String>,
}
