//! What a stream of changes tells: steps of the board, and what becomes of the connection. Values
//! only; where they come from is the view's and the link's business.

use std::sync::Arc;

use super::entry::{Binding, Entry, WorkerInfo};
use super::error::{End, Loss, Refusal};
use super::status::ConnectionInfo;

/// One piece of news.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The board changed.
    Step(Step),
    /// The engine said WELCOME. The board is brought up to date next; [`Notice::Synced`] ends that.
    Connected(ConnectionInfo),
    /// The board is right as of this revision, and follows from here on.
    Synced {
        /// The board's revision.
        revision: u64,
    },
    /// The connection ended. The board stays readable, and stale; the library connects again.
    Disconnected(Loss),
    /// After a reconnect, or after a change of this worker's rights, the engine refused a function or a
    /// binding that it had accepted before, for instance because another worker holds it exclusively now.
    /// If the refusal is retryable, the library retries by itself. When the rights change again, it does
    /// too.
    NotRestored {
        /// The function's name; of a binding, `event -> function`.
        name: Arc<str>,
        /// What the engine said.
        refusal: Refusal,
    },
    /// What [`Notice::NotRestored`] told of is on the board again.
    Restored {
        /// As it was told there.
        name: Arc<str>,
    },
    /// This stream was not read in time, and what it held was dropped: read the board again. All that
    /// changes from here on is told again.
    Missed,
    /// The worker is over: nothing comes after this.
    Ended(End),
}

/// Changes that happened together: one revision, or several folded into one by the engine. It is
/// never a part of a revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The revision that the board stood at before.
    pub from: u64,
    /// The revision that it stands at now. Smaller than `from` after the engine restarted; the same if
    /// [`Cause::Settled`].
    pub to: u64,
    /// Why the board changed.
    pub cause: Cause,
    /// What is different now. Never empty.
    pub changes: Vec<Change>,
}

/// Why the board changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The engine pushed a change.
    Pushed,
    /// The engine replaced the board; the changes are the difference between the old and the new one.
    /// On the first connection, when all is new, the reason is `joined`.
    Replaced {
        /// Why: `joined`, `foreign_epoch`, `log_trimmed`, `other_watch`, or a word of a newer engine.
        reason: Arc<str>,
    },
    /// The engine had restarted, and the time that it gives workers to come back is over: what did not
    /// come back was removed.
    Settled,
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A function is on the board that was not.
    Added(Entry),
    /// A function is no longer on the board; here is how it looked last.
    Removed(Entry),
    /// A function looks different.
    Updated {
        /// How it looked.
        old: Entry,
        /// How it looks.
        new: Entry,
    },
    /// A worker provides or binds something that did not. Only with [`Watch::workers`](super::Watch::workers).
    WorkerJoined(WorkerInfo),
    /// A worker provides and binds nothing any more; here is what it had.
    WorkerLeft(WorkerInfo),
    /// A worker provides something else. Or the engine restarted and the worker came back to it: it has
    /// another id then, and may well provide the same as before.
    WorkerUpdated {
        /// As it was.
        old: WorkerInfo,
        /// As it is now.
        new: WorkerInfo,
        /// Functions that it provides now and did not before, in order.
        added: Vec<Arc<str>>,
        /// Functions that it no longer provides, in order.
        removed: Vec<Arc<str>>,
    },
    /// A function was tied to an event. Only with [`Watch::bindings`](super::Watch::bindings).
    BindingAdded(Binding),
    /// It no longer is.
    BindingRemoved(Binding),
    /// A binding looks different.
    BindingUpdated {
        /// How it looked.
        old: Binding,
        /// How it looks.
        new: Binding,
    },
}
