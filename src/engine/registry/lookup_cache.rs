//! A 64-entry direct-mapped cache in front of the board's name table, for callers that call the same few functions
//! again and again. Adversarial collisions only cost the hash lookup that the cache avoids. Never decides whether an
//! entry is still valid.

use super::entry::Name;

/// Entries of the cache.
const ENTRIES: usize = 64;

/// Slots of recently looked up names.
#[derive(Debug, Default)]
pub(super) struct LookupCache {
    /// Allocated with the first lookup.
    entries: Vec<Option<(Name, usize)>>,
}

impl LookupCache {
    /// The cached name and slot for `name`. The caller checks that the slot still holds that name.
    pub(super) fn get(&self, name: &str) -> Option<(&Name, usize)> {
        let (known, slot) = self.entries.get(index_of(name))?.as_ref()?;
        (**known == *name).then_some((known, *slot))
    }

    pub(super) fn insert(&mut self, name: &Name, slot: usize) {
        if self.entries.is_empty() {
            self.entries.resize(ENTRIES, None);
        }
        self.entries[index_of(name)] = Some((name.clone(), slot));
    }
}

/// The entry of a name, from its length and its end: most names begin alike.
fn index_of(name: &str) -> usize {
    let bytes = name.as_bytes();
    let end = match bytes.last_chunk::<8>() {
        Some(end) => u64::from_le_bytes(*end),
        None => bytes
            .iter()
            .fold(0, |end, &byte| end << 8 | u64::from(byte)),
    };
    let mixed = (end ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - ENTRIES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_has_the_name_that_was_looked_up() {
        let mut cache = LookupCache::default();
        let names: Vec<Name> = (0..1_000)
            .map(|n| format!("{}f{n}", "a::".repeat(n % 5)).into())
            .collect();
        assert!(cache.get("f0").is_none());
        for (slot, name) in names.iter().enumerate() {
            cache.insert(name, slot);
            assert_eq!(cache.get(name), Some((name, slot)));
            for other in &names[..slot] {
                assert!(cache.get(other).is_none_or(|(found, _)| found == other));
            }
        }
        let found = names.iter().filter(|name| cache.get(name).is_some());
        assert!((ENTRIES / 2..=ENTRIES).contains(&found.count()));
    }

    #[test]
    fn the_functions_of_one_service_do_not_collide() {
        let mut cache = LookupCache::default();
        let names = [
            "orders::create",
            "orders::cancel",
            "orders::list",
            "orders::get",
        ];
        let names = names.map(Name::from);
        for (slot, name) in names.iter().enumerate() {
            cache.insert(name, slot);
        }
        assert!(names.iter().all(|name| cache.get(name).is_some()));
    }
}
