//! A worker's live board, to be asked.

use std::sync::Arc;
use std::time::Duration;

use super::{Binding, Entry, WaitError, WorkerInfo};

/// The live board. Cheap to clone, and to be used from any thread. It stays readable while there is no
/// connection, and after the worker is over; [`Board::is_stale`] says so.
#[derive(Debug, Clone)]
pub struct Board {}

/// A copy of the board at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// Whether the board was stale.
    pub stale: bool,
    /// The functions, by name.
    pub functions: Vec<Entry>,
    /// The workers, by id; empty unless watched.
    pub workers: Vec<WorkerInfo>,
    /// The bindings; empty unless watched.
    pub bindings: Vec<Binding>,
}

#[allow(unused_variables, clippy::unused_self)]
impl Board {
    /// Whether somebody provides this function.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        unimplemented!()
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Entry> {
        unimplemented!()
    }

    /// All functions whose names begin with this, in order.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Vec<Entry> {
        unimplemented!()
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }

    /// The workers, by id; empty unless watched.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerInfo> {
        unimplemented!()
    }

    /// Who provides this function; empty unless workers are watched.
    #[must_use]
    pub fn providers(&self, function: &str) -> Vec<WorkerInfo> {
        unimplemented!()
    }

    /// The bindings; empty unless watched.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        unimplemented!()
    }

    /// All of it, at one revision.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }

    /// The revision that it stands at; 0 before the first board came.
    #[must_use]
    pub fn revision(&self) -> u64 {
        unimplemented!()
    }

    /// Whether it may be behind: there is no connection, or the board is still on its way.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        unimplemented!()
    }

    /// For how long it has been stale; `None` if it is not.
    #[must_use]
    pub fn stale_for(&self) -> Option<Duration> {
        unimplemented!()
    }

    /// Waits until somebody provides this function, and returns it.
    pub fn wait_for(&self, name: &str, timeout: Duration) -> Result<Entry, WaitError> {
        unimplemented!()
    }

    /// Waits until this is true of the board. It is asked once at first, then after every change of the
    /// board or the connection.
    pub fn wait_until(
        &self,
        timeout: Duration,
        condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), WaitError> {
        unimplemented!()
    }
}

/// Names are shared between the board and what it hands out.
#[allow(dead_code)]
type Name = Arc<str>;
