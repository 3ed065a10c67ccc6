//! The contents of a board: functions, workers, bindings, and how changes apply to them. Knows no revisions; the
//! view checks the order of parts and finds gaps.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{Binding, BindingName, Entry, WorkerInfo};
use super::error::ViewError;
use super::function::Function;
use super::notice::Change;
use super::staged_map::{Difference, StagedMap, StagedValue};
use crate::protocol::{BindingKey, Sections, WorkerEntry};

/// A change of one entry, owned, so that it can wait for the rest of its step.
#[derive(Debug, Clone)]
pub(super) enum EntryChange {
    FunctionGone(Arc<str>),
    FunctionAdded(Arc<Function>),
    FunctionUpdated(Arc<Function>),
    WorkerGone(u64, Arc<str>),
    WorkerAdded(WorkerChange),
    WorkerUpdated(WorkerChange),
    BindingGone(Arc<BindingName>),
    BindingAdded(Binding),
    BindingUpdated(Binding),
}

/// A worker, or what changed about it.
#[derive(Debug, Clone)]
pub(super) struct WorkerChange {
    id: u64,
    name: Arc<str>,
    /// None if it is as it was.
    metadata: Option<Arc<[u8]>>,
    added: Vec<Arc<str>>,
    removed: Vec<Arc<str>>,
}

/// How strictly a change must fit the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The contents were right before: only an existing entry can be removed or updated.
    Exact,
    /// A snapshot is in progress. Its chunks are of different ages, so changes simply set and unset.
    Loose,
}

/// The entries that belong to this worker.
#[derive(Debug, Default, Clone)]
pub(super) struct OwnEntries {
    /// Functions that it provides or is registering.
    pub(super) functions: HashSet<Arc<str>>,
    /// Its id.
    pub(super) worker: Option<u64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    /// Epoch of the engine they come from.
    epoch: u64,
    pub(super) functions: StagedMap<Arc<str>, Arc<Function>>,
    pub(super) workers: StagedMap<u64, WorkerInfo>,
    pub(super) bindings: StagedMap<Arc<BindingName>, Binding>,
    /// Workers of an earlier epoch that have not returned. Their ids mean nothing in this epoch; names identify
    /// them.
    pub(super) absent_workers: Vec<WorkerInfo>,
    /// Absent workers that returned in the current step, each with its new id.
    returned_workers: Vec<(u64, WorkerInfo)>,
}

impl EntryChange {
    /// The changes of a frame, in the order in which they apply.
    pub(super) fn all_of(sections: &Sections<'_>) -> Vec<Self> {
        let (functions, workers, bindings) =
            (&sections.functions, &sections.workers, &sections.bindings);
        let function = |definition| Arc::new(Function::from_definition(definition));
        let binding_name = |key: &BindingKey<'_>| {
            Arc::new(BindingName {
                event: key.event.0.into(),
                function: key.function.0.into(),
                id: key.id.0.into(),
            })
        };
        let mut changes = Vec::new();
        changes.extend(
            functions
                .removed
                .iter()
                .map(|name| Self::FunctionGone(name.0.into())),
        );
        changes.extend(
            functions
                .added
                .iter()
                .map(|entry| Self::FunctionAdded(function(entry))),
        );
        changes.extend(
            functions
                .updated
                .iter()
                .map(|entry| Self::FunctionUpdated(function(entry))),
        );
        changes.extend(
            workers
                .removed
                .iter()
                .map(|key| Self::WorkerGone(key.id, key.name.0.into())),
        );
        changes.extend(
            workers
                .added
                .iter()
                .map(|entry| Self::WorkerAdded(entry.into())),
        );
        changes.extend(
            workers
                .updated
                .iter()
                .map(|entry| Self::WorkerUpdated(entry.into())),
        );
        changes.extend(
            bindings
                .removed
                .iter()
                .map(|key| Self::BindingGone(binding_name(key))),
        );
        changes.extend(
            bindings
                .added
                .iter()
                .map(|it| Self::BindingAdded(Binding::from_wire(it))),
        );
        changes.extend(
            bindings
                .updated
                .iter()
                .map(|it| Self::BindingUpdated(Binding::from_wire(it))),
        );
        changes
    }

    /// The entry concerned, for messages.
    fn subject(&self) -> String {
        match self {
            Self::FunctionGone(name) => name.to_string(),
            Self::FunctionAdded(function) | Self::FunctionUpdated(function) => {
                function.name().to_owned()
            }
            Self::WorkerGone(id, name) => format!("{name} ({id})"),
            Self::WorkerAdded(change) | Self::WorkerUpdated(change) => {
                format!("{} ({})", change.name, change.id)
            }
            Self::BindingGone(key) => format!("{} -> {}", key.event, key.function),
            Self::BindingAdded(binding) | Self::BindingUpdated(binding) => {
                format!("{} -> {}", binding.event(), binding.function())
            }
        }
    }
}

