//! What the event loop and the handles of its server share: requests to shut down, to reload, to report, and the
//! counters. Wakes the loop; carries nothing out.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use mio::Waker;

use super::counters::AtomicCounters;
use crate::engine::Stats;

/// What the loop and its handle share.
#[derive(Debug)]
pub(super) struct Control {
    waker: Waker,
    shutdowns: AtomicU32,
    killed: AtomicBool,
    reload: AtomicBool,
    /// Those who want to know what the engine counts.
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

    /// Has the loop return at once, without closing anything properly.
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

    /// How often a shutdown was asked for since the last call.
    pub(super) fn take_shutdowns(&self) -> u32 {
        self.shutdowns.swap(0, Ordering::Acquire)
    }

    /// Whether a reload was asked for since the last call.
    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Acquire)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Answers those who asked since the last call, if any did.
    pub(super) fn answer_stats(&self, stats: impl FnOnce() -> Stats) {
        let requests = std::mem::take(&mut *self.stats_requests());
        if requests.is_empty() {
            return;
        }
        let stats = stats();
        for one in requests {
            // Whoever did not wait for it does not need it.
            let _ = one.send(stats.clone());
        }
    }

    fn stats_requests(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Stats>>> {
        // A list is whole whoever panicked over it.
        self.stats_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It fails only when the poll is gone, and with it all that there was to end.
        if let Err(error) = self.waker.wake() {
            log::debug!("the server could not be woken: {error}");
        }
    }
}
