//! A reader's position: in a snapshot, or in the change log. A slow reader costs the engine a position, not a queue.
//! Moves nothing by itself; the namespace does.

use super::entry::Name;
use super::filter::WatchFilter;

/// Reasons that RESYNC gives for a snapshot.
pub(crate) mod resync {
    /// The connection is new, and has no resume point.
    pub(crate) const JOINED: &str = "joined";
    /// The resume point is of another epoch.
    pub(crate) const FOREIGN_EPOCH: &str = "foreign_epoch";
    /// The resume point belongs to another watch, or to other rights.
    pub(crate) const OTHER_WATCH: &str = "other_watch";
    /// The change log no longer reaches back to the reader.
    pub(crate) const LOG_TRIMMED: &str = "log_trimmed";
    /// New credentials changed what the reader may see.
    pub(crate) const RIGHTS_CHANGED: &str = "rights_changed";
}

/// What a connection is being sent of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Nothing: no HELLO yet, or an empty watch.
    Idle,
    /// A snapshot starts next, for this reason.
    Resync(&'static str),
    /// A snapshot that started at revision `start` is being sent.
    Snapshot { start: u64, cursor: Cursor },
    /// Changes are being sent.
    Changes(Position),
}

/// A position in the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Everything that concerns the reader up to this revision was sent.
    pub(crate) at: u64,
    /// The revision that the reader was last told: its own idea of its position.
    pub(crate) told: u64,
    pub(crate) reader: Reader,
    /// SYNCED was sent.
    pub(crate) synced: bool,
    /// Set between the parts of a change that takes several frames.
    pub(crate) within: Option<Box<PartPosition>>,
}

/// The next part of a change that takes several frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartPosition {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) part: usize,
}

impl Position {
    /// At `revision`, which the reader was told.
    pub(crate) fn new(revision: u64, reader: Reader) -> Self {
        Self {
            at: revision,
            told: revision,
            reader,
            synced: false,
            within: None,
        }
    }
}

/// What a reader holds when a fold of several revisions reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reader {
    /// Exactly the board of one revision. Entries that came and went since need no mention.
    #[default]
    Exact,
    /// Snapshot chunks of later revisions. It may hold an entry that came and went since, so each removal counts.
    Fuzzy,
}

/// A position in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// All functions, in the order of slots: the next slot.
    Slots(usize),
    /// Functions under the filter's prefixes, in the order of names: the last name sent.
    Names(Option<Name>),
    /// Workers, in the order of ids.
    Workers(WorkerMark),
    /// Bindings, in the order of keys: the last key sent.
    Bindings(Option<Name>),
    /// Everything was sent.
    End,
}

impl Cursor {
    /// The start of a snapshot for this filter.
    pub(crate) fn start(filter: &WatchFilter) -> Self {
        if filter.is_all_functions() {
            Self::Slots(0)
        } else {
            Self::Names(None)
        }
    }
}

/// A position in the list of workers: a worker, and the last of its functions that was listed (`None` if it has none).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WorkerMark {
    pub(crate) worker: u64,
    pub(crate) function: Option<Name>,
}
