//! The worker library: one connection to an engine, a live view of the board, reconnects by itself.
//! Threads from std, no async runtime.

mod board;
mod builder;
mod changes;
mod entry;
mod error;
mod function;
mod notice;
mod status;
pub mod view;
mod watch;

use std::time::Duration;

pub use board::{Board, Snapshot};
pub use builder::Builder;
pub use changes::{Changes, RecvTimeout};
pub use entry::{Binding, Entry, WorkerInfo};
pub use error::{Attempt, ConnectError, End, Loss, Refusal, RequestError, WaitError};
pub use function::{Function, FunctionError};
pub use notice::{Cause, Change, Notice, Step};
pub use status::{Connection, Offer, Registered, Standing, Status};
pub use watch::Watch;

/// A worker: one connection to an engine, which it keeps up by itself.
#[derive(Debug)]
pub struct Worker {}

#[allow(unused_variables, clippy::unused_self)]
impl Worker {
    /// Begins a worker of this name, 1 to 255 bytes, for people to read; several may bear the same.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Provides these functions, all or none, as one revision of the board. Waits until the engine
    /// confirms or refuses. What was confirmed is registered again after every reconnect, until it is
    /// unregistered; what was refused is forgotten.
    pub fn register(
        &self,
        functions: impl IntoIterator<Item = impl Into<Function>>,
    ) -> Result<Registered, RequestError> {
        unimplemented!()
    }

    /// No longer provides these functions, all or none.
    pub fn unregister(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Registered, RequestError> {
        unimplemented!()
    }

    /// What this worker provides or wants to, by name.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        unimplemented!()
    }

    /// The live board.
    #[must_use]
    pub fn board(&self) -> Board {
        unimplemented!()
    }

    /// The changes of the board and the connection from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        unimplemented!()
    }

    /// The board as it is, and all that changes after that: nothing is missed or told twice.
    #[must_use]
    pub fn board_and_changes(&self) -> (Snapshot, Changes) {
        unimplemented!()
    }

    /// How the connection stands.
    #[must_use]
    pub fn status(&self) -> Status {
        unimplemented!()
    }

    /// Waits until the engine said WELCOME and the board is up to date.
    pub fn wait_synced(&self, timeout: Duration) -> Result<Connection, WaitError> {
        unimplemented!()
    }

    /// Says goodbye and ends: all that it provides leaves the board in one step. A drop does the same.
    pub fn close(self) {}

    /// Ends as a crash would: the connection is dropped without a goodbye.
    pub fn abort(self) {}
}
