//! Parked calls: lists of calls that wait for a provider with room, by function. Lists only; the table holds the calls.

use std::collections::HashMap;

use crate::engine::registry::entry::Name;
use crate::engine::rng::HashKeys;

use super::list::CallList;

/// The key that calls are parked under: a function, and the only worker that may run them, if the caller named one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ParkKey {
    pub(crate) function: Name,
    pub(crate) worker: Option<u64>,
}

/// The lists of parked calls of one namespace.
#[derive(Debug)]
pub(crate) struct ParkedLists(HashMap<ParkKey, CallList, HashKeys>);

impl ParkedLists {
    pub(super) fn new(keys: HashKeys) -> Self {
        Self(HashMap::with_hasher(keys))
    }

    /// Number of keys with parked calls.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, key: &ParkKey) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn get(&self, key: &ParkKey) -> Option<CallList> {
        self.0.get(key).copied()
    }

    pub(super) fn entry(&mut self, key: ParkKey) -> &mut CallList {
        self.0.entry(key).or_default()
    }

    pub(super) fn get_mut(&mut self, key: &ParkKey) -> Option<&mut CallList> {
        self.0.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: &ParkKey) {
        self.0.remove(key);
    }

    #[cfg(debug_assertions)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ParkKey, &CallList)> {
        self.0.iter()
    }
}
