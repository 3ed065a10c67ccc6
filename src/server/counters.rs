//! Counts what the loop does: turns, system calls, bytes. Only the loop's thread writes; any thread reads. With
//! these, a test can prove "one write per watcher" by counting instead of timing.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters as the loop updates them: before each system call, so that a thread that sees the call's effect
/// also sees it counted.
#[derive(Debug, Default)]
pub(super) struct AtomicCounters {
    pub(super) turns: Counter,
    pub(super) sleeps: Counter,
    pub(super) looks: Counter,
    pub(super) accepted: Counter,
    pub(super) closed: Counter,
    pub(super) reads: Counter,
    pub(super) read_bytes: Counter,
    pub(super) writes: Counter,
    pub(super) written_bytes: Counter,
}

/// A number with one writer: a load and a store, cheaper than the atomic addition that several writers would need.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: usize) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now + n as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AtomicCounters {
    pub(super) fn snapshot(&self) -> Counters {
        Counters {
            turns: self.turns.get(),
            sleeps: self.sleeps.get(),
            looks: self.looks.get(),
            accepted: self.accepted.get(),
            closed: self.closed.get(),
            reads: self.reads.get(),
            read_bytes: self.read_bytes.get(),
            writes: self.writes.get(),
            written_bytes: self.written_bytes.get(),
        }
    }
}

/// Counters of a server's event loop since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Iterations of the loop.
    pub turns: u64,
    /// Times that the loop went to sleep. Counted before it sleeps.
    pub sleeps: u64,
    /// Times that it polled without sleeping and found nothing: see [`super::Spin`].
    pub looks: u64,
    /// Accepted connections, including those refused at once.
    pub accepted: u64,
    /// Closed connections.
    pub closed: u64,
    /// Read calls on connections, including those that found nothing.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write calls on connections, including those that found no room. Counted before the call.
    pub writes: u64,
    /// Bytes written. Counted after the call, so the peer may have read them before.
    pub written_bytes: u64,
}
