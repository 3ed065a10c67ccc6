//! Input over all connections: memory of what is not handled, and the work of the frames that are being handled. Counts;
//! reads nothing.

use std::cell::Cell;

use crate::engine::interface::ConnId;
use crate::engine::memory::{Usage, recycle};
use crate::engine::work::{self, Cost};

use super::Connection;
use super::progress::Progress;
#[cfg(debug_assertions)]
use super::table::ConnectionTable;

/// Input over all connections.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Bytes of incomplete frames and deferred input.
    partial: Usage,
    /// Bytes of incomplete batches.
    batches: Usage,
    /// The part of it that a share is charged for.
    share: Cell<u64>,
    /// Writes and bytes in the outboxes that are counted already.
    output: Cell<(usize, usize)>,
    /// Its first frame in this run is being handled.
    is_first: Cell<bool>,
    /// How far the frame that is being handled was handled before.
    progress: Option<Box<Progress>>,
    /// Work of the frames of the connection that is being handled.
    work: Cell<u64>,
    /// Connections that broke, and why; their ends are postponed.
    broken: Vec<(ConnId, Box<str>)>,
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

    // Work.

    /// Begins to handle frames of a connection. From here on what comes into the outboxes is counted; `output` is there.
    pub(crate) fn start_work(&self, output: (usize, usize)) {
        self.output.set(output);
        self.work.set(0);
        self.share.set(0);
    }

    /// Begins to handle a frame.
    pub(crate) fn start_step(&self) {
        self.is_first.set(self.work.get() == 0);
    }

    /// Whether no frame of the connection was handled before this one since [`Input::start_work`].
    pub(crate) fn is_first(&self) -> bool {
        self.is_first.get()
    }

    /// The writes and bytes that came into the outboxes since it was asked before.
    pub(crate) fn more_output(&self, load: (usize, usize)) -> (usize, usize) {
        let before = self.output.replace(load);
        (
            load.0.saturating_sub(before.0),
            load.1.saturating_sub(before.1),
        )
    }

    /// Counts work of the frame that is being handled: that of so many things of a kind.
    pub(crate) fn add(&self, cost: Cost, times: usize) {
        let times = times as u64;
        self.work.set(self.work.get() + cost.time * times);
        self.share.set(self.share.get() + cost.share * times);
    }

    /// Counts the values of a frame, or of arguments, that were decoded.
    pub(crate) fn add_values(&self, values: usize) {
        self.add(work::LOOK, values / work::VALUES_PER_UNIT as usize);
    }

    /// Counts work that no share is charged for.
    pub(crate) fn add_common(&self, work: u64) {
        self.work.set(self.work.get() + work);
    }

    /// All work of the frames that are being handled.
    pub(crate) fn work(&self) -> u64 {
        self.work.get()
    }

    /// The work that a share is charged for.
    pub(crate) fn share(&self) -> u64 {
        self.share.get()
    }

    // Slices.

    /// How far the frame that comes next was handled before.
    pub(crate) fn set_progress(&mut self, progress: Option<Box<Progress>>) {
        self.progress = progress;
    }

    /// Whether the frame that is being handled was begun before.
    pub(crate) fn has_progress(&self) -> bool {
        self.progress.is_some()
    }

    pub(crate) fn take_progress(&mut self) -> Option<Box<Progress>> {
        self.progress.take()
    }

    // Ends.

    /// The connection broke, and its end is postponed.
    pub(crate) fn note_broken(&mut self, id: ConnId, why: &str) {
        self.broken.push((id, why.into()));
    }

    /// Why a connection whose end was postponed broke; `None` if its peer closed it.
    pub(crate) fn take_broken(&mut self, id: ConnId) -> Option<Box<str>> {
        let index = self.broken.iter().position(|(it, _)| *it == id)?;
        Some(self.broken.swap_remove(index).1)
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
            progress,
            work: _,
            share: _,
            is_first: _,
            output: _,
            broken: _,
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
        assert!(progress.is_none(), "no frame is being handled");
        connections.check_marks("changers", changers, Connection::has_changed_board);
    }
}
