//! The slots of functions by their names. A table that grows moves all that is in it. So that no step has to wait for a
//! million moves, the index is divided into shards that grow by themselves; and so that a move reads no name, which no
//! cache holds, each hash is kept.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::engine::rng::HashKeys;

use super::entry::Name;

/// Shards of a large index.
const SHARDS: usize = 256;

/// Names in the first shard before others are added.
const NAMES_ALONE: usize = 4096;

/// A name and its slot.
#[derive(Debug)]
struct Named {
    name: Name,
    slot: u32,
    hash: u32,
}

/// Slots by name.
#[derive(Debug)]
pub(super) struct NameIndex {
    keys: HashKeys,
    /// One, until the index is large.
    shards: Vec<HashTable<Named>>,
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
        let hash = self.hash(name);
        let is_it = |it: &Named| it.hash == hash && *it.name == *name;
        let found = self.shards[self.shard_of(hash)].find(spread(hash), is_it);
        found.map(|it| (&it.name, it.slot as usize))
    }

    /// Adds a name that is not there.
    ///
    /// # Panics
    /// If the slot is beyond four billions: no memory holds so many functions.
    pub(super) fn insert(&mut self, name: Name, slot: usize) {
        if self.len == NAMES_ALONE && self.shards.len() == 1 {
            self.split();
        }
        let hash = self.hash(&name);
        let slot = slot.try_into().expect("a slot fits into 32 bits");
        self.add(Named { name, slot, hash });
        self.len += 1;
    }

    /// Removes a name that is at this slot.
    pub(super) fn remove(&mut self, name: &str, slot: usize) {
        let hash = self.hash(name);
        let shard = self.shard_of(hash);
        // The slot tells which one it is, and is at hand.
        let is_it = |it: &Named| it.slot as usize == slot;
        if let Ok(found) = self.shards[shard].find_entry(spread(hash), is_it) {
            found.remove();
            self.len -= 1;
        }
    }

    fn add(&mut self, named: Named) {
        let hash = named.hash;
        let shard = self.shard_of(hash);
        self.shards[shard].insert_unique(spread(hash), named, |it| spread(it.hash));
    }

    fn hash(&self, name: &str) -> u32 {
        self.keys.hash_one(name) as u32
    }

    fn shard_of(&self, hash: u32) -> usize {
        match self.shards.len() {
            1 => 0,
            // The table within looks at the other bits.
            shards => (hash >> 16) as usize % shards,
        }
    }

    fn split(&mut self) {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        let whole = std::mem::replace(&mut self.shards, shards);
        for named in whole.into_iter().flatten() {
            self.add(named);
        }
    }
}

/// A hash as a table wants it: it looks at the first bits and at the last ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
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
            index.remove(&name(number), number);
            index.remove("nobody::knows", count);
        }
        assert_eq!((index.len(), index.get(&name(0))), (0, None));
    }
}
