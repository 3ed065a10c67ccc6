//! A bounded stream of notices about the board. A slow reader costs no more than the bound, and delays no other.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::deadline::deadline_after;
use super::lock::{lock, wait, wait_until};
use super::notice::Notice;

/// Changes buffered for a reader. A single step is buffered whatever its size.
const MAX_BUFFERED_CHANGES: usize = 65_536;

/// The notices since the stream was opened. The iterator blocks until the next notice, and ends with the worker. It
/// buffers 65,536 changes for a slow reader; beyond that, one [`Notice::Missed`] replaces the whole buffer.
#[derive(Debug)]
pub struct Changes {
    queue: Arc<Queue>,
}

/// No notice arrived in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvTimeout;

impl std::fmt::Display for RecvTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no notice in time")
    }
}

impl std::error::Error for RecvTimeout {}

#[derive(Debug, Default)]
pub(super) struct Queue {
    buffer: Mutex<Buffer>,
    pushed: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    notices: VecDeque<Notice>,
    changes: usize,
    /// No further notice will arrive.
    ended: bool,
}

impl Queue {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        lock(&self.buffer)
    }

    pub(super) fn push(&self, notice: Notice) {
        let mut buffer = self.buffer();
        let changes = changes_in(&notice);
        buffer.ended |= matches!(notice, Notice::Ended(_));
        if buffer.changes + changes > MAX_BUFFERED_CHANGES && !buffer.notices.is_empty() {
            buffer.notices.clear();
            buffer.notices.push_back(Notice::Missed);
            buffer.changes = 1;
            if !buffer.ended {
                return;
            }
        }
        buffer.changes += changes;
        buffer.notices.push_back(notice);
        drop(buffer);
        self.pushed.notify_one();
    }

    /// Marks the end of the stream.
    pub(super) fn close(&self) {
        self.buffer().ended = true;
    }
}

fn changes_in(notice: &Notice) -> usize {
    match notice {
        Notice::Step(step) => step.changes.len(),
        _ => 1,
    }
}

impl Buffer {
    fn take(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        self.changes -= changes_in(&notice);
        Some(notice)
    }
}

impl Changes {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// The next notice; waits for it until the timeout. `Ok(None)` is the end of the stream.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Notice>, RecvTimeout> {
        let deadline = deadline_after(timeout);
        let mut buffer = self.queue.buffer();
        loop {
            match buffer.take() {
                Some(notice) => return Ok(Some(notice)),
                None if buffer.ended => return Ok(None),
                None => {}
            }
            if Instant::now() >= deadline {
                return Err(RecvTimeout);
            }
            buffer = wait_until(&self.queue.pushed, buffer, deadline);
        }
    }

    /// The next notice, if one is buffered.
    pub fn try_recv(&mut self) -> Option<Notice> {
        self.queue.buffer().take()
    }
}

impl Iterator for Changes {
    type Item = Notice;

    fn next(&mut self) -> Option<Notice> {
        let mut buffer = self.queue.buffer();
        loop {
            match buffer.take() {
                Some(notice) => return Some(notice),
                None if buffer.ended => return None,
                None => {}
            }
            buffer = wait(&self.queue.pushed, buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::End;

    fn synced(revision: u64) -> Notice {
        Notice::Synced { revision }
    }

    #[test]
    fn a_stream_that_is_not_read_holds_a_bounded_number_and_says_what_it_dropped() {
        let queue = Arc::new(Queue::default());
        let mut changes = Changes::new(queue.clone());
        for revision in 0..=MAX_BUFFERED_CHANGES as u64 {
            queue.push(synced(revision));
        }
        queue.push(synced(7));
        queue.push(Notice::Ended(End::Closed));
        let told: Vec<Notice> = changes.by_ref().collect();
        assert_eq!(
            told,
            [Notice::Missed, synced(7), Notice::Ended(End::Closed)]
        );
        assert_eq!(changes.recv_timeout(Duration::ZERO), Ok(None));
    }

    #[test]
    fn a_stream_holds_as_many_as_it_may_and_drops_none_of_them() {
        for more in [0, 1] {
            let queue = Arc::new(Queue::default());
            let mut changes = Changes::new(queue.clone());
            for revision in 0..(MAX_BUFFERED_CHANGES + more) as u64 {
                queue.push(synced(revision));
            }
            let first = if more == 0 { synced(0) } else { Notice::Missed };
            assert_eq!(changes.try_recv(), Some(first));
        }
    }

    #[test]
    fn behind_what_was_missed_there_is_room_for_as_many_again() {
        let queue = Arc::new(Queue::default());
        let mut changes = Changes::new(queue.clone());
        let fill = |count: usize| (0..count as u64).for_each(|it| queue.push(synced(it)));
        fill(MAX_BUFFERED_CHANGES + 1);
        assert_eq!(changes.try_recv(), Some(Notice::Missed));
        assert_eq!(changes.try_recv(), None);
        fill(MAX_BUFFERED_CHANGES);
        assert_eq!(changes.try_recv(), Some(synced(0)));
    }

    #[test]
    fn the_end_is_told_even_to_who_missed_the_rest() {
        let queue = Arc::new(Queue::default());
        for revision in 0..MAX_BUFFERED_CHANGES as u64 {
            queue.push(synced(revision));
        }
        queue.push(Notice::Ended(End::Closed));
        let told: Vec<Notice> = Changes::new(queue).collect();
        assert_eq!(told, [Notice::Missed, Notice::Ended(End::Closed)]);
    }

    #[test]
    fn waiting_ends_with_the_time() {
        let mut changes = Changes::new(Arc::default());
        assert_eq!(
            changes.recv_timeout(Duration::from_millis(1)),
            Err(RecvTimeout)
        );
        assert_eq!(changes.try_recv(), None);
    }
}
