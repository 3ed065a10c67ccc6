//! The status of a worker's connection and of its functions. Values only.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Attempt, End, Refusal};
use super::function::Function;
use crate::address::Address;

/// The status of the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// There is no connection; the library is trying.
    Connecting {
        /// The latest failed attempts, at most one per address, oldest first; also how the previous connection was
        /// lost.
        attempts: Vec<Attempt>,
    },
    /// Connected: WELCOME arrived.
    Connected(ConnectionInfo),
    /// The worker has ended.
    Ended(End),
}

/// An established connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The engine's address.
    pub address: Address,
    /// This worker's id, unique within the epoch and kept through a takeover.
    pub worker: u64,
    /// The engine's name.
    pub engine: Arc<str>,
    /// The engine's epoch, new with each start.
    pub epoch: u64,
    /// The board's revision at WELCOME.
    pub revision: u64,
    /// Only changes since the last revision were sent, no snapshot.
    pub resumed: bool,
    /// The engine still held the previous connection; this one took over its session and functions.
    pub taken_over: bool,
    /// If the engine has just restarted: the time from WELCOME that it gives workers to return; otherwise zero.
    pub settling: Duration,
}

/// A registration, a binding, or its removal was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The board's revision that contains the effect. This worker's own board has reached it, if it watches.
    pub revision: u64,
}

/// A function that this worker wants to provide.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its definition.
    pub function: Arc<Function>,
    /// Its status.
    pub standing: Standing,
}

/// The status of a wanted function.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is on the board.
    Listed,
    /// There is no connection, or the engine has not answered.
    Pending,
    /// The engine accepted it once and refused it after a reconnect. It is retried after a pause if the refusal is
    /// retryable, and with the next connection in any case.
    Refused(Refusal),
}
