//! A worker's live board, to be asked. It holds nothing itself: each answer comes from the view as it
//! is at that moment.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Binding, Entry, WorkerInfo};
use super::error::WaitError;
use super::runtime::Runtime;
use super::snapshot::Snapshot;

/// The live board. Cheap to clone, and to be used from any thread. It stays readable while there is no
/// connection, and after the worker is over; [`Board::is_stale`] says so. Two questions may be answered
/// from two revisions; [`Board::snapshot`] is of one.
#[derive(Clone)]
pub struct Board {
    runtime: Arc<Runtime>,
}

impl Board {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Whether somebody provides this function.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.runtime.with_link(|link| link.view().contains(name))
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Entry> {
        self.runtime.with_link(|link| link.view().get(name))
    }

    /// All functions whose names begin with this, in order.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Vec<Entry> {
        self.runtime
            .with_link(|link| link.view().with_prefix(prefix).collect())
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runtime.with_link(|link| link.view().len())
    }

    /// Whether there are none.
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

    /// Who provides this function; empty unless workers are watched. It looks at every worker.
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

    /// All of it, at one revision.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.runtime.with_link(|link| link.view().to_snapshot())
    }

    /// The revision that it stands at; 0 before the first board came.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.runtime.with_link(|link| link.view().revision())
    }

    /// Whether it may be behind: there is no connection, or the board is still on its way.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale_since().is_some()
    }

    /// For how long it has been stale; `None` if it is not.
    #[must_use]
    pub fn stale_for(&self) -> Option<Duration> {
        self.stale_since().map(|since| since.elapsed())
    }

    fn stale_since(&self) -> Option<Instant> {
        self.runtime.with_link(|link| link.view().stale_since())
    }

    /// Waits until somebody provides this function, and returns it. A stale entry will do: it may be
    /// right, and a call finds out.
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

    /// Waits until this is true of the board. It is asked once at first, then whenever the board or the
    /// connection changed.
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
