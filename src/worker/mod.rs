//! The worker library: one connection to an engine over which a worker publishes its functions and sees
//! the live board of everyone's. Blocking, with threads from std; no async runtime.
//!
//! ```
//! use std::time::Duration;
//! use callboard::worker::{Change, Function, Notice, Worker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = callboard::server::Server::spawn(callboard::server::ServerConfig {
//! #     listen: vec!["127.0.0.1:0".parse()?],
//! #     ..Default::default()
//! # })?;
//! # let address = &engine.addresses()[0].to_string();
//! # /*
//! let address = "127.0.0.1:4747";
//! # */
//! let worker = Worker::builder("orders-1")
//!     .engine(address)?
//!     .connect(Duration::from_secs(5))?;
//! let changes = worker.changes();
//!
//! worker.register([Function::new("orders::create").description("Takes an order")])?;
//!
//! let board = worker.board();
//! assert!(board.contains("orders::create"));
//!
//! for notice in changes {
//!     if let Notice::Step(step) = notice {
//!         for change in step.changes {
//!             match change {
//!                 Change::Added(entry) => println!("+ {}", entry.name()),
//!                 Change::Removed(entry) => println!("- {}", entry.name()),
//!                 Change::Updated { new, .. } => println!("~ {}", new.name()),
//!                 _ => {}
//!             }
//!         }
//! #       break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it takes care of by itself:
//!
//! - **Reconnecting**: at once after a loss (within 50 ms, jittered), then ever more slowly (5 s at the
//!   most), over a list of addresses in order of preference; connected to a later one, it looks for the
//!   earlier ones and moves back. The session's key lets the engine hand over what the connection before
//!   had: nobody else's board flaps.
//! - **Registering again** what the engine accepted before, until it is unregistered.
//! - **The board**: after a reconnect only what changed meanwhile is fetched, and removals are found out.
//!   While there is no connection the board stays readable, and says that it is stale. After an engine's
//!   restart, what is not back yet is kept for the moment that the engine names, marked stale.
//! - **Checking** that no change is missing between two others.
//!
//! What ends it for good: [`Worker::close`], a refusal that waiting does not change, and another process
//! that took its session over ([`End`]).
//!
//! Inside, a state machine without sockets, clock or threads ([`link`], with its [`view`]) does all the
//! thinking; a thin shell of threads reads and writes for it.

mod board;
mod builder;
mod changes;
mod contents;
mod entry;
mod error;
mod function;
pub mod link;
mod notice;
mod probe;
mod registrations;
mod requests;
mod route;
mod shelf;
mod shell;
mod status;
mod transport;
pub mod view;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use board::{Board, Snapshot};
pub use builder::Builder;
pub use changes::{Changes, RecvTimeout};
pub use entry::{Binding, Entry, WorkerInfo};
pub use error::{Attempt, ConnectError, End, Loss, OsError, Refusal, RequestError, WaitError};
pub use function::{Function, FunctionError};
pub use notice::{Cause, Change, Notice, Step};
pub use status::{Connection, Offer, Registered, Standing, Status};
pub use watch::Watch;

use crate::protocol::{NameError, check_function_name};
use shell::Shell;

/// A worker: one connection to an engine, which it keeps up by itself. To be used from any thread. Its
/// drop closes it.
pub struct Worker {
    shell: Arc<Shell>,
}

impl Worker {
    /// Begins a worker of this name, 1 to 255 bytes, for people to read; several may bear the same.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    fn new(shell: Arc<Shell>) -> Self {
        Self { shell }
    }

    /// Provides these functions, all or none, as one revision of the board. Waits until the engine
    /// confirms or refuses, through a reconnect if need be. What was confirmed is registered again after
    /// every reconnect, until it is unregistered; what was refused is forgotten. Registering again what
    /// one has replaces its definition.
    ///
    /// ```no_run
    /// # use callboard::worker::{Function, RequestError, Worker};
    /// # fn provide(worker: &Worker) -> Result<(), RequestError> {
    /// worker.register(["stock::count", "stock::reserve"])?;
    /// match worker.register([Function::new("stock::nightly").exclusive()]) {
    ///     Err(error) if error.code() == "exclusive" => println!("somebody else does it: {error}"),
    ///     other => drop(other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn register<F: Into<Function>>(
        &self,
        functions: impl IntoIterator<Item = F>,
    ) -> Result<Registered, RequestError> {
        let functions: Vec<Function> = functions.into_iter().map(Into::into).collect();
        for function in &functions {
            check(function.name())?;
        }
        self.shell.order(|link| link.register(functions))
    }

    /// No longer provides these functions, all or none. One that this worker does not provide fails the
    /// batch with `not_registered`.
    pub fn unregister<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Registered, RequestError> {
        let names: Vec<Arc<str>> = names.into_iter().map(|name| name.as_ref().into()).collect();
        for name in &names {
            check(name)?;
        }
        self.shell.order(|link| link.unregister(names))
    }

    /// What this worker provides or wants to, by name.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        self.shell.with_link(link::Link::offers)
    }

    /// The live board.
    #[must_use]
    pub fn board(&self) -> Board {
        Board::new(self.shell.clone())
    }

    /// The changes of the board and the connection from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.shell.changes()
    }

    /// The board as it is, and all that changes after that: nothing is missed or told twice.
    #[must_use]
    pub fn board_and_changes(&self) -> (Snapshot, Changes) {
        self.shell.subscribe()
    }

    /// How the connection stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shell.status()
    }

    /// Waits until there is a connection and the board is up to date.
    pub fn wait_synced(&self, timeout: Duration) -> Result<Connection, WaitError> {
        self.shell.wait_until(timeout, || {
            self.shell.with_link(|link| {
                let connection = link.connection().filter(|_| link.view().is_live());
                connection.cloned()
            })
        })
    }

    /// Says goodbye and ends: all that it provides leaves the board in one step. A drop does the same.
    /// Takes two seconds at the most, where the engine does not answer.
    pub fn close(self) {
        self.shell.stop(true);
    }

    /// Ends as a crash would: the connection is dropped without a goodbye.
    pub fn abort(self) {
        self.shell.stop(false);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shell.stop(true);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What an engine would refuse is refused here, so that it is an error without an engine, too.
fn check(name: &str) -> Result<(), RequestError> {
    check_function_name(name).map_err(|error: NameError| RequestError::InvalidName {
        name: name.into(),
        error,
    })
}

/// When a wait of `timeout` ends. "For ever" is a year.
fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 24 * 3600))
}
