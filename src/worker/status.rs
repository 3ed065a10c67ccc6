//! How a worker's connection stands, as a value.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Attempt, End, Refusal};
use super::function::Function;
use crate::address::Address;

/// How the connection stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// There is none; the library tries.
    Connecting {
        /// What came of the latest attempts, one per address at most, oldest first. Also how the
        /// connection before was lost.
        attempts: Vec<Attempt>,
    },
    /// The engine said WELCOME.
    Connected(ConnectionInfo),
    /// The worker is over.
    Ended(End),
}

/// A connection, from WELCOME on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Where the engine was reached.
    pub address: Address,
    /// This worker's id; unique within the epoch, and kept through a takeover.
    pub worker: u64,
    /// The engine's name.
    pub engine: Arc<str>,
    /// The engine's epoch: new with each boot.
    pub epoch: u64,
    /// The board's revision when the engine welcomed.
    pub revision: u64,
    /// Only what changed meanwhile was sent, no snapshot.
    pub resumed: bool,
    /// The engine still held the connection before; this one took its place, functions and all.
    pub taken_over: bool,
    /// For so long from WELCOME on, the engine, which had just restarted, gives workers to come back;
    /// zero otherwise.
    pub settling: Duration,
}

/// A registration or its opposite was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The board's revision that holds the effect. This worker's own board has it already, if it
    /// watches.
    pub revision: u64,
}

/// A function that this worker wants to provide.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its definition.
    pub function: Arc<Function>,
    /// How it stands.
    pub standing: Standing,
}

/// How an offer stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is on the board.
    Listed,
    /// There is no connection, or the engine has not answered yet.
    Pending,
    /// The engine accepted it once, and refused it after a reconnect. It is tried again: after a pause
    /// if the refusal is retryable, with the next connection in any case.
    Refused(Refusal),
}
