//! One section of the board: values by key, with what is known to be out of date marked stale. It can
//! take back what a step did to it, and tell what a step or a replacement made different. It knows
//! neither revisions nor what its values mean.

use std::collections::BTreeMap;

/// A value, and whether it is known to be out of date.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot<V> {
    pub(super) value: V,
    pub(super) stale: bool,
}

/// How a key's value is different from before.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Difference<V> {
    Added(V),
    Removed(Slot<V>),
    Updated(Slot<V>, V),
}

#[derive(Debug, Clone)]
pub(super) struct Shelf<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    /// What the step under way has touched, as it was before.
    touched: BTreeMap<K, Option<Slot<V>>>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            touched: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Shelf<K, V> {
    pub(super) fn slots(&self) -> &BTreeMap<K, Slot<V>> {
        &self.slots
    }

    /// Whether this is there and not stale: what the engine believes us to have.
    pub(super) fn has(&self, key: &K) -> bool {
        self.slots.get(key).is_some_and(|slot| !slot.stale)
    }

    /// Sets a value, fresh.
    pub(super) fn put(&mut self, key: K, value: V) {
        let slot = Slot {
            value,
            stale: false,
        };
        let before = self.slots.insert(key.clone(), slot);
        self.touched.entry(key).or_insert(before);
    }

    /// Takes a value away, if it is there.
    pub(super) fn take(&mut self, key: &K) {
        if let Some(before) = self.slots.remove(key) {
            self.touched.entry(key.clone()).or_insert(Some(before));
        }
    }

    /// The step failed: as if it had never been.
    pub(super) fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.touched) {
            match before {
                Some(slot) => drop(self.slots.insert(key, slot)),
                None => drop(self.slots.remove(&key)),
            }
        }
    }

    /// The step is whole: what it made different, by key. What was stale and came back as it was is no
    /// difference.
    pub(super) fn commit(&mut self) -> Vec<Difference<V>> {
        std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|(key, before)| difference(before, self.slots.get(&key)))
            .collect()
    }

    /// Takes the place of `old`: what that makes different, by key. What only `old` had stays, marked
    /// stale, if `keep` says so.
    pub(super) fn replace(
        &mut self,
        old: Self,
        keep: impl Fn(&Slot<V>) -> bool,
    ) -> Vec<Difference<V>> {
        self.touched.clear();
        let mut differences = Vec::new();
        let mut old = old.slots;
        for (key, slot) in &self.slots {
            differences.extend(difference(old.remove(key), Some(slot)));
        }
        for (key, mut slot) in old {
            if keep(&slot) {
                slot.stale = true;
                self.slots.insert(key, slot);
            } else {
                differences.push(Difference::Removed(slot));
            }
        }
        differences
    }

    /// Takes away all that is stale.
    pub(super) fn drop_stale(&mut self) -> Vec<Difference<V>> {
        let all = std::mem::take(&mut self.slots).into_iter();
        let (stale, fresh): (Vec<_>, Vec<_>) = all.partition(|(_, slot)| slot.stale);
        self.slots = fresh.into_iter().collect();
        let gone = stale.into_iter().map(|(_, slot)| slot);
        gone.map(Difference::Removed).collect()
    }

    /// Whether anything is stale.
    pub(super) fn any_stale(&self) -> bool {
        self.slots.values().any(|slot| slot.stale)
    }
}

fn difference<V: Clone + PartialEq>(
    before: Option<Slot<V>>,
    after: Option<&Slot<V>>,
) -> Option<Difference<V>> {
    match (before, after) {
        (None, Some(new)) => Some(Difference::Added(new.value.clone())),
        (Some(old), None) => Some(Difference::Removed(old)),
        (Some(old), Some(new)) if old.value != new.value => {
            Some(Difference::Updated(old, new.value.clone()))
        }
        _ => None,
    }
}
