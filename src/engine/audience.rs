//! An audience: the connections of a namespace that want to see and may see the same. A change is encoded
//! once for all of them. Knows which names it covers and which frames it encoded last; never sends.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;

use crate::protocol::{Text, Watch};

use super::ConnId;
use super::board::split_binding_key;
use super::chance::Keyed;
use super::outbox::{Position, Within};
use super::part::Section;
use super::rights::{Rules, beneath, common, is_under, shortest, without};

/// A watch in its normal form: prefixes sorted, without any that a shorter one covers. An empty list
/// means that the section is not watched at all. Or what rights leave of a watch: see [`Cover::within`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Cover {
    functions: Box<[Box<str>]>,
    workers: Box<[Box<str>]>,
    /// Of events.
    bindings: Box<[Box<str>]>,
    /// Functions under those prefixes that may not be seen all the same.
    unseen: Box<[Box<str>]>,
    /// Which functions may be seen as what workers provide, which events and functions as what is bound;
    /// all of them, if there is nothing here.
    sight: Option<Rc<Rules>>,
}

impl Cover {
    /// What a HELLO asked for. Without a word about it: all functions.
    pub(super) fn new(watch: Option<&Watch<'_>>) -> Self {
        let Some(watch) = watch else {
            return Self {
                functions: Box::new(["".into()]),
                ..Self::default()
            };
        };
        let normal = |prefixes: &Option<Vec<Text<'_>>>| {
            shortest(prefixes.iter().flatten().map(|prefix| prefix.0))
        };
        Self {
            functions: normal(&watch.functions),
            workers: normal(&watch.workers),
            bindings: normal(&watch.bindings),
            ..Self::default()
        }
    }

    /// What rights to observe leave of this watch. Nothing beyond what makes a difference, so that those
    /// who see the same are one audience.
    pub(super) fn within(&self, rules: &Rc<Rules>) -> Self {
        let visible = |prefixes| without(common(prefixes, rules.allow()), rules.deny());
        let functions = visible(&self.functions);
        let bindings = visible(&self.bindings);
        let workers = if rules.allow().is_empty() {
            Box::default()
        } else {
            self.workers.clone()
        };
        let is_plain = bindings.is_empty() && workers.is_empty();
        Self {
            unseen: beneath(rules.deny(), &functions),
            sight: (!is_plain).then(|| rules.clone()),
            functions,
            workers,
            bindings,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.functions.is_empty() && self.workers.is_empty() && self.bindings.is_empty()
    }

    /// The prefixes of a section, in order; no one of them covers another.
    pub(super) fn prefixes(&self, section: Section) -> &[Box<str>] {
        match section {
            Section::Functions => &self.functions,
            Section::Workers => &self.workers,
            Section::Bindings => &self.bindings,
        }
    }

    /// Whether all functions are seen.
    pub(super) fn is_all_functions(&self) -> bool {
        matches!(&*self.functions, [only] if only.is_empty()) && self.unseen.is_empty()
    }

    /// Whether an entry that is under one of the section's prefixes may be seen.
    pub(super) fn shows(&self, section: Section, key: &str) -> bool {
        match section {
            Section::Functions => self.unseen.is_empty() || !is_under(key, &self.unseen),
            // What of a worker may be seen is another question: see [`super::sight`].
            Section::Workers => true,
            Section::Bindings => self.sight.as_ref().is_none_or(|rules| {
                let (event, function, _) = split_binding_key(key);
                rules.allows(event) && rules.allows(function)
            }),
        }
    }

    /// Whether an entry is seen.
    pub(super) fn covers(&self, section: Section, key: &str) -> bool {
        is_under(key, self.prefixes(section)) && self.shows(section, key)
    }

    /// The rules for what of a worker is seen, if that is not everything.
    pub(super) fn sight(&self) -> Option<&Rc<Rules>> {
        self.sight.as_ref()
    }

    /// Stands for the watch and the rights in a resume point; for rights as of one `edition`, since a view may have
    /// followed others in between. Good within one epoch: the hash keys are the boot's.
    pub(super) fn digest(&self, edition: u64, keys: Keyed) -> [u8; 8] {
        keys.hash_one((self, edition)).to_be_bytes()
    }
}

/// What a reader has when a fold of several steps reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reader {
    /// Exactly the board of a revision: what came and went since need not be mentioned.
    #[default]
    Exact,
    /// Chunks of later revisions: it may have what came and went since, so each removal counts.
    Fuzzy,
}

/// A change of an audience, encoded: good for every reader at a revision in `from..first`.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The revision that the frames name as their beginning.
    pub(super) from: u64,
    /// The first revision whose changes are in the frames.
    pub(super) first: u64,
    /// The revision that the frames lead to.
    pub(super) to: u64,
    /// Several steps in one: who reads it must have begun as the fold assumes.
    pub(super) folded: Option<Reader>,
    /// The frames; more than one when the change is large.
    pub(super) parts: Vec<Rc<[u8]>>,
}

impl Encoded {
    fn suits(&self, position: &Position) -> bool {
        self.folded.is_none_or(|reader| reader == position.reader)
    }
}

/// Encoded changes kept for those who are not far behind. The rest comes out of the log again. A fan-out goes on over
/// several turns, so that its readers stand at some ten revisions at a time; where they had to be encoded anew for each
/// other, each who stalls in the midst of a frame would hold one of his own.
const ENCODED_KEPT: usize = 32;

/// Connections that see the same.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) cover: Rc<Cover>,
    pub(super) members: Vec<ConnId>,
    /// Members that are still to be looked at because there is news, from `next` on, round the end.
    pub(super) unvisited: usize,
    next: usize,
    /// The last revision that concerned this audience: a member at it has everything.
    pub(super) last: u64,
    /// The one before.
    pub(super) previous: u64,
    encoded: VecDeque<Encoded>,
}

