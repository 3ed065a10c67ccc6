//! The slots of functions by their names. The index is divided into shards that grow by themselves, since a table that
//! grows hashes all its names again: of a million names at once, that would take a tenth of a second.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::engine::rng::HashKeys;

use super::entry::Name;

/// Shards of a large index.
const SHARDS: usize = 256;

/// Names in the first shard before others are added.
const NAMES_ALONE: usize = 4096;

/// Slots by name. A name is hashed once for each step.
#[derive(Debug)]
pub(super) struct NameIndex {
    keys: HashKeys,
    /// One, until the index is large.
    shards: Vec<HashTable<(Name, usize)>>,
    len: usize,
}

impl NameIndex {
    pub(super) fn new(keys: HashKeys) -> Self {
        Self {
            keys,
            shards: vec![HashTable::new()],
            len: 0,
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.get_key_value(name).map(|(_, slot)| slot)
    }

    /// The stored name, and its slot.
    pub(super) fn get_key_value(&self, name: &str) -> Option<(&Name, usize)> {
        let hash = self.keys.hash_one(name);
        let found = self.shards[self.shard_of(hash)].find(hash, |(it, _)| **it == *name);
        found.map(|(name, slot)| (name, *slot))
    }

    /// Adds a name that is not there.
    pub(super) fn insert(&mut self, name: Name, slot: usize) {
        if self.len == NAMES_ALONE && self.shards.len() == 1 {
            self.split();
        }
        self.add(name, slot);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, name: &str) {
        let hash = self.keys.hash_one(name);
        let shard = self.shard_of(hash);
        if let Ok(found) = self.shards[shard].find_entry(hash, |(it, _)| **it == *name) {
            found.remove();
            self.len -= 1;
        }
    }

    fn add(&mut self, name: Name, slot: usize) {
        let keys = self.keys;
        let hash = keys.hash_one(&*name);
        let shard = self.shard_of(hash);
        self.shards[shard].insert_unique(hash, (name, slot), |(it, _)| keys.hash_one(&**it));
    }

    fn shard_of(&self, hash: u64) -> usize {
        match self.shards.len() {
            1 => 0,
            // The table within looks at the other bits.
            shards => hash.rotate_left(32) as usize % shards,
        }
    }

    fn split(&mut self) {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        let whole = std::mem::replace(&mut self.shards, shards);
        for (name, slot) in whole.into_iter().flatten() {
            self.add(name, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    #[test]
    fn names_are_found_however_many_there_are_and_no_shard_is_much_larger_than_the_others() {
        let mut index = NameIndex::new(Rng::new([7; 32]).hash_keys());
        let name = |number: usize| format!("worker::function{number}");
        let count = 10 * NAMES_ALONE;
        for number in 0..count {
            index.insert(name(number).as_str().into(), number);
            if number == NAMES_ALONE - 1 {
                assert_eq!(index.shards.len(), 1);
            }
        }
        assert_eq!(index.len(), count);
        for number in 0..count {
            let found = index.get_key_value(&name(number));
            assert_eq!(found.map(|(_, slot)| slot), Some(number));
        }
        let largest = index.shards.iter().map(HashTable::len).max().unwrap();
        assert!(largest < 2 * count / SHARDS, "{largest}");
        for number in 0..count {
            index.remove(&name(number));
            index.remove("nobody::knows");
        }
        assert_eq!((index.len(), index.get(&name(0))), (0, None));
    }
}
