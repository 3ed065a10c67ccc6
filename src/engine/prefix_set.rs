//! A set of name prefixes in normal form: sorted, none of them a prefix of another. Two sets that match the same
//! names are equal, so watches and rights can be compared and hashed. Knows nothing of what the names name.

use super::ceiling::PREFIX;

/// A set of prefixes; matches every name that begins with one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct PrefixSet(Box<[Box<str>]>);

impl PrefixSet {
    /// The normal form of these prefixes: those that a shorter one covers are left out.
    pub(crate) fn new<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<&str> = prefixes.into_iter().collect();
        sorted.sort_unstable();
        let mut kept: Vec<Box<str>> = Vec::new();
        for prefix in sorted {
            // In sorted order, everything that a prefix covers follows it directly.
            if !kept.last().is_some_and(|last| prefix.starts_with(&**last)) {
                kept.push(prefix.into());
            }
        }
        Self(kept.into_boxed_slice())
    }

    /// Whether `name` begins with one of the prefixes. O(prefixes).
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|prefix| name.starts_with(&**prefix))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every name matches.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(&*self.0, [only] if only.is_empty())
    }

    /// Bytes of the prefixes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|prefix| PREFIX + prefix.len()).sum()
    }

    /// The prefixes in order.
    pub(crate) fn as_slice(&self) -> &[Box<str>] {
        &self.0
    }

    /// The names that both sets match.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut all: Vec<&str> = Vec::new();
        for a in &self.0 {
            for b in &other.0 {
                if a.starts_with(&**b) {
                    all.push(a);
                } else if b.starts_with(&**a) {
                    all.push(b);
                }
            }
        }
        Self::new(all)
    }

    /// Without the prefixes that `denied` covers entirely.
    pub(crate) fn without(self, denied: &Self) -> Self {
        let mut kept = self.0.into_vec();
        kept.retain(|prefix| !denied.matches(prefix));
        Self(kept.into_boxed_slice())
    }

    /// Only the prefixes that lie under one of `outer`.
    pub(crate) fn beneath(&self, outer: &Self) -> Self {
        let kept = self.0.iter().filter(|prefix| outer.matches(prefix));
        Self(kept.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(prefixes: &[&'static str]) -> PrefixSet {
        PrefixSet::new(prefixes.iter().copied())
    }

    #[test]
    fn two_sets_intersect_in_the_longer_prefix_of_each_pair() {
        assert_eq!(set(&[""]).intersection(&set(&["a", "b"])), set(&["a", "b"]));
        assert_eq!(
            set(&["a::b", "c"]).intersection(&set(&["a", "cd"])),
            set(&["a::b", "cd"])
        );
        assert_eq!(set(&["a"]).intersection(&set(&["b"])), set(&[]));
    }

    #[test]
    fn the_normal_form_has_no_prefix_that_another_covers() {
        assert_eq!(
            set(&["b", "a", "ab", "b"]).as_slice(),
            [Box::from("a"), Box::from("b")]
        );
        assert!(set(&["a", ""]).is_everything());
        assert_eq!(set(&["a", "b"]).without(&set(&["a"])), set(&["b"]));
        assert_eq!(set(&["a::x", "c"]).beneath(&set(&["a"])), set(&["a::x"]));
    }
}
