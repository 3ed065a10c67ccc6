//! What a worker watches on the board. Fixed for the worker's lifetime, because the engine fixes it for a
//! connection's.

use crate::protocol::{Text, Watch as WireWatch};

/// What to watch on the board: prefixes of names for each section, at most 16 per section. The empty prefix matches
/// every name.
///
/// ```
/// use callboard::worker::Watch;
///
/// let everything = Watch::all();
/// let mine = Watch::functions(["orders::", "stock::"]).workers([""]);
/// let provider_only = Watch::nothing();
/// assert_ne!(everything, mine);
/// assert!(provider_only.is_nothing());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    functions: Option<Vec<String>>,
    workers: Option<Vec<String>>,
    bindings: Option<Vec<String>>,
}

impl Watch {
    /// All functions: the default.
    #[must_use]
    pub fn all() -> Self {
        Self::functions([""])
    }

    /// Nothing, for a worker that only provides.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            functions: None,
            workers: None,
            bindings: None,
        }
    }

    /// Functions whose names begin with one of these.
    #[must_use]
    pub fn functions<P: Into<String>>(prefixes: impl IntoIterator<Item = P>) -> Self {
        Self {
            functions: Some(list(prefixes)),
            ..Self::nothing()
        }
    }

    /// Also the workers whose names begin with one of these, and their functions.
    #[must_use]
    pub fn workers<P: Into<String>>(mut self, prefixes: impl IntoIterator<Item = P>) -> Self {
        self.workers = Some(list(prefixes));
        self
    }

    /// Also the bindings to events whose names begin with one of these.
    #[must_use]
    pub fn bindings<P: Into<String>>(mut self, prefixes: impl IntoIterator<Item = P>) -> Self {
        self.bindings = Some(list(prefixes));
        self
    }

    /// Whether it matches nothing: the engine then sends no board at all.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let sections = [&self.functions, &self.workers, &self.bindings];
        sections.into_iter().flatten().all(Vec::is_empty)
    }

    /// Whether the section `workers` is watched.
    #[must_use]
    pub fn sees_workers(&self) -> bool {
        self.workers.is_some()
    }

    /// Its form on the wire.
    pub(super) fn to_wire(&self) -> WireWatch<'_> {
        fn borrow(prefixes: Option<&Vec<String>>) -> Option<Vec<Text<'_>>> {
            prefixes.map(|list| list.iter().map(|prefix| Text(prefix)).collect())
        }
        WireWatch {
            functions: borrow(self.functions.as_ref()),
            workers: borrow(self.workers.as_ref()),
            bindings: borrow(self.bindings.as_ref()),
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::all()
    }
}

fn list<P: Into<String>>(prefixes: impl IntoIterator<Item = P>) -> Vec<String> {
    prefixes.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_are_nothing() {
        let empty: [&str; 0] = [];
        assert!(Watch::functions(empty).workers(empty).is_nothing());
        assert!(!Watch::functions(empty).bindings(["cron::"]).is_nothing());
    }
}
