//! A list of calls in the order in which they were added, linked through the table's slab. Holds its ends only; the
//! table links and unlinks.

/// No call.
pub(super) const NONE: u32 = u32::MAX;

/// The ends of a list of calls, as slab keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallList {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl Default for CallList {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
        }
    }
}

impl CallList {
    pub(super) fn is_empty(self) -> bool {
        self.head == NONE
    }
}
