//! One section of the board: values by key, each fresh or stale. Can undo a step, and reports the differences that
//! a step or a replacement made. Knows neither revisions nor the meaning of values.

use std::collections::BTreeMap;

/// A value, and whether it is known to be out of date.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StagedValue<V> {
    pub(super) value: V,
    pub(super) stale: bool,
}

/// How the value of a key changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Difference<V> {
    Added(V),
    Removed(StagedValue<V>),
    Updated(StagedValue<V>, V),
}

#[derive(Debug, Clone)]
pub(super) struct StagedMap<K, V> {
    values: BTreeMap<K, StagedValue<V>>,
    /// Entries touched by the current step, as they were before it.
    touched: BTreeMap<K, Option<StagedValue<V>>>,
}

impl<K, V> Default for StagedMap<K, V> {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            touched: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> StagedMap<K, V> {
    pub(super) fn values(&self) -> &BTreeMap<K, StagedValue<V>> {
        &self.values
    }

    /// Whether this key has a fresh value: what the engine believes the worker to have.
    pub(super) fn has(&self, key: &K) -> bool {
        self.values.get(key).is_some_and(|value| !value.stale)
    }

    /// Sets a fresh value.
    pub(super) fn put(&mut self, key: K, value: V) {
        let value = StagedValue {
            value,
            stale: false,
        };
        let before = self.values.insert(key.clone(), value);
        self.touched.entry(key).or_insert(before);
    }

    /// Removes a value, if there is one.
    pub(super) fn take(&mut self, key: &K) {
        if let Some(before) = self.values.remove(key) {
            self.touched.entry(key.clone()).or_insert(Some(before));
        }
    }

    /// The step failed: restores the state before it.
    pub(super) fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.touched) {
            match before {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
    }

    /// The step is complete: returns the differences by key. A stale value that returned unchanged is no
    /// difference.
    pub(super) fn commit(&mut self) -> Vec<Difference<V>> {
        std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|(key, before)| difference(before, self.values.get(&key)))
            .collect()
    }

    /// Replaces `old` and returns the differences by key. Entries that only `old` had stay, marked stale, if `keep`
    /// says so.
    pub(super) fn replace(
        &mut self,
        old: Self,
        keep: impl Fn(&StagedValue<V>) -> bool,
    ) -> Vec<Difference<V>> {
        self.touched.clear();
        let mut differences = Vec::new();
        let mut old = old.values;
        for (key, value) in &self.values {
            differences.extend(difference(old.remove(key), Some(value)));
        }
        for (key, mut value) in old {
            if keep(&value) {
                value.stale = true;
                self.values.insert(key, value);
            } else {
                differences.push(Difference::Removed(value));
            }
        }
        differences
    }

    /// Removes all stale entries.
    pub(super) fn drop_stale(&mut self) -> Vec<Difference<V>> {
        let all = std::mem::take(&mut self.values).into_iter();
        let (stale, fresh): (Vec<_>, Vec<_>) = all.partition(|(_, value)| value.stale);
        self.values = fresh.into_iter().collect();
        let gone = stale.into_iter().map(|(_, value)| value);
        gone.map(Difference::Removed).collect()
    }

    /// Whether the current step has touched anything.
    #[cfg(debug_assertions)]
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Whether any entry is stale.
    pub(super) fn any_stale(&self) -> bool {
        self.values.values().any(|value| value.stale)
    }
}

fn difference<V: Clone + PartialEq>(
    before: Option<StagedValue<V>>,
    after: Option<&StagedValue<V>>,
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