impl From<&WorkerEntry<'_>> for WorkerChange {
    fn from(entry: &WorkerEntry<'_>) -> Self {
        Self {
            id: entry.id,
            name: entry.name.0.into(),
            metadata: entry.metadata.as_ref().map(|it| it.0.into()),
            added: entry.added.iter().map(|name| name.0.into()).collect(),
            removed: entry.removed.iter().map(|name| name.0.into()).collect(),
        }
    }
}

impl Contents {
    /// Empty contents for an epoch.
    pub(super) fn of(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// Applies all changes of a step, or none of them.
    pub(super) fn apply(
        &mut self,
        changes: Vec<EntryChange>,
        fit: Fit,
        revision: u64,
    ) -> Result<(), ViewError> {
        for change in changes {
            if !self.apply_change(&change) && fit == Fit::Exact {
                self.undo();
                return Err(ViewError::Mismatch {
                    name: change.subject(),
                    revision,
                });
            }
        }
        Ok(())
    }

    /// Applies a change whether or not it fits; returns whether it fit.
    fn apply_change(&mut self, change: &EntryChange) -> bool {
        match change {
            EntryChange::FunctionGone(name) => {
                let fits = self.functions.has(name);
                self.functions.take(name);
                fits
            }
            EntryChange::FunctionAdded(function) => {
                let fits = !self.functions.has(function.shared_name());
                self.functions
                    .put(function.shared_name().clone(), function.clone());
                fits
            }
            EntryChange::FunctionUpdated(function) => {
                let fits = self.functions.has(function.shared_name());
                self.functions
                    .put(function.shared_name().clone(), function.clone());
                fits
            }
            EntryChange::WorkerGone(id, _) => {
                let fits = self.workers.has(id);
                self.workers.take(id);
                fits
            }
            EntryChange::WorkerAdded(change) => {
                let fits = !self.workers.has(&change.id) && change.removed.is_empty();
                if fits {
                    self.match_absent_worker(change);
                }
                self.change_worker(change);
                fits
            }
            EntryChange::WorkerUpdated(change) => {
                let known = self.workers.has(&change.id);
                self.change_worker(change) && known
            }
            EntryChange::BindingGone(key) => {
                let fits = self.bindings.has(key);
                self.bindings.take(key);
                fits
            }
            EntryChange::BindingAdded(binding) => {
                let fits = !self.bindings.has(&binding.key);
                self.bindings.put(binding.key.clone(), binding.clone());
                fits
            }
            EntryChange::BindingUpdated(binding) => {
                let fits = self.bindings.has(&binding.key);
                self.bindings.put(binding.key.clone(), binding.clone());
                fits
            }
        }
    }

    /// Returns whether all removed functions existed and all added ones did not.
    fn change_worker(&mut self, change: &WorkerChange) -> bool {
        let known = self.workers.values().get(&change.id);
        let mut info = known.map_or_else(
            || WorkerInfo {
                epoch: self.epoch,
                id: change.id,
                name: change.name.clone(),
                metadata: Arc::default(),
                functions: Arc::default(),
                own: false,
                stale: false,
            },
            |value| value.value.clone(),
        );
        info.name = change.name.clone();
        if let Some(metadata) = &change.metadata {
            info.metadata = metadata.clone();
        }
        let mut fits = true;
        let set = Arc::make_mut(&mut info.functions);
        for name in &change.removed {
            fits &= set.remove(name);
        }
        for name in &change.added {
            // Both sections share one copy of a name, if both are watched.
            let shared = self.functions.values().get_key_value(name);
            fits &= set.insert(shared.map_or(name, |(name, _)| name).clone());
        }
        self.workers.put(change.id, info);
        fits
    }

    /// A worker joins: if one with its name is absent since an earlier epoch, it is that one.
    fn match_absent_worker(&mut self, change: &WorkerChange) {
        if let Some(at) = self
            .absent_workers
            .iter()
            .position(|absent| absent.name == change.name)
        {
            self.returned_workers
                .push((change.id, self.absent_workers.swap_remove(at)));
        }
    }

    /// Whether a step was applied and not committed.
    #[cfg(debug_assertions)]
    pub(super) fn has_uncommitted(&self) -> bool {
        self.functions.is_touched()
            || self.workers.is_touched()
            || self.bindings.is_touched()
            || !self.returned_workers.is_empty()
    }

    fn undo(&mut self) {
        self.functions.undo();
        self.workers.undo();
        self.bindings.undo();
        self.absent_workers
            .extend(self.returned_workers.drain(..).map(|(_, absent)| absent));
    }

    /// The step is complete: returns the differences it made.
    pub(super) fn commit(&mut self, own: &OwnEntries) -> Vec<Change> {
        let mut workers = self.workers.commit();
        for (id, absent) in self.returned_workers.drain(..) {
            let same = |it: &&mut Difference<WorkerInfo>| matches!(&**it, Difference::Added(info) if info.id == id);
            match workers.iter_mut().find(same) {
                Some(found) => *found = returned(absent, found),
                // It joined and left within one step.
                None => workers.push(Difference::Removed(stale(absent))),
            }
        }
        own.changes(self.functions.commit(), workers, self.bindings.commit())
    }

    /// Replaces `old` and returns the differences. With `keep`, entries that only `old` had stay, marked stale; but
    /// a fresh entry of the same epoch is known to be gone.
    pub(super) fn replace(
        &mut self,
        mut old: Self,
        keep: bool,
        other_epoch: bool,
        own: &OwnEntries,
    ) -> Vec<Change> {
        let (functions, bindings) = (std::mem::take(&mut old.functions), old.bindings);
        let functions = self
            .functions
            .replace(functions, |value| keep && (other_epoch || value.stale));
        let bindings = self
            .bindings
            .replace(bindings, |value| keep && (other_epoch || value.stale));
        let mut absent_workers = old.absent_workers;
        let workers = if other_epoch {
            absent_workers.extend(
                old.workers
                    .values()
                    .values()
                    .map(|value| value.value.clone()),
            );
            self.workers.replace(StagedMap::default(), |_| false)
        } else {
            self.workers.replace(old.workers, |_| false)
        };
        // Those of this epoch are from before the worker moved to another engine. Their ids are still valid, so
        // those not present now are gone.
        let mut by_id: BTreeMap<u64, WorkerInfo> = BTreeMap::new();
        let mut by_name: BTreeMap<Arc<str>, Vec<WorkerInfo>> = BTreeMap::new();
        for absent in absent_workers {
            if absent.epoch == self.epoch {
                by_id.insert(absent.id, absent);
            } else {
                by_name.entry(absent.name.clone()).or_default().push(absent);
            }
        }
        let known_again = |difference: Difference<WorkerInfo>| {
            let Difference::Added(info) = &difference else {
                return Some(difference);
            };
            let namesake = || by_name.get_mut(&info.name).and_then(Vec::pop);
            match by_id.remove(&info.id).or_else(namesake) {
                Some(absent) if absent == *info => None,
                Some(absent) => Some(returned(absent, &difference)),
                None => Some(difference),
            }
        };
        let mut workers: Vec<_> = workers.into_iter().filter_map(known_again).collect();
        let gone = by_id.into_values();
        workers.extend(gone.map(|absent| Difference::Removed(stale(absent))));
        let missing = by_name.into_values().flatten();
        if keep {
            self.absent_workers = missing.collect();
        } else {
            workers.extend(missing.map(|absent| Difference::Removed(stale(absent))));
        }
        own.changes(functions, workers, bindings)
    }

    /// Removes all stale entries.
    pub(super) fn drop_stale(&mut self, own: &OwnEntries) -> Vec<Change> {
        let absent_workers = self.absent_workers.drain(..);
        let workers = absent_workers
            .map(|absent| Difference::Removed(stale(absent)))
            .collect();
        own.changes(
            self.functions.drop_stale(),
            workers,
            self.bindings.drop_stale(),
        )
    }

    pub(super) fn any_stale(&self) -> bool {
        !self.absent_workers.is_empty() || self.functions.any_stale() || self.bindings.any_stale()
    }
}

fn stale(absent: WorkerInfo) -> StagedValue<WorkerInfo> {
    StagedValue {
        value: absent,
        stale: true,
    }
}

/// An absent worker has returned. It differs in any case, because another epoch gave it another id.
fn returned(absent: WorkerInfo, added: &Difference<WorkerInfo>) -> Difference<WorkerInfo> {
    match added {
        Difference::Added(info) => Difference::Updated(stale(absent), info.clone()),
        other => other.clone(),
    }
}

impl OwnEntries {
    /// An entry as the board shows it.
    pub(super) fn entry(&self, value: &StagedValue<Arc<Function>>, stale: bool) -> Entry {
        Entry {
            own: self.functions.contains(value.value.shared_name()),
            function: value.value.clone(),
            stale: stale || value.stale,
        }
    }

