//! An audience: the connections of a namespace that watch the same things. A change is encoded once
//! for all of them. Knows which names it covers and which frames it encoded last; never sends.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::rc::Rc;

use crate::protocol::Watch;

use super::ConnId;
use super::chance::Keyed;
use super::outbox::{Position, Within};
use super::part::Section;

/// A watch in its normal form: prefixes sorted, without any that a shorter one covers. An empty list
/// means that the section is not watched at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Cover {
    functions: Box<[Box<str>]>,
    workers: Box<[Box<str>]>,

    bindings: Box<[Box<str>]>,
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
        let normal = |prefixes: &Option<Vec<_>>| {
            let mut sorted: Vec<Box<str>> = prefixes
                .iter()
                .flatten()
                .map(|prefix: &crate::protocol::Text<'_>| prefix.0.into())
                .collect();
            sorted.sort();
            let mut kept: Vec<Box<str>> = Vec::new();
            for prefix in sorted {
                // Sorted, all that a prefix covers comes right behind it.
                if !kept.last().is_some_and(|last| prefix.starts_with(&**last)) {
                    kept.push(prefix);
                }
            }
            kept.into_boxed_slice()
        };
        Self {
            functions: normal(&watch.functions),
            workers: normal(&watch.workers),
            bindings: normal(&watch.bindings),
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

    /// Whether all of a section is watched.
    pub(super) fn is_all(&self, section: Section) -> bool {
        matches!(self.prefixes(section), [only] if only.is_empty())
    }

    pub(super) fn covers(&self, section: Section, key: &str) -> bool {
        self.prefixes(section)
            .iter()
            .any(|prefix| key.starts_with(&**prefix))
    }

    /// Stands for the watch in a resume point. Good within one epoch: the hash keys are the boot's.
    pub(super) fn digest(&self, keys: Keyed) -> [u8; 8] {
        keys.hash_one(self).to_be_bytes()
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

/// Encoded changes kept for those who are not far behind. The rest comes out of the log again.
const ENCODED_KEPT: usize = 4;

/// Connections with the same watch.
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
}
