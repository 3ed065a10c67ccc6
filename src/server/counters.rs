//! What the loop did, counted: turns, system calls, bytes. Written by the loop's thread alone, read by
//! anyone; so that "one write per watcher" can be shown by counting instead of by timing.

use std::sync::atomic::{AtomicU64, Ordering};

/// The loop's own side: counted before the system call, so that whoever has seen a call's effect
/// finds it counted.
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

/// One number with one writer: a load and a store, without the locked addition that several would need.
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

/// What a server's loop did since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Times round the loop.
    pub turns: u64,
    /// Times that it went to sleep until something happens. Counted before.
    pub sleeps: u64,
    /// Times that it looked for events, found none, and looked again: see [`super::Spin`].
    pub looks: u64,
    /// Connections accepted, those refused at once included.
    pub accepted: u64,
    /// Connections dropped again.
    pub closed: u64,
    /// Read calls on connections, those that found nothing included.
    pub reads: u64,
    /// Bytes that they brought.
    pub read_bytes: u64,
    /// Write calls on connections, those that found no room included. Counted before the call.
    pub writes: u64,
    /// Bytes that they took. Counted after the call: the peer may be quicker.
    pub written_bytes: u64,
}
