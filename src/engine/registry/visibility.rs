//! Visibility of workers to readers with partial rights. Such a reader sees a worker while the worker provides a
//! function that the reader may see, and sees only those functions. Each change of a worker records, for each set of
//! rules, whether the worker was visible before and is visible after. Encodes nothing.

use std::rc::Rc;

use crate::engine::access::rights::Rules;

/// The different rules by which readers with partial rights observe a namespace.
#[derive(Debug, Clone)]
pub(crate) struct ObserverRules {
    all: Rc<[Rc<Rules>]>,
    /// Number of times they were replaced.
    edition: u32,
}

impl Default for ObserverRules {
    fn default() -> Self {
        Self {
            all: Rc::new([]),
            edition: 0,
        }
    }
}

impl ObserverRules {
    /// Replaces the rules. Returns the older ones; counts of those are to be taken again.
    pub(crate) fn replace(&mut self, rules: Vec<Rc<Rules>>) -> Self {
        let newer = Self {
            all: rules.into(),
            edition: self.edition.wrapping_add(1),
        };
        std::mem::replace(self, newer)
    }

    /// Whether these counts are of these rules.
    pub(crate) fn counted(&self, counts: &VisibleCounts) -> bool {
        counts.edition == self.edition
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
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
        self.counts(|_| 0)
    }

    /// Counts of `older` rules, carried over to the rules that are unchanged; 0 for new ones.
    pub(crate) fn carry_over(&self, counts: &VisibleCounts, older: &Self) -> VisibleCounts {
        self.counts(|rules| index_of(&older.all, rules).map_or(0, |index| counts.of_each[index]))
    }

    fn counts(&self, count: impl Fn(&Rc<Rules>) -> u32) -> VisibleCounts {
        VisibleCounts {
            of_each: self.all.iter().map(count).collect(),
            edition: self.edition,
        }
    }

    pub(crate) fn add(&self, counts: &mut VisibleCounts, name: &str) {
        for (rules, count) in self.all.iter().zip(&mut counts.of_each) {
            *count += u32::from(rules.allows(name));
        }
    }

    pub(crate) fn remove(&self, counts: &mut VisibleCounts, name: &str) {
        for (rules, count) in self.all.iter().zip(&mut counts.of_each) {
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
        let counts = before.of_each.iter().zip(&after.of_each);
        Some(Rc::new(Visibility {
            rules: self.all.clone(),
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
        &self.all
    }
}

fn index_of(all: &[Rc<Rules>], rules: &Rc<Rules>) -> Option<usize> {
    all.iter()
        .position(|it| Rc::ptr_eq(it, rules) || it == rules)
}

/// For each set of rules, how many functions of one worker are visible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VisibleCounts {
    of_each: Box<[u32]>,
    /// That of the rules.
    edition: u32,
}

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
