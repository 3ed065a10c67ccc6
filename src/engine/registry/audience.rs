//! An audience: the connections of a namespace with the same filter. A change is encoded once for all of them. Tracks
//! its members and the frames it encoded last; never sends.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::engine::interface::ConnId;

use super::encoded_change::EncodedChange;
use super::filter::WatchFilter;
use super::position::{PartPosition, Position};

/// Encoded changes that an audience caches for readers that are not far behind; older ones are encoded again from the
/// log. A fan-out takes several turns, so its readers are spread over some ten revisions. With too small a cache, each
/// reader that stalls within a frame would hold an encoding of its own.
const CACHED_CHANGES: usize = 32;

/// Changes of a step from which on encoding it takes longer than writing it.
pub(super) const LARGE: usize = 256;

/// Connections with the same filter, and the changes encoded for them.
#[derive(Debug)]
pub(crate) struct Audience {
    filter: Rc<WatchFilter>,
    members: Vec<ConnId>,
    /// Members that have not been visited since the last change: from `next` on, wrapping around.
    unvisited: usize,
    next: usize,
    /// The last revision that concerned this audience: a member at it is up to date.
    last: u64,
    /// The one before.
    previous: u64,
    /// A change that members have not been visited for takes long to encode.
    has_large_change: bool,
    encoded: VecDeque<EncodedChange>,
}

impl Audience {
    pub(super) fn new(filter: Rc<WatchFilter>, revision: u64) -> Self {
        Self {
            filter,
            members: Vec::new(),
            unvisited: 0,
            next: 0,
            last: revision,
            previous: revision,
            has_large_change: false,
            encoded: VecDeque::new(),
        }
    }

    /// Revision `revision` was sealed, and has so many changes for this audience.
    pub(super) fn mark_changed(&mut self, revision: u64, changes: usize) {
        self.previous = self.last;
        self.last = revision;
        self.has_large_change &= self.unvisited > 0;
        self.has_large_change |= changes >= LARGE;
    }

    /// Whether members have not been visited for a change that takes long to encode.
    pub(crate) fn has_large_change(&self) -> bool {
        self.has_large_change
    }

    /// Adds a member; it counts as unvisited if any member does. Returns its place.
    pub(super) fn add(&mut self, member: ConnId) -> usize {
        self.members.push(member);
        self.unvisited += usize::from(self.unvisited > 0);
        self.members.len() - 1
    }

    /// Removes the member at `place`. The last member moves there and is returned: it may have been skipped.
    pub(super) fn remove(&mut self, place: usize) -> Option<ConnId> {
        self.members.swap_remove(place);
        self.unvisited = self.unvisited.min(self.members.len());
        if self.next >= self.members.len() {
            self.next = 0;
        }
        self.members.get(place).copied()
    }

    /// The next unvisited member.
    pub(crate) fn visit_next(&mut self) -> Option<ConnId> {
        self.unvisited = self.unvisited.checked_sub(1)?;
        let member = self.members[self.next];
        self.next = (self.next + 1) % self.members.len();
        Some(member)
    }

    /// Cached frames for a reader at this position.
    pub(super) fn encoded_for(&self, position: &Position) -> Option<&EncodedChange> {
        self.encoded.iter().rev().find(|encoded| {
            encoded.suits(position) && encoded.from <= position.told && position.at < encoded.first
        })
    }

    /// The cached frames of which a reader has received a part.
    pub(super) fn encoded_within(
        &self,
        position: &Position,
        within: PartPosition,
    ) -> Option<&EncodedChange> {
        self.encoded.iter().rev().find(|encoded| {
            encoded.suits(position) && encoded.from == within.from && encoded.to == within.to
        })
    }

    /// Caches an encoded change, in place of the oldest.
    pub(super) fn cache(&mut self, encoded: EncodedChange) {
        if self.encoded.len() == CACHED_CHANGES {
            self.encoded.pop_front();
        }
        self.encoded.push_back(encoded);
    }

    /// Evicts all cached frames but the newest, which is about to be read.
    pub(super) fn evict_older(&mut self) {
        if let Some(newest) = self.encoded.pop_back() {
            self.encoded = VecDeque::from([newest]);
        }
    }

    /// Evicts all cached frames and frees their memory.
    pub(super) fn evict_all(&mut self) {
        self.encoded = VecDeque::new();
    }

    /// Bytes of cached frames.
    pub(super) fn cached_bytes(&self) -> usize {
        self.encoded.iter().map(EncodedChange::bytes).sum()
    }

    pub(crate) fn filter(&self) -> &Rc<WatchFilter> {
        &self.filter
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn unvisited(&self) -> usize {
        self.unvisited
    }

    /// All members have to be visited again. Returns whether none had to be before.
    pub(crate) fn mark_unvisited(&mut self) -> bool {
        std::mem::replace(&mut self.unvisited, self.members.len()) == 0
    }

    /// The last revision that concerned this audience: a member at it is up to date.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The last but one revision that concerned this audience.
    pub(super) fn previous(&self) -> u64 {
        self.previous
    }
}

#[cfg(debug_assertions)]
impl Audience {
    pub(super) fn check_books(&self, revision: u64) {
        let Self {
            filter: _,
            members,
            unvisited,
            next,
            last,
            previous,
            has_large_change: _,
            encoded,
        } = self;
        assert!(*unvisited <= members.len() && *next < members.len());
        assert!(previous <= last && *last <= revision, "{previous} {last}");
        assert!(encoded.len() <= CACHED_CHANGES);
    }

    pub(super) fn all_members(&self) -> &[ConnId] {
        &self.members
    }

    pub(super) fn has_cached(&self) -> bool {
        !self.encoded.is_empty()
    }

    /// Whether the member at `place` has not been visited since the last change.
    pub(crate) fn is_unvisited(&self, place: usize) -> bool {
        let count = self.members.len();
        (place + count - self.next) % count < self.unvisited
    }
}
