//! The board as one worker sees it.

use std::fmt;

/// The engine's stream of changes contradicts itself. The library reports it, reconnects, and asks for
/// a whole board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewError {
    /// A change begins after the revision that the view stands at: something is missing between.
    Gap {
        /// Where the view stands.
        mine: u64,
        /// Where the change begins.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// A step's parts do not belong together: another step began before its last part came.
    Torn {
        /// Where the unfinished step ends.
        unfinished: u64,
    },
    /// Something is added that is there, or removed or updated that is not.
    Mismatch {
        /// Its name.
        name: String,
        /// The revision that says so.
        revision: u64,
    },
    /// A snapshot, or the end of one, that nothing announced.
    Unannounced,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { mine, from, to } => write!(
                f,
                "the board stands at revision {mine}, the next change goes from {from} to {to}: \
                 something is missing between"
            ),
            Self::Torn { unfinished } => write!(
                f,
                "the step to revision {unfinished} was not finished before another began"
            ),
            Self::Mismatch { name, revision } => write!(
                f,
                "revision {revision} changes `{}` in a way that does not fit this board",
                name.escape_default()
            ),
            Self::Unannounced => f.write_str("a snapshot came that nothing announced"),
        }
    }
}

impl std::error::Error for ViewError {}
