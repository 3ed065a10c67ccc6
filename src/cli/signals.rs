//! SIGINT and SIGTERM for commands that run until they are stopped: closes the worker, which ends its stream of
//! changes and so the command. `serve` handles signals itself.

use std::fmt;
use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callboard::worker::{End, Worker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::exit::Exit;
use super::failure::Failure;

/// How long a command with nothing to finish may take to end after a signal. It may hang writing to a pipe that is
/// not read.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often to check for a second signal.
const LOOK: Duration = Duration::from_millis(50);

/// Owns a worker, and closes it on a signal.
pub(super) struct Stop {
    signals: Handle,
    /// A signal came.
    given: Arc<AtomicBool>,
    /// Dropped when the command has ended.
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl Stop {
    /// From here on, signals close this worker instead of ending the process. If that takes longer than `patience`,
    /// or at a second signal, calls `last` and exits.
    pub(super) fn on_signal(
        worker: Worker,
        patience: Duration,
        last: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::System)?;
        let handle = signals.handle();
        let (over, watchdog) = channel();
        let given = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&given);
        let wait = move || {
            if signals.forever().next().is_none() {
                // The command ended by itself.
                return worker.close();
            }
            noted.store(true, Ordering::Release);
            let closing = thread::spawn(move || worker.close());
            if !is_over(&watchdog, &mut signals, patience) {
                last();
                process::exit(Exit::Done.code().into());
            }
            // Its thread has printed a panic.
            let _ = closing.join();
        };
        let thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)
            .map_err(Failure::System)?;
        Ok(Self {
            signals: handle,
            given,
            over,
            thread,
        })
    }

    /// Whether a signal came: the loss of the connection is then intended.
    pub(super) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Finishes after the worker ended by itself. A closed worker ended as intended.
    pub(super) fn finish_after(self, end: End) -> Result<(), Failure> {
        self.finish()?;
        match Failure::Ended(end) {
            closed if closed.exit() == Exit::Done => Ok(()),
            failure => Err(failure),
        }
    }

    /// Closes the worker, unless a signal did, and waits for it.
    pub(super) fn finish(self) -> Result<(), Failure> {
        drop(self.over);
        self.signals.close();
        match self.thread.join() {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::System(io::Error::other("a thread panicked"))),
        }
    }
}

/// Waits for the command to end; `false` if it does not in time, or at a further signal.
fn is_over(watchdog: &Receiver<()>, signals: &mut Signals, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if watchdog.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return true;
        }
        if Instant::now() >= deadline || signals.pending().next().is_some() {
            return false;
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").finish_non_exhaustive()
    }
}
