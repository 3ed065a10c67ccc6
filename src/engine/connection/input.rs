//! Input over all connections: memory of what is not handled, connections with deferred bytes, and the work of the
//! frames that are being handled. Counts and queues; reads nothing.

use std::cell::Cell;

use crate::engine::interface::ConnId;
use crate::engine::memory::{Usage, recycle};

use super::Connection;
#[cfg(debug_assertions)]
use super::table::ConnectionTable;

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

#[cfg(debug_assertions)]
impl Input {
    /// Recounts the memory, and compares the queues with the connections.
    ///
    /// # Panics
    /// If a count is wrong, or a connection is missing in a queue.
    pub(crate) fn check_books(&self, connections: &ConnectionTable) {
        let Self {
            partial,
            batches,
            deferred,
            deferred_next,
            work: _,
            changers,
        } = self;
        let (mut unread, mut incomplete) = (0, 0);
        for conn in connections.iter() {
            let charges = conn.input_charges();
            unread += charges.0;
            incomplete += charges.1;
        }
        assert_eq!(partial.total(), unread, "bytes that are not handled");
        assert_eq!(batches.total(), incomplete, "bytes of batches");
        assert!(deferred_next.is_empty(), "a seal passes them on");
        // An overdrawn one is queued when its budget has refilled.
        let waits = |conn: &Connection| conn.has_deferred() && !conn.pause().budget;
        let listed = deferred
            .iter()
            .filter(|id| connections.get(**id).is_some_and(waits));
        connections.check_marks("deferred input", listed, waits);
        connections.check_marks("changers", changers, Connection::has_changed_board);
    }
}
