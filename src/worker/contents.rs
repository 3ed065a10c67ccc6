//! What is on a board: functions, workers, bindings, and how a part of a change applies to them. It
//! knows no revisions; in what order parts come, and whether one is missing, is the view's business.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{Binding, BindingName, Entry, WorkerInfo};
use super::error::ViewError;
use super::function::Function;
use super::notice::Change;
use super::staged_map::{Difference, StagedMap, StagedValue};
use crate::protocol::{BindingKey, Sections, WorkerEntry};

/// One line of a change, owned, so that it can wait for the rest of its step.
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

/// A worker, or a part of what changed about it.
#[derive(Debug, Clone)]
pub(super) struct WorkerChange {
    id: u64,
    name: Arc<str>,
    metadata: Arc<[u8]>,
    added: Vec<Arc<str>>,
    removed: Vec<Arc<str>>,
}

/// How closely a line must fit what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The view was right before: only what is there can be removed.
    Exact,
    /// A snapshot is under way, whose chunks are of different ages: lines set and unset.
    Loose,
}

/// Which entries are this worker's own.
#[derive(Debug, Default, Clone)]
pub(super) struct OwnEntries {
    /// Functions that it provides, or is just registering.
    pub(super) functions: HashSet<Arc<str>>,
    /// Its id.
    pub(super) worker: Option<u64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    /// Of the engine that they come from.
    epoch: u64,
    pub(super) functions: StagedMap<Arc<str>, Arc<Function>>,
    pub(super) workers: StagedMap<u64, WorkerInfo>,
    pub(super) bindings: StagedMap<Arc<BindingName>, Binding>,
    /// Workers of an earlier epoch that are not back yet. Their ids mean nothing in this epoch; they
    /// are known again by their names.
    pub(super) absent_workers: Vec<WorkerInfo>,
    /// Ghosts that came back in the step under way, each with its new id.
    returned_workers: Vec<(u64, WorkerInfo)>,
}

impl EntryChange {
    /// The lines of a part, in the order in which they apply.
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

    /// What it is about, for messages.
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
            metadata: entry.metadata.0.into(),
            added: entry.added.iter().map(|name| name.0.into()).collect(),
            removed: entry.removed.iter().map(|name| name.0.into()).collect(),
        }
    }
}

impl Contents {
    /// Nothing yet, of an engine's epoch.
    pub(super) fn of(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// Applies the lines of a whole step, or none of them.
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

    /// Applies a line whether it fits or not, and says whether it did.
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

    /// Says whether all that it removes was there and all that it adds was not.
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
        if !change.metadata.is_empty() {
            info.metadata = change.metadata.clone();
        }
        let mut fits = true;
        let set = Arc::make_mut(&mut info.functions);
        for name in &change.removed {
            fits &= set.remove(name);
        }
        for name in &change.added {
            // One copy of a name for both sections, where both are watched.
            let shared = self.functions.values().get_key_value(name);
            fits &= set.insert(shared.map_or(name, |(name, _)| name).clone());
        }
        self.workers.put(change.id, info);
        fits
    }

    /// A worker joins: if one of its name is missed since an earlier epoch, it is that one.
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

    fn undo(&mut self) {
        self.functions.undo();
        self.workers.undo();
        self.bindings.undo();
        self.absent_workers
            .extend(self.returned_workers.drain(..).map(|(_, absent)| absent));
    }

    /// The step is whole: what it made different.
    pub(super) fn commit(&mut self, own: &OwnEntries) -> Vec<Change> {
        let mut workers = self.workers.commit();
        for (id, absent) in self.returned_workers.drain(..) {
            let same = |it: &&mut Difference<WorkerInfo>| matches!(&**it, Difference::Added(info) if info.id == id);
            match workers.iter_mut().find(same) {
                Some(found) => *found = returned(absent, found),
                // It came and went within one step.
                None => workers.push(Difference::Removed(stale(absent))),
            }
        }
        own.changes(self.functions.commit(), workers, self.bindings.commit())
    }

    /// Takes the place of `old`: what that makes different. What only `old` had is kept, marked stale,
    /// if `keep`; but what was not stale and is of the same epoch is known to be gone.
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
        // Those of this epoch are from before its engine was left for another. Their ids still mean the same, and
        // who is not there now is known to be gone.
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

    /// Takes away all that is stale.
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

/// A worker that was missed is back. Of another epoch it has another id, so that this is a difference in any case.
fn returned(absent: WorkerInfo, added: &Difference<WorkerInfo>) -> Difference<WorkerInfo> {
    match added {
        Difference::Added(info) => Difference::Updated(stale(absent), info.clone()),
        other => other.clone(),
    }
}

impl OwnEntries {
    /// A value as the board shows it.
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

/// What `set` lacks of `other`.
fn missing_from(set: &BTreeSet<Arc<str>>, other: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
    other.difference(set).cloned().collect()
}
