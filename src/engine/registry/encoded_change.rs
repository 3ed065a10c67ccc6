//! An encoded change: the frames that lead readers of one audience from one revision to a later one. Never sent by
//! itself.

use std::rc::Rc;

use super::position::{Position, Reader};

/// The frames of a change, valid for every reader at a revision in `from..first`.
#[derive(Debug)]
pub(crate) struct EncodedChange {
    /// The revision that the frames name as their beginning.
    pub(crate) from: u64,
    /// The first revision whose changes are in the frames.
    pub(crate) first: u64,
    /// The revision that the frames lead to.
    pub(crate) to: u64,
    /// Set if several revisions are folded into one: the kind of reader that the fold assumes.
    pub(crate) folded: Option<Reader>,
    /// The frames; several if the change is large.
    pub(crate) parts: Vec<Rc<[u8]>>,
}

impl EncodedChange {
    /// Whether a reader of this kind can apply the frames.
    pub(crate) fn suits(&self, position: &Position) -> bool {
        self.folded.is_none_or(|reader| reader == position.reader)
    }

    /// Bytes of the frames.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}