impl Audience {
    pub(super) fn new(cover: Rc<Cover>, revision: u64) -> Self {
        Self {
            cover,
            members: Vec::new(),
            unvisited: 0,
            next: 0,
            last: revision,
            previous: revision,
            encoded: VecDeque::new(),
        }
    }

    /// A step was sealed that this audience is to hear of.
    pub(super) fn concern(&mut self, revision: u64) {
        self.previous = self.last;
        self.last = revision;
    }

    /// Adds a member; it counts as unvisited if any do. Returns its place.
    pub(super) fn add(&mut self, member: ConnId) -> usize {
        self.members.push(member);
        self.unvisited += usize::from(self.unvisited > 0);
        self.members.len() - 1
    }

    /// Removes the member at `place`. The last one moves there: whether it was visited is not known any more.
    pub(super) fn remove(&mut self, place: usize) -> Option<ConnId> {
        self.members.swap_remove(place);
        self.unvisited = self.unvisited.min(self.members.len());
        if self.next >= self.members.len() {
            self.next = 0;
        }
        self.members.get(place).copied()
    }

    /// The next member that is to be looked at.
    pub(super) fn visit(&mut self) -> Option<ConnId> {
        self.unvisited = self.unvisited.checked_sub(1)?;
        let member = self.members[self.next];
        self.next = (self.next + 1) % self.members.len();
        Some(member)
    }

    /// Frames that lead a reader on, if some are kept.
    pub(super) fn encoded_for(&self, position: &Position) -> Option<&Encoded> {
        self.encoded.iter().rev().find(|encoded| {
            encoded.suits(position) && encoded.from <= position.told && position.at < encoded.first
        })
    }

    /// The frames in whose midst a reader is, if they are kept.
    pub(super) fn encoded_between(&self, position: &Position, within: Within) -> Option<&Encoded> {
        self.encoded.iter().rev().find(|encoded| {
            encoded.suits(position) && encoded.from == within.from && encoded.to == within.to
        })
    }

    pub(super) fn keep(&mut self, encoded: Encoded) {
        if self.encoded.len() == ENCODED_KEPT {
            self.encoded.pop_front();
        }
        self.encoded.push_back(encoded);
    }

    /// Keeps the newest of them only: somebody is just to read it.
    pub(super) fn forget_older(&mut self) {
        if let Some(newest) = self.encoded.pop_back() {
            self.encoded = VecDeque::from([newest]);
        }
    }

    /// Gives the memory of kept frames back.
    pub(super) fn forget_encoded(&mut self) {
        self.encoded = VecDeque::new();
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        self.encoded
            .iter()
            .flat_map(|encoded| &encoded.parts)
            .map(|part| part.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Text;

    fn cover(prefixes: &[&'static str]) -> Cover {
        let functions = Some(prefixes.iter().map(|&prefix| Text(prefix)).collect());
        Cover::new(Some(&Watch {
            functions,
            ..Watch::default()
        }))
    }

    #[test]
    fn the_same_watch_in_other_words_is_the_same_audience() {
        assert_eq!(
            cover(&["b::", "a::", "a::x", "b::"]),
            cover(&["a::", "b::"])
        );
        assert_eq!(cover(&["a", ""]), Cover::new(None));
        assert_ne!(cover(&["a"]), cover(&["b"]));
        assert!(cover(&[]).is_nothing());
    }

    #[test]
    fn a_cover_is_a_matter_of_prefixes() {
        let cover = cover(&["orders::", "pay"]);
        assert!(cover.covers(Section::Functions, "orders::create"));
        assert!(cover.covers(Section::Functions, "payments"));
        assert!(!cover.covers(Section::Functions, "order"));
        assert!(!cover.covers(Section::Workers, "orders::create"));
    }

    #[test]
    fn those_who_may_and_want_to_see_the_same_are_one_audience() {
        let rules = |allow: &[&'static str], deny: &[&'static str]| {
            Rc::new(Rules::new(allow.iter().copied(), deny.iter().copied()))
        };
        let all = Cover::new(None);
        let orders = all.within(&rules(&["orders::"], &[]));
        assert_eq!(orders, cover(&["orders::"]));
        assert_eq!(
            cover(&["orders::", "pay::"]).within(&rules(&["orders::", "x"], &["y"])),
            orders
        );
        let holed = all.within(&rules(&["orders::"], &["orders::secret"]));
        assert_ne!(holed, orders);
        assert!(holed.covers(Section::Functions, "orders::create"));
        assert!(!holed.covers(Section::Functions, "orders::secret::x"));
        assert!(all.within(&rules(&[], &[])).is_nothing());
        assert!(
            cover(&["orders::secret"])
                .within(&rules(&[""], &["orders::"]))
                .is_nothing()
        );
    }

    #[test]
    fn a_binding_is_seen_if_event_and_function_are() {
        let watch = Watch {
            bindings: Some(vec![Text("")]),
            ..Watch::default()
        };
        let rules = Rc::new(Rules::new(["a::", "b::"], ["a::x"]));
        let cover = Cover::new(Some(&watch)).within(&rules);
        for (key, seen) in [
            ("a::e\0b::f\0", true),
            ("a::e\0c::f\0", false),
            ("c::e\0b::f\0", false),
            ("a::e\0a::x\0", false),
            ("a::x\0b::f\0", false),
        ] {
            assert_eq!(cover.covers(Section::Bindings, key), seen, "{key:?}");
        }
    }
}
