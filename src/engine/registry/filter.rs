//! A watch filter: which entries a connection is sent, from its watch and its rights. Two connections whose filters
//! are equal share one audience. Knows names only; sends nothing.

use std::hash::BuildHasher;
use std::rc::Rc;

use crate::engine::access::rights::Rules;
use crate::engine::ceiling::WATCH;
use crate::engine::prefix_set::PrefixSet;
use crate::engine::rng::HashKeys;
use crate::protocol::{Text, Watch};

use super::binding_key::split_binding_key;
use super::change::Section;

/// The entries that a watch covers and rights allow, in normal form. A section without prefixes is not watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct WatchFilter {
    functions: PrefixSet,
    workers: PrefixSet,
    /// Prefixes of events.
    bindings: PrefixSet,
    /// Functions under the prefixes that the rights deny.
    denied_functions: PrefixSet,
    /// Which functions are visible as provided by workers, and which events and functions as bound; `None` if all are.
    rules: Option<Rc<Rules>>,
}

impl WatchFilter {
    /// The filter of the watch in a HELLO. The default is all functions.
    pub(crate) fn new(watch: Option<&Watch<'_>>) -> Self {
        let Some(watch) = watch else {
            return Self {
                functions: PrefixSet::new([""]),
                ..Self::default()
            };
        };
        let set = |prefixes: &Option<Vec<Text<'_>>>| {
            PrefixSet::new(prefixes.iter().flatten().map(|prefix| prefix.0))
        };
        Self {
            functions: set(&watch.functions),
            workers: set(&watch.workers),
            bindings: set(&watch.bindings),
            ..Self::default()
        }
    }

    /// This filter restricted by rights to observe. Only differences that matter are kept, so connections that see the
    /// same share one audience.
    pub(crate) fn restricted_by(&self, rules: &Rc<Rules>) -> Self {
        let (allowed, denied) = (rules.allowed(), rules.denied());
        let visible = |prefixes: &PrefixSet| prefixes.intersection(allowed).without(denied);
        let functions = visible(&self.functions);
        let bindings = visible(&self.bindings);
        let workers = if allowed.is_empty() {
            PrefixSet::default()
        } else {
            self.workers.clone()
        };
        let needs_rules = !bindings.is_empty() || !workers.is_empty();
        Self {
            denied_functions: denied.beneath(&functions),
            rules: needs_rules.then(|| rules.clone()),
            functions,
            workers,
            bindings,
        }
    }

    /// Whether nothing is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.workers.is_empty() && self.bindings.is_empty()
    }

    /// Bytes that it takes, about. Rules are the credentials'.
    pub(crate) fn bytes(&self) -> usize {
        WATCH
            + self.functions.bytes()
            + self.workers.bytes()
            + self.bindings.bytes()
            + self.denied_functions.bytes()
    }

    /// The prefixes of a section, in order.
    pub(crate) fn prefixes(&self, section: Section) -> &[Box<str>] {
        self.prefix_set(section).as_slice()
    }

    fn prefix_set(&self, section: Section) -> &PrefixSet {
        match section {
            Section::Functions => &self.functions,
            Section::Workers => &self.workers,
            Section::Bindings => &self.bindings,
        }
    }

    /// Whether the filter passes all functions.
    pub(crate) fn is_all_functions(&self) -> bool {
        self.functions.is_everything() && self.denied_functions.is_empty()
    }

    /// Whether the rights allow an entry that is under one of the section's prefixes.
    pub(crate) fn allows(&self, section: Section, key: &str) -> bool {
        match section {
            Section::Functions => !self.denied_functions.matches(key),
            // Which part of a worker is visible depends on its functions: see `super::visibility`.
            Section::Workers => true,
            Section::Bindings => self.rules.as_ref().is_none_or(|rules| {
                let (event, function, _) = split_binding_key(key);
                rules.allows(event) && rules.allows(function)
            }),
        }
    }

    /// Whether the filter passes an entry.
    pub(crate) fn passes(&self, section: Section, key: &str) -> bool {
        self.prefix_set(section).matches(key) && self.allows(section, key)
    }

    /// The rules for the visible part of a worker; `None` if all of it is visible.
    pub(crate) fn rules(&self) -> Option<&Rc<Rules>> {
        self.rules.as_ref()
    }

    /// Identifies watch and rights in a resume point. Valid within one epoch, since the hash keys are the boot's, and
    /// for one edition of the rights.
    pub(crate) fn digest(&self, edition: u64, keys: HashKeys) -> [u8; 8] {
        keys.hash_one((self, edition)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(prefixes: &[&'static str]) -> WatchFilter {
        let functions = Some(prefixes.iter().map(|&prefix| Text(prefix)).collect());
        WatchFilter::new(Some(&Watch {
            functions,
            ..Watch::default()
        }))
    }

    #[test]
    fn equivalent_watches_are_one_audience() {
        assert_eq!(
            filter(&["b::", "a::", "a::x", "b::"]),
            filter(&["a::", "b::"])
        );
        assert_eq!(filter(&["a", ""]), WatchFilter::new(None));
        assert_ne!(filter(&["a"]), filter(&["b"]));
        assert!(filter(&[]).is_empty());
    }

    #[test]
    fn a_filter_matches_by_prefix() {
        let filter = filter(&["orders::", "pay"]);
        assert!(filter.passes(Section::Functions, "orders::create"));
        assert!(filter.passes(Section::Functions, "payments"));
        assert!(!filter.passes(Section::Functions, "order"));
        assert!(!filter.passes(Section::Workers, "orders::create"));
    }

    #[test]
    fn readers_that_see_the_same_are_one_audience() {
        let rules = |allow: &[&'static str], deny: &[&'static str]| {
            Rc::new(Rules::new(allow.iter().copied(), deny.iter().copied()))
        };
        let all = WatchFilter::new(None);
        let orders = all.restricted_by(&rules(&["orders::"], &[]));
        assert_eq!(orders, filter(&["orders::"]));
        assert_eq!(
            filter(&["orders::", "pay::"]).restricted_by(&rules(&["orders::", "x"], &["y"])),
            orders
        );
        let holed = all.restricted_by(&rules(&["orders::"], &["orders::secret"]));
        assert_ne!(holed, orders);
        assert!(holed.passes(Section::Functions, "orders::create"));
        assert!(!holed.passes(Section::Functions, "orders::secret::x"));
        assert!(all.restricted_by(&rules(&[], &[])).is_empty());
        assert!(
            filter(&["orders::secret"])
                .restricted_by(&rules(&[""], &["orders::"]))
                .is_empty()
        );
    }

    #[test]
    fn a_binding_is_visible_if_its_event_and_its_function_are() {
        let watch = Watch {
            bindings: Some(vec![Text("")]),
            ..Watch::default()
        };
        let rules = Rc::new(Rules::new(["a::", "b::"], ["a::x"]));
        let filter = WatchFilter::new(Some(&watch)).restricted_by(&rules);
        for (key, seen) in [
            ("a::e\0b::f\0", true),
            ("a::e\0c::f\0", false),
            ("c::e\0b::f\0", false),
            ("a::e\0a::x\0", false),
            ("a::x\0b::f\0", false),
        ] {
            assert_eq!(filter.passes(Section::Bindings, key), seen, "{key:?}");
        }
    }
}
