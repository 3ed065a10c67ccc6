//! State shared by the event loop and the handles of its server: requests to shut down, reload and report, and the
//! counters. Wakes the loop; carries nothing out itself.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use mio::Waker;

use super::counters::AtomicCounters;
use crate::engine::Stats;

/// Requests from the handles to the event loop, and the loop's counters.
#[derive(Debug)]
pub(super) struct Control {
    waker: Waker,
    shutdowns: AtomicU32,
    killed: AtomicBool,
    reload: AtomicBool,
    /// Handles that wait for the engine's statistics.
    stats_requests: Mutex<Vec<mpsc::Sender<Stats>>>,
    pub(super) counters: AtomicCounters,
}

impl Control {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            waker,
            shutdowns: AtomicU32::new(0),
            killed: AtomicBool::new(false),
            reload: AtomicBool::new(false),
            stats_requests: Mutex::default(),
            counters: AtomicCounters::default(),
        }
    }

    pub(super) fn request_shutdown(&self) {
        self.shutdowns.fetch_add(1, Ordering::Release);
        self.wake();
    }

    pub(super) fn request_reload(&self) {
        self.reload.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes the loop return at once, without closing anything properly.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Asks the loop for the engine's statistics. The receiver disconnects when the loop ends.
    pub(super) fn request_stats(&self) -> mpsc::Receiver<Stats> {
        let (sender, answer) = mpsc::channel();
        self.stats_requests().push(sender);
        self.wake();
        answer
    }

    /// Number of shutdown requests since the last call.
    pub(super) fn take_shutdowns(&self) -> u32 {
        self.shutdowns.swap(0, Ordering::Acquire)
    }

    /// Whether a reload was requested since the last call.
    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Acquire)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Sends the statistics to the handles that requested them since the last call.
    pub(super) fn answer_stats(&self, stats: impl FnOnce() -> Stats) {
        let requests = std::mem::take(&mut *self.stats_requests());
        if requests.is_empty() {
            return;
        }
        let stats = stats();
        for one in requests {
            // A handle that did not wait for the answer does not need it.
            let _ = one.send(stats.clone());
        }
    }

    fn stats_requests(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Stats>>> {
        // A panic cannot leave the list half changed.
        self.stats_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // This fails only when the poll is gone, and with it everything there was to stop.
        if let Err(error) = self.waker.wake() {
            log::debug!("cannot wake the server: {error}");
        }
    }
}
