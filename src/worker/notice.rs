//! Notices about the board and the connection: values only. The view and the link produce them.

use std::sync::Arc;

use super::entry::{Binding, Entry, WorkerInfo};
use super::error::{End, Loss, Refusal};
use super::status::ConnectionInfo;

/// A notice about the board or the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The board changed.
    Step(Step),
    /// WELCOME arrived. The board is synced next; [`Notice::Synced`] ends that.
    Connected(ConnectionInfo),
    /// The board is right as of this revision, and follows from now on.
    Synced {
        /// The board's revision.
        revision: u64,
    },
    /// The connection was lost. The board stays readable but stale; the library reconnects.
    Disconnected(Loss),
    /// After a reconnect, or after a change of this worker's rights, the engine refused a function or binding that
    /// it had accepted before, for example because another worker now holds it exclusively. The library retries if
    /// the refusal is retryable, and again when the rights change.
    NotRestored {
        /// The function's name; for a binding, `event -> function`.
        name: Arc<str>,
        /// The engine's refusal.
        refusal: Refusal,
    },
    /// The entry of an earlier [`Notice::NotRestored`] is on the board again.
    Restored {
        /// The name in that notice.
        name: Arc<str>,
    },
    /// This stream was read too slowly, and its buffer was dropped: read the board again. Later changes follow as
    /// usual.
    Missed,
    /// The worker has ended: no notice follows.
    Ended(End),
}

/// Changes that took effect together: one revision, or several folded into one by the engine; never part of a
/// revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The board's revision before.
    pub from: u64,
    /// The board's revision now. Smaller than `from` after a restart of the engine; equal for [`Cause::Settled`].
    pub to: u64,
    /// Why the board changed.
    pub cause: Cause,
    /// The differences; never empty.
    pub changes: Vec<Change>,
}

/// Why the board changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The engine pushed a change.
    Pushed,
    /// The engine replaced the board by a snapshot; the changes are the differences. On the first connection, when
    /// everything is new, the reason is `joined`.
    Replaced {
        /// Why: `joined`, `foreign_epoch`, `log_trimmed`, `other_watch`, or a reason of a newer engine.
        reason: Arc<str>,
    },
    /// The engine had restarted, and the time for workers to return has passed: entries that did not return were
    /// removed.
    Settled,
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A function was added to the board.
    Added(Entry),
    /// A function left the board; its last entry.
    Removed(Entry),
    /// The entry of a function changed.
    Updated {
        /// The entry before.
        old: Entry,
        /// The entry now.
        new: Entry,
    },
    /// A worker has its first function or binding. Only with [`Watch::workers`](super::Watch::workers).
    WorkerJoined(WorkerInfo),
    /// A worker has no functions or bindings any more; its last entry.
    WorkerLeft(WorkerInfo),
    /// The entry of a worker changed. Or the engine restarted and the worker returned: it then has another id and
    /// may provide the same as before.
    WorkerUpdated {
        /// The entry before.
        old: WorkerInfo,
        /// The entry now.
        new: WorkerInfo,
        /// Functions it provides now and did not before, in order.
        added: Vec<Arc<str>>,
        /// Functions it no longer provides, in order.
        removed: Vec<Arc<str>>,
    },
    /// A binding was added. Only with [`Watch::bindings`](super::Watch::bindings).
    BindingAdded(Binding),
    /// A binding was removed.
    BindingRemoved(Binding),
    /// The entry of a binding changed.
    BindingUpdated {
        /// The entry before.
        old: Binding,
        /// The entry now.
        new: Binding,
    },
}
