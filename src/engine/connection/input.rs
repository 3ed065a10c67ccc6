//! Input over all connections: memory of what is not handled, connections with deferred bytes, and the work of the
//! frames that are being handled. Counts and queues; reads nothing.

use std::cell::Cell;

use crate::engine::interface::ConnId;
use crate::engine::memory::{Usage, recycle};

use super::Connection;

/// Input over all connections.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Bytes of incomplete frames and deferred input.
    partial: Usage,
    /// Bytes of incomplete batches.
    batches: Usage,
    /// Connections whose deferred bytes are handled in this turn, and in the next.
    deferred: Vec<ConnId>,
    deferred_next: Vec<ConnId>,
    /// Work of the frames of the connection that is being handled.
    work: Cell<u64>,
    /// Connections that changed a board in this turn.
    changers: Vec<ConnId>,
}

impl Input {
    /// Bytes of incomplete frames and deferred input.
    pub(crate) fn partial(&self) -> &Usage {
        &self.partial
    }

    /// Bytes of incomplete batches.
    pub(crate) fn batches(&self) -> &Usage {
        &self.batches
    }

    // Deferred bytes.

    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// A connection's deferred bytes are handled with the next seal.
    pub(crate) fn defer(&mut self, id: ConnId) {
        self.deferred.push(id);
    }

    /// A connection's deferred bytes are handled with the next but one seal.
    pub(crate) fn defer_again(&mut self, id: ConnId) {
        self.deferred_next.push(id);
    }

    pub(crate) fn take_deferred(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.deferred)
    }

    /// All of this turn's are handled.
    pub(crate) fn end_deferred(&mut self) {
        self.deferred = std::mem::take(&mut self.deferred_next);
    }

    // Work.

    pub(crate) fn start_work(&self) {
        self.work.set(0);
    }

    /// Counts work of the frame that is being handled.
    pub(crate) fn add_work(&self, work: u64) {
        self.work.set(self.work.get() + work);
    }

    pub(crate) fn work(&self) -> u64 {
        self.work.get()
    }

    // Changes of the board.

    /// A connection changed the board: it pays for this turn's revision.
    pub(crate) fn mark_changer(&mut self, conn: &mut Connection) {
        if !conn.mark_changed_board() {
            self.changers.push(conn.id());
        }
    }

    pub(crate) fn take_changers(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.changers)
    }

    /// Gives the list back for the next turn.
    pub(crate) fn recycle_changers(&mut self, list: Vec<ConnId>) {
        debug_assert!(self.changers.is_empty(), "charging changes no board");
        self.changers = recycle(list);
    }
}
