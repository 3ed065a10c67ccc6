//! The key of a user: a small number that stands for it for as long as it has a connection.

/// The key of a user in the table of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserKey(u32);

impl UserKey {
    /// No key is lower.
    pub(crate) const FIRST: Self = Self(0);
    /// No key is higher.
    pub(crate) const LAST: Self = Self(u32::MAX);

    pub(crate) fn at(index: usize) -> Self {
        Self(index as u32)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
