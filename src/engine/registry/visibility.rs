//! Visibility of workers to readers with partial rights. Such a reader sees a worker while the worker provides a
//! function that the reader may see, and sees only those functions. Each change of a worker records, for each set of
//! rules, whether the worker was visible before and is visible after. Encodes nothing.

use std::rc::Rc;

use crate::engine::access::rights::Rules;

/// The different rules by which readers with partial rights observe a namespace.
#[derive(Debug, Clone)]
pub(crate) struct ObserverRules(Rc<[Rc<Rules>]>);

impl Default for ObserverRules {
    fn default() -> Self {
        Self(Rc::new([]))
    }
}

impl ObserverRules {
    pub(crate) fn new(rules: Vec<Rc<Rules>>) -> Self {
        Self(rules.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For each set of rules, how many of these functions are visible.
    pub(crate) fn count<'a>(&self, names: impl Iterator<Item = &'a Rc<str>>) -> VisibleCounts {
        let mut counts = self.zero();
        if !self.is_empty() {
            names.for_each(|name| self.add(&mut counts, name));
        }
        counts
    }

    /// The counts of a worker without functions.
    pub(crate) fn zero(&self) -> VisibleCounts {
        VisibleCounts(self.0.iter().map(|_| 0).collect())
    }

    /// Counts of `older` rules, carried over to the rules that are unchanged; 0 for new ones.
    pub(crate) fn carry_over(&self, counts: &VisibleCounts, older: &Self) -> VisibleCounts {
        let count = |rules| index_of(&older.0, rules).map_or(0, |index| counts.0[index]);
        VisibleCounts(self.0.iter().map(count).collect())
    }

    pub(crate) fn add(&self, counts: &mut VisibleCounts, name: &str) {
        for (rules, count) in self.0.iter().zip(&mut counts.0) {
            *count += u32::from(rules.allows(name));
        }
    }

    pub(crate) fn remove(&self, counts: &mut VisibleCounts, name: &str) {
        for (rules, count) in self.0.iter().zip(&mut counts.0) {
            *count -= u32::from(rules.allows(name));
        }
    }

    /// The visibility of a change of a worker from `before` to `after`; `None` if all readers see everything.
    pub(crate) fn visibility(
        &self,
        before: &VisibleCounts,
        after: &VisibleCounts,
        metadata: Option<&Rc<[u8]>>,
    ) -> Option<Rc<Visibility>> {
        if self.is_empty() {
            return None;
        }
        let counts = before.0.iter().zip(&after.0);
        Some(Rc::new(Visibility {
            rules: self.0.clone(),
            transitions: counts
                .map(|(&before, &after)| (before > 0, after > 0))
                .collect(),
            metadata: metadata.cloned(),
        }))
    }
}

#[cfg(debug_assertions)]
impl ObserverRules {
    /// The different rules.
    pub(crate) fn all(&self) -> &[Rc<Rules>] {
        &self.0
    }
}

fn index_of(all: &[Rc<Rules>], rules: &Rc<Rules>) -> Option<usize> {
    all.iter()
        .position(|it| Rc::ptr_eq(it, rules) || it == rules)
}

/// For each set of rules, how many functions of one worker are visible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VisibleCounts(Box<[u32]>);

/// Whether a worker is visible before and after a change, for each set of rules.
#[derive(Debug)]
pub(crate) struct Visibility {
    rules: Rc<[Rc<Rules>]>,
    /// For each set of rules: visible before, visible after.
    transitions: Box<[(bool, bool)]>,
    /// The worker's metadata, for readers to which it is new.
    metadata: Option<Rc<[u8]>>,
}

impl Visibility {
    /// Whether the worker is visible before and after, by these rules.
    pub(crate) fn transition(&self, rules: &Rc<Rules>) -> Option<(bool, bool)> {
        index_of(&self.rules, rules).map(|index| self.transitions[index])
    }

    pub(crate) fn metadata(&self) -> &[u8] {
        self.metadata.as_deref().unwrap_or_default()
    }

    /// Bytes that the change log accounts for it.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.transitions.len() * size_of::<(bool, bool)>()
    }
}
