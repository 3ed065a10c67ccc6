//! Parked calls: lists of calls that wait for a provider with room, by function and user. Lists only; the table holds
//! the calls.

use std::collections::{BTreeMap, HashMap};

use crate::engine::registry::entry::Name;
use crate::engine::rng::HashKeys;
use crate::engine::user_key::UserKey;

use super::list::CallList;

/// The key that calls are parked under: a function, the only worker that may run them, if the caller named one, and the
/// user of the callers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ParkKey {
    pub(crate) function: Name,
    pub(crate) worker: Option<u64>,
    pub(crate) user: UserKey,
}

/// The lists of one function, by worker and user.
type ListsOfFunction = BTreeMap<(Option<u64>, UserKey), CallList>;

/// The lists of parked calls of one namespace.
#[derive(Debug)]
pub(crate) struct ParkedLists {
    lists: HashMap<Name, ListsOfFunction, HashKeys>,
    /// Number of lists.
    len: usize,
}

impl ParkedLists {
    pub(super) fn new(keys: HashKeys) -> Self {
        Self {
            lists: HashMap::with_hasher(keys),
            len: 0,
        }
    }

    /// Number of keys with parked calls.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, key: &ParkKey) -> bool {
        self.get(key).is_some()
    }

    /// The keys of the calls to a function that a worker may run.
    pub(crate) fn keys_for(&self, function: &Name, worker: u64) -> Vec<ParkKey> {
        let Some(lists) = self.lists.get(function) else {
            return Vec::new();
        };
        let of = |worker: Option<u64>| {
            let users = lists.range((worker, UserKey::FIRST)..=(worker, UserKey::LAST));
            users.map(move |(&(worker, user), _)| ParkKey {
                function: function.clone(),
                worker,
                user,
            })
        };
        of(None).chain(of(Some(worker))).collect()
    }

    pub(super) fn get(&self, key: &ParkKey) -> Option<CallList> {
        let lists = self.lists.get(&key.function)?;
        lists.get(&(key.worker, key.user)).copied()
    }

    /// Replaces a list. An empty one is removed.
    pub(super) fn set(&mut self, key: &ParkKey, list: CallList) {
        let place = (key.worker, key.user);
        if !list.is_empty() {
            let lists = self.lists.entry(key.function.clone()).or_default();
            self.len += usize::from(lists.insert(place, list).is_none());
            return;
        }
        let Some(lists) = self.lists.get_mut(&key.function) else {
            return;
        };
        self.len -= usize::from(lists.remove(&place).is_some());
        if lists.is_empty() {
            self.lists.remove(&key.function);
        }
    }

    /// All lists. Checks their number.
    #[cfg(debug_assertions)]
    pub(super) fn all(&self) -> Vec<(ParkKey, CallList)> {
        let mut all = Vec::new();
        for (function, lists) in &self.lists {
            assert!(!lists.is_empty(), "no list of {function}");
            all.extend(lists.iter().map(|(&(worker, user), &list)| {
                let function = function.clone();
                let key = ParkKey {
                    function,
                    worker,
                    user,
                };
                (key, list)
            }));
        }
        assert_eq!(all.len(), self.len, "lists of parked calls");
        all
    }
}
