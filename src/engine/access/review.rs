//! The review of live connections after a reload: which of them are still to be judged by the new credentials. Judges
//! none itself.

#[cfg(debug_assertions)]
use std::collections::BTreeSet;

use crate::engine::interface::ConnId;

/// The connections that were admitted by older credentials.
#[derive(Debug, Default)]
pub(crate) struct Review {
    /// Those to be looked at, the next one last.
    left: Vec<ConnId>,
    is_open: bool,
    /// This turn had its slice.
    had_slice: bool,
    is_judging: bool,
    closed: usize,
    changed: usize,
}

impl Review {
    /// Begins anew, with all connections.
    pub(crate) fn start(&mut self, mut connections: Vec<ConnId>) {
        connections.reverse();
        *self = Self {
            left: connections,
            is_open: true,
            ..Self::default()
        };
    }

    /// Whether connections may be left that are not judged.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the review is to go on in this turn. It does.
    pub(crate) fn take_slice(&mut self) -> bool {
        self.is_open && !std::mem::replace(&mut self.had_slice, true)
    }

    pub(crate) fn end_turn(&mut self) {
        self.had_slice = false;
    }

    /// The next connection to look at. It may be judged already.
    pub(crate) fn next(&mut self) -> Option<ConnId> {
        self.left.pop()
    }

    /// No connection is left. Returns how many were closed, and of how many the rights changed.
    pub(crate) fn end(&mut self) -> (usize, usize) {
        self.is_open = false;
        (self.closed, self.changed)
    }

    /// Whether a connection is being judged. What that brings about judges no other one.
    pub(crate) fn is_judging(&self) -> bool {
        self.is_judging
    }

    pub(crate) fn set_judging(&mut self, is_judging: bool) {
        self.is_judging = is_judging;
    }

    /// A connection was closed.
    pub(crate) fn count_closed(&mut self) {
        self.closed += 1;
    }

    /// The rights of a connection changed.
    pub(crate) fn count_changed(&mut self) {
        self.changed += 1;
    }
}

#[cfg(debug_assertions)]
impl Review {
    /// Compares what is left with the connections that are not judged.
    ///
    /// # Panics
    /// If one of those is forgotten.
    pub(crate) fn check_books(&self, unjudged: impl Iterator<Item = ConnId>) {
        let Self {
            left,
            is_open,
            had_slice: _,
            is_judging,
            closed: _,
            changed: _,
        } = self;
        assert!(!is_judging, "the judgement of a connection");
        assert!(*is_open || left.is_empty(), "a review that has ended");
        let left: BTreeSet<ConnId> = left.iter().copied().collect();
        for id in unjudged {
            assert!(left.contains(&id), "{id:?} is forgotten");
        }
    }
}