    /// A worker as the board shows it.
    pub(super) fn worker(&self, info: &WorkerInfo, stale: bool) -> WorkerInfo {
        WorkerInfo {
            own: !stale && self.worker == Some(info.id),
            stale,
            ..info.clone()
        }
    }

    fn fresh(&self, function: Arc<Function>) -> Entry {
        let value = StagedValue {
            value: function,
            stale: false,
        };
        self.entry(&value, false)
    }

    fn changes(
        &self,
        functions: Vec<Difference<Arc<Function>>>,
        workers: Vec<Difference<WorkerInfo>>,
        bindings: Vec<Difference<Binding>>,
    ) -> Vec<Change> {
        let functions = functions.into_iter().map(|difference| match difference {
            Difference::Added(new) => Change::Added(self.fresh(new)),
            Difference::Removed(old) => Change::Removed(self.entry(&old, false)),
            Difference::Updated(old, new) => Change::Updated {
                old: self.entry(&old, false),
                new: self.fresh(new),
            },
        });
        let workers = workers.into_iter().map(|difference| match difference {
            Difference::Added(new) => Change::WorkerJoined(self.worker(&new, false)),
            Difference::Removed(old) => Change::WorkerLeft(self.worker(&old.value, old.stale)),
            Difference::Updated(old, new) => Change::WorkerUpdated {
                added: missing_from(&old.value.functions, &new.functions),
                removed: missing_from(&new.functions, &old.value.functions),
                old: self.worker(&old.value, old.stale),
                new: self.worker(&new, false),
            },
        });
        let bindings = bindings.into_iter().map(|difference| match difference {
            Difference::Added(new) => Change::BindingAdded(new),
            Difference::Removed(old) => Change::BindingRemoved(old.value),
            Difference::Updated(old, new) => Change::BindingUpdated {
                old: old.value,
                new,
            },
        });
        workers.chain(functions).chain(bindings).collect()
    }
}

/// What `other` has and `set` does not.
fn missing_from(set: &BTreeSet<Arc<str>>, other: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
    other.difference(set).cloned().collect()
}
