//! The read interface to a worker's live board. Holds no data: each answer comes from the current view.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Binding, Entry, WorkerInfo};
use super::error::WaitError;
use super::runtime::Runtime;
use super::snapshot::Snapshot;

/// The live board. Cheap to clone, usable from any thread. It stays readable without a connection and after the
/// worker has ended; [`Board::is_stale`] tells. Two queries may see two revisions; [`Board::snapshot`] sees one.
#[derive(Clone)]
pub struct Board {
    runtime: Arc<Runtime>,
}

impl Board {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Whether a worker provides this function.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.runtime.with_link(|link| link.view().contains(name))
    }

    /// The function with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Entry> {
        self.runtime.with_link(|link| link.view().get(name))
    }

    /// All functions whose names begin with this prefix, in order.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Vec<Entry> {
        self.runtime
            .with_link(|link| link.view().with_prefix(prefix).collect())
    }

    /// The number of functions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runtime.with_link(|link| link.view().len())
    }

    /// Whether there are no functions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The workers, by id; empty unless watched.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.runtime
            .with_link(|link| link.view().workers().collect())
    }

    /// The workers that provide this function; empty unless workers are watched. Looks at every worker.
    #[must_use]
    pub fn providers(&self, function: &str) -> Vec<WorkerInfo> {
        self.runtime.with_link(|link| {
            let workers = link.view().workers();
            workers.filter(|worker| worker.provides(function)).collect()
        })
    }

    /// The bindings, by event; empty unless watched.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        self.runtime
            .with_link(|link| link.view().bindings().collect())
    }

    /// All of the board, at one revision.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.runtime.with_link(|link| link.view().to_snapshot())
    }

    /// Its revision; 0 before the first snapshot.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.runtime.with_link(|link| link.view().revision())
    }

    /// Whether it may be out of date: there is no connection, or the board is still being synced.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale_since().is_some()
    }

    /// How long it has been stale; `None` if it is not.
    #[must_use]
    pub fn stale_for(&self) -> Option<Duration> {
        self.stale_since().map(|since| since.elapsed())
    }

    fn stale_since(&self) -> Option<Instant> {
        self.runtime.with_link(|link| link.view().stale_since())
    }

    /// Waits until a worker provides this function, and returns it. A stale entry is enough: a call will find out
    /// whether it is right.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = callboard::worker::Worker::builder("a").engine("b:1")?.start()?;
    /// let board = worker.board();
    /// let create = board.wait_for("orders::create", Duration::from_secs(5))?;
    /// println!("{}: {}", create.name(), create.description());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for(&self, name: &str, timeout: Duration) -> Result<Entry, WaitError> {
        self.runtime.wait_until(timeout, || self.get(name))
    }

    /// Waits until `condition` holds. It is checked at once, then after each change of the board or the connection.
    pub fn wait_until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), WaitError> {
        self.runtime
            .wait_until(timeout, || condition(self).then_some(()))
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("revision", &self.revision())
            .field("functions", &self.len())
            .field("stale", &self.is_stale())
            .finish()
    }
}
