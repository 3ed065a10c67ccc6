//! Output over all connections: the write queue, connections whose frames await the seal, the buffers of outboxes, and
//! what the shell is to close or to read again. Queues; writes nothing.

use std::collections::VecDeque;

use crate::engine::interface::{Close, ConnId};
use crate::engine::memory::recycle;

#[cfg(debug_assertions)]
use super::table::ConnectionTable;
#[cfg(debug_assertions)]
use crate::engine::registry::Registry;

use super::Connection;
use super::outbox::{Reply, Segment};
use super::send_buffer::BufferPool;
use super::write_queue::WriteQueue;

/// Output over all connections.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: WriteQueue,
    /// Connections with own frames that await the seal.
    unsealed: Vec<ConnId>,
    /// Scratch list of a flush.
    segments: Vec<Segment>,
    buffers: BufferPool,
    closes: VecDeque<Close>,
    resumes: VecDeque<ConnId>,
}

impl Output {
    pub(crate) fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }

    pub(crate) fn buffers(&mut self) -> &mut BufferPool {
        &mut self.buffers
    }

    /// Connections that are to be written to for their own frames, and bytes that wait in all outboxes.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.unsealed.len() + self.queue.replies(), self.waiting())
    }

    /// Bytes that wait in all outboxes.
    pub(crate) fn waiting(&self) -> usize {
        self.buffers.waiting()
    }

    /// Whether anything is to be written, sealed, closed or read again.
    pub(crate) fn has_more(&self) -> bool {
        !self.queue.is_empty()
            || !self.unsealed.is_empty()
            || !self.resumes.is_empty()
            || !self.closes.is_empty()
    }

    /// Whether no connection waits to be written to.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    // Own frames.

    /// Adds a frame that must not overtake this turn's changes. A leaving connection gets none: it would not read
    /// frames after its GOODBYE.
    pub(crate) fn reply(&mut self, conn: &mut Connection, reply: Reply) {
        if conn.is_leaving() {
            return;
        }
        conn.outbox_mut().push(reply, &mut self.buffers);
        self.await_seal(conn);
    }

    /// As [`Output::reply`], for a frame that `write` appends to the connection's buffer.
    pub(crate) fn reply_with(&mut self, conn: &mut Connection, write: impl FnOnce(&mut Vec<u8>)) {
        if conn.is_leaving() {
            return;
        }
        conn.outbox_mut().push_with(&mut self.buffers, write);
        self.await_seal(conn);
    }

    fn await_seal(&mut self, conn: &mut Connection) {
        if !conn.mark_unsealed() {
            self.unsealed.push(conn.id());
        }
    }

    /// Adds a frame that may overtake changes.
    pub(crate) fn send_unordered(&mut self, conn: &mut Connection, frame: &[u8]) {
        conn.outbox_mut().push_unordered(frame, &mut self.buffers);
        self.queue.push_reply(conn);
    }

    pub(crate) fn take_unsealed(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.unsealed)
    }

    /// Gives the list back for the next turn.
    pub(crate) fn recycle_unsealed(&mut self, list: Vec<ConnId>) {
        debug_assert!(self.unsealed.is_empty(), "a seal adds no frames");
        self.unsealed = recycle(list);
    }

    /// A connection's frames are sealed: queues it.
    pub(crate) fn push_sealed(&mut self, conn: &mut Connection, is_acknowledgements_only: bool) {
        if is_acknowledgements_only {
            self.queue.push_acknowledgement(conn);
        } else {
            self.queue.push_reply(conn);
        }
    }

    // Scratch.

    pub(crate) fn take_segments(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.segments)
    }

    #[inline] // Once for each watcher of a change.
    pub(crate) fn put_segments(&mut self, mut segments: Vec<Segment>) {
        segments.clear();
        self.segments = segments;
    }

    // Instructions to the shell.

    pub(crate) fn push_close(&mut self, close: Close) {
        self.closes.push_back(close);
    }

    pub(crate) fn pop_close(&mut self) -> Option<Close> {
        self.closes.pop_front()
    }

    /// The connection may be read again.
    pub(crate) fn push_resume(&mut self, id: ConnId) {
        self.resumes.push_back(id);
    }

    pub(crate) fn pop_resume(&mut self) -> Option<ConnId> {
        self.resumes.pop_front()
    }
}

#[cfg(debug_assertions)]
impl Output {
    /// Recounts the memory, and compares the queues with the connections.
    ///
    /// # Panics
    /// If a count is wrong, or a connection is missing in a queue.
    pub(crate) fn check_books(&self, connections: &ConnectionTable, registry: &Registry) {
        let Self {
            queue,
            unsealed,
            segments,
            buffers,
            closes: _,
            resumes: _,
        } = self;
        assert!(segments.is_empty(), "segments of no flush");
        buffers.check_books();
        let waiting: usize = connections.iter().map(Connection::output_charge).sum();
        assert_eq!(buffers.waiting(), waiting, "bytes that wait");
        connections.check_marks("unsealed", unsealed, Connection::is_unsealed);
        queue.check_books(connections, registry);
    }
}
