//! The notes of a provider: the keys of parked calls that it could run. Users take turns; of one user, the call that was
//! parked first comes first. Runs none.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::engine::rng::HashKeys;
use crate::engine::user_key::UserKey;

use super::parking::{ParkKey, ParkedLists};

/// So many notes are kept without checking whether they are stale.
const UNCHECKED: usize = 64;

/// The keys of parked calls that a worker could run.
#[derive(Debug)]
pub(crate) struct ParkedNotes {
    /// By user, and by the ticket of the first call under a key.
    by_user: BTreeMap<UserKey, BTreeMap<u64, ParkKey>>,
    /// All of them, to note each once.
    known: HashSet<ParkKey, HashKeys>,
    /// The user whose call was run last.
    served: Option<UserKey>,
}

impl ParkedNotes {
    pub(super) fn new(keys: HashKeys) -> Self {
        Self {
            by_user: BTreeMap::new(),
            known: HashSet::with_hasher(keys),
            served: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Notes a key whose first call has this ticket.
    pub(crate) fn add(&mut self, ticket: u64, key: ParkKey) {
        if self.known.insert(key.clone()) {
            self.by_user
                .entry(key.user)
                .or_default()
                .insert(ticket, key);
        }
    }

    /// Removes and returns the key that comes next, and the ticket that was noted with it: of the user behind the one
    /// that was served last, the earliest.
    pub(crate) fn pop(&mut self) -> Option<(u64, ParkKey)> {
        let behind = self.served.map_or(Unbounded, Excluded);
        let next = self.by_user.range((behind, Unbounded)).next();
        let user = *next.or_else(|| self.by_user.iter().next())?.0;
        let notes = self.by_user.get_mut(&user)?;
        let (ticket, key) = notes.pop_first()?;
        if notes.is_empty() {
            self.by_user.remove(&user);
        }
        self.known.remove(&key);
        Some((ticket, key))
    }

    /// A call of this user is run.
    pub(crate) fn note_served(&mut self, user: UserKey) {
        self.served = Some(user);
    }

    /// Forgets keys without parked calls, if they are the most of the notes.
    pub(crate) fn prune(&mut self, lists: &ParkedLists) {
        if self.known.len() <= UNCHECKED || self.known.len() <= 2 * lists.len() {
            return;
        }
        self.known.retain(|key| lists.contains(key));
        self.by_user.retain(|_, notes| {
            notes.retain(|_, key| lists.contains(key));
            !notes.is_empty()
        });
    }
}

#[cfg(debug_assertions)]
impl ParkedNotes {
    pub(super) fn check_books(&self) {
        let Self {
            by_user,
            known,
            served: _,
        } = self;
        let mut count = 0;
        for (user, notes) in by_user {
            assert!(!notes.is_empty(), "no notes of {user:?}");
            for key in notes.values() {
                assert!(known.contains(key) && key.user == *user, "{key:?}");
            }
            count += notes.len();
        }
        assert_eq!(count, known.len(), "notes of parked calls");
    }

    /// Whether a key is noted.
    pub(crate) fn contains(&self, key: &ParkKey) -> bool {
        self.known.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    fn key(user: usize, function: &str) -> ParkKey {
        ParkKey {
            function: function.into(),
            worker: None,
            user: UserKey::at(user),
        }
    }

    #[test]
    fn users_take_turns_and_of_one_the_earliest_comes_first() {
        let mut notes = ParkedNotes::new(Rng::new([0; 32]).hash_keys());
        for ticket in 0..6 {
            notes.add(ticket, key(1, &format!("f{ticket}")));
        }
        notes.add(6, key(2, "g"));
        notes.add(7, key(0, "h"));
        // Noted twice, it is there once.
        notes.add(8, key(0, "h"));
        let mut order = Vec::new();
        while let Some((ticket, key)) = notes.pop() {
            notes.note_served(key.user);
            order.push(ticket);
        }
        assert_eq!(order, [7, 0, 6, 1, 2, 3, 4, 5]);
        assert!(notes.is_empty());
    }

    #[test]
    fn a_key_that_was_not_run_costs_its_user_no_turn() {
        let mut notes = ParkedNotes::new(Rng::new([0; 32]).hash_keys());
        notes.add(0, key(0, "stale"));
        notes.add(1, key(0, "f"));
        notes.add(2, key(1, "f"));
        assert_eq!(notes.pop().map(|(ticket, _)| ticket), Some(0));
        assert_eq!(notes.pop().map(|(ticket, _)| ticket), Some(1));
    }
}
