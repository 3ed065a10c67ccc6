//! The roster: the workers that provide or bind something, and their registrations. The inverse of the board.
//! Distinguishes workers by id; a name is for people. Knows no connections.

#[cfg(debug_assertions)]
mod books;
mod totals;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use crate::engine::access::rights::Rules;
use crate::engine::memory::{Charge, Usage, recycle};
use crate::protocol::{Bin, Text, WorkerEntry, WorkerKey};

use super::change::{Change, ChangeKind, Section, some_metadata};
use super::entry::{EncodedDefinition, Name, encode_entry};
use super::position::WorkerMark;
use super::visibility::{ObserverRules, Visibility, VisibleCounts};
use totals::Totals;

/// Bytes of function names in one entry. A worker with more has several entries.
const NAME_BYTES_PER_ENTRY: usize = 16 * 1024;

/// A function that a worker provides, or a binding that it made.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The slot on the board.
    pub(super) slot: usize,
    /// Bytes that count against `--max-metadata`.
    pub(crate) bytes: usize,
    /// The last revision has it.
    sealed: bool,
    /// The worker's generation that registered it last.
    generation: u32,
}

/// A worker that provides or binds something.
#[derive(Debug)]
pub(crate) struct Worker {
    name: Name,
    metadata: Rc<[u8]>,
    functions: BTreeMap<Name, Registration>,
    bindings: BTreeMap<Name, Registration>,
    bytes: usize,
    /// Number of session takeovers. Registrations of an older generation are unconfirmed.
    generation: u32,
    /// The last revision lists it.
    listed: bool,
    /// The metadata that the last revision shows, if others came since.
    shown: Option<Rc<[u8]>>,
    touched: bool,
    /// Names added and names removed since the last revision.
    added: Vec<Name>,
    removed: Vec<Name>,
    /// How many functions of the last revision are visible by each set of rules, which may have been replaced since.
    visible: VisibleCounts,
}

impl Worker {
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Number of functions.
    pub(crate) fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Registration> {
        self.functions.get(name)
    }

    /// The names of its functions, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.functions.keys()
    }

    /// The metadata of its HELLO.
    pub(crate) fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    pub(crate) fn binding(&self, key: &str) -> Option<&Registration> {
        self.bindings.get(key)
    }

    /// Number of bindings.
    pub(crate) fn bindings(&self) -> usize {
        self.bindings.len()
    }

    /// Its functions and bindings.
    pub(crate) fn registrations(&self) -> usize {
        self.functions() + self.bindings()
    }

    /// The functions that the last revision has, in order, after `after`.
    fn sealed_names<'a>(&'a self, after: Option<&str>) -> Box<dyn Iterator<Item = &'a Name> + 'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let lower = after.map_or(Unbounded, Excluded);
        let present = self.functions.range::<str, _>((lower, Unbounded));
        let present = present.filter(|(_, it)| it.sealed).map(|(name, _)| name);
        if self.removed.is_empty() {
            return Box::new(present);
        }
        let removed = self
            .removed
            .iter()
            .filter(|name| after.is_none_or(|after| ***name > *after));
        let mut all: Vec<&Name> = present.chain(removed).collect();
        all.sort_unstable();
        Box::new(all.into_iter())
    }

    /// The functions that the last revision has and these rules allow, in order, after `after`.
    fn visible_names<'a>(
        &'a self,
        after: Option<&str>,
        rules: Option<&'a Rules>,
    ) -> Box<dyn Iterator<Item = &'a Name> + 'a> {
        let names = self.sealed_names(after);
        match rules {
            None => names,
            Some(rules) => Box::new(names.filter(|name| rules.allows(name))),
        }
    }

    /// How many functions of the last revision are visible by each set of rules.
    fn visible_by(&mut self, rules: &ObserverRules) -> &mut VisibleCounts {
        if !rules.counted(&self.visible) {
            self.visible = rules.count(self.sealed_names(None));
        }
        &mut self.visible
    }

    /// The keys of its bindings, in order.
    pub(crate) fn binding_keys(&self) -> impl Iterator<Item = &Name> {
        self.bindings.keys()
    }

    fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.bindings.is_empty()
    }

    fn new(name: &Name, metadata: &Rc<[u8]>, rules: &ObserverRules) -> Self {
        Self {
            name: name.clone(),
            metadata: metadata.clone(),
            functions: BTreeMap::new(),
            bindings: BTreeMap::new(),
            bytes: 0,
            generation: 0,
            listed: false,
            shown: None,
            touched: false,
            added: Vec::new(),
            removed: Vec::new(),
            visible: rules.zero(),
        }
    }
}

/// The slots of a removed worker, on the board of functions and on that of bindings.
#[derive(Debug, Default)]
pub(super) struct RemovedSlots {
    pub(super) functions: Vec<usize>,
    pub(super) bindings: Vec<usize>,
}

/// The workers of a namespace that provide or bind something.
#[derive(Debug)]
pub(crate) struct Roster {
    workers: BTreeMap<u64, Worker>,
    touched: Vec<u64>,
    /// Workers that the last revision lists and that are gone, with their visible functions.
    gone: Vec<(u64, Name, VisibleCounts)>,
    /// The records of those workers, for snapshots of the last revision: a draining engine seals no other.
    departed: BTreeMap<u64, Worker>,
    totals: Totals,
    rules: ObserverRules,
    /// Its bytes, entries included, among those of all boards.
    charge: Charge,
}

impl Roster {
    pub(super) fn new(usage: &Usage) -> Self {
        Self {
            workers: BTreeMap::new(),
            touched: Vec::new(),
            gone: Vec::new(),
            departed: BTreeMap::new(),
            totals: Totals::default(),
            rules: ObserverRules::default(),
            charge: usage.charge(0),
        }
    }

    fn update_charge(&mut self) {
        self.charge.set(self.totals.memory(self.workers.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn get(&self, worker: u64) -> Option<&Worker> {
        self.workers.get(&worker)
    }

    /// Replaces the rules of readers with partial rights. What they make visible of a worker is counted when the worker
    /// changes next.
    pub(super) fn set_observer_rules(&mut self, rules: Vec<Rc<Rules>>) {
        let older = self.rules.replace(rules);
        for (_, _, visible) in &mut self.gone {
            *visible = self.rules.carry_over(visible, &older);
        }
    }

    /// Records that a worker provides a function, for the first time or again. `slot` is the board's.
    pub(super) fn provide(
        &mut self,
        worker: u64,
        (worker_name, metadata): (&Name, &Rc<[u8]>),
        name: &Name,
        slot: usize,
        definition: &EncodedDefinition,
    ) {
        let entry = self.workers.entry(worker);
        let entry = entry.or_insert_with(|| Worker::new(worker_name, metadata, &self.rules));
        let (generation, bytes) = (entry.generation, definition.bytes.len());
        entry.bytes += bytes;
        self.totals.bytes += bytes;
        let place = match entry.functions.entry(name.clone()) {
            Entry::Vacant(place) => place,
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                entry.bytes -= known.bytes;
                self.totals.bytes -= known.bytes;
                (known.bytes, known.generation) = (bytes, generation);
                return self.update_charge();
            }
        };
        place.insert(Registration {
            slot,
            bytes,
            sealed: false,
            generation,
        });
        self.totals.functions += 1;
        entry.added.push(name.clone());
        touch(entry, worker, &mut self.touched);
        self.update_charge();
    }

    /// Records that a worker no longer provides a function. Returns the function's slot.
    pub(super) fn withdraw(&mut self, worker: u64, name: &str) -> Option<usize> {
        let entry = self.workers.get_mut(&worker)?;
        let (name, registration) = entry.functions.remove_entry(name)?;
        entry.bytes -= registration.bytes;
        self.totals.functions -= 1;
        self.totals.bytes -= registration.bytes;
        if registration.sealed {
            entry.removed.push(name);
        }
        touch(entry, worker, &mut self.touched);
        self.update_charge();
        Some(registration.slot)
    }

    /// Records a binding of a worker, for the first time or again. `slot` is that on the board of bindings.
    pub(super) fn bind(
        &mut self,
        worker: u64,
        (worker_name, metadata): (&Name, &Rc<[u8]>),
        key: &Name,
        slot: usize,
        definition: &EncodedDefinition,
    ) {
        let entry = self.workers.entry(worker);
        let entry = entry.or_insert_with(|| Worker::new(worker_name, metadata, &self.rules));
        let (generation, bytes) = (entry.generation, definition.bytes.len());
        let registration = Registration {
            slot,
            bytes,
            sealed: true,
            generation,
        };
        let known = entry.bindings.insert(key.clone(), registration);
        let replaced = known.as_ref().map_or(0, |known| known.bytes);
        entry.bytes = entry.bytes + bytes - replaced;
        self.totals.bytes = self.totals.bytes + bytes - replaced;
        self.totals.bindings += usize::from(known.is_none());
        touch(entry, worker, &mut self.touched);
        self.update_charge();
    }

    /// Records that a worker removed a binding. Returns the binding's slot.
    pub(super) fn unbind(&mut self, worker: u64, key: &str) -> Option<usize> {
        let entry = self.workers.get_mut(&worker)?;
        let registration = entry.bindings.remove(key)?;
        entry.bytes -= registration.bytes;
        self.totals.bindings -= 1;
        self.totals.bytes -= registration.bytes;
        touch(entry, worker, &mut self.touched);
        self.update_charge();
        Some(registration.slot)
    }

    /// Removes a worker. Returns the slots of its functions and bindings.
    pub(super) fn remove(&mut self, worker: u64) -> RemovedSlots {
        let Some(mut entry) = self.workers.remove(&worker) else {
            return RemovedSlots::default();
        };
        let slots_of =
            |map: &BTreeMap<Name, Registration>| map.values().map(|it| it.slot).collect();
        let slots = RemovedSlots {
            functions: slots_of(&entry.functions),
            bindings: slots_of(&entry.bindings),
        };
        self.totals.functions -= entry.functions.len();
        self.totals.bindings -= entry.bindings.len();
        self.totals.bytes -= entry.bytes;
        if entry.listed {
            self.gone.push((
                worker,
                entry.name.clone(),
                entry.visible_by(&self.rules).clone(),
            ));
            self.departed.insert(worker, entry);
        }
        self.update_charge();
        slots
    }

    /// Another connection took the worker's session over: all its registrations become unconfirmed. Returns whether it
    /// has any.
    pub(super) fn take_over(&mut self, worker: u64, name: &Name, metadata: &Rc<[u8]>) -> bool {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return false;
        };
        entry.generation += 1;
        if entry.name != *name || entry.metadata != *metadata {
            if entry.listed && entry.name != *name {
                // Watches match names: to them, another name is another worker.
                let visible = std::mem::replace(entry.visible_by(&self.rules), self.rules.zero());
                self.gone.push((worker, entry.name.clone(), visible));
                entry.listed = false;
                entry.added = entry.functions.keys().cloned().collect();
                entry.removed.clear();
                entry
                    .functions
                    .values_mut()
                    .for_each(|registration| registration.sealed = false);
            }
            entry.name = name.clone();
            let shown = std::mem::replace(&mut entry.metadata, metadata.clone());
            entry.shown.get_or_insert(shown);
            touch(entry, worker, &mut self.touched);
        }
        !entry.is_empty()
    }

    /// The slots of a worker's functions.
    pub(super) fn slots(&self, worker: u64) -> impl Iterator<Item = usize> {
        let entry = self.workers.get(&worker);
        entry
            .into_iter()
            .flat_map(|entry| entry.functions.values().map(|it| it.slot))
    }

    /// The names of functions and the keys of bindings that are unconfirmed: the worker's newest connection has not
    /// registered them again.
    pub(super) fn unconfirmed(&self, worker: u64) -> (Vec<Name>, Vec<Name>) {
        let Some(entry) = self.workers.get(&worker) else {
            return Default::default();
        };
        let stale = |map: &BTreeMap<Name, Registration>| -> Vec<Name> {
            let stale = map
                .iter()
                .filter(|(_, it)| it.generation != entry.generation);
            stale.map(|(name, _)| name.clone()).collect()
        };
        (stale(&entry.functions), stale(&entry.bindings))
    }

    /// Workers with an id greater than `after`, in order.
    pub(crate) fn workers_after(&self, after: u64) -> impl Iterator<Item = (u64, &Worker)> {
        self.workers
            .range(after + 1..)
            .map(|(&id, entry)| (id, entry))
    }

    /// Collects the differences from the last revision, and makes the current state the last revision.
    pub(super) fn seal(&mut self, changes: &mut Vec<Change>) {
        self.departed.clear();
        for (worker, name, visible) in self.gone.drain(..) {
            let body = encode_entry(&WorkerKey {
                id: worker,
                name: Text(&name),
            });
            let visibility = self.rules.visibility(&visible, &self.rules.zero(), None);
            let kind = ChangeKind::Removed;
            changes.push(worker_change(worker, &name, kind, body, visibility));
        }
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(entry) = self.workers.get_mut(&id) else {
                continue;
            };
            entry.touched = false;
            seal_worker(id, entry, &self.rules, changes);
            if entry.is_empty() {
                self.workers.remove(&id);
            }
        }
        self.touched = recycle(touched);
        self.update_charge();
    }

    /// Workers that the last revision lists, from this id on.
    fn listed_from(&self, id: u64) -> impl Iterator<Item = (u64, &Worker)> {
        let mut present = self
            .workers
            .range(id..)
            .filter(|(_, it)| it.listed)
            .peekable();
        let mut departed = self.departed.range(id..).peekable();
        std::iter::from_fn(move || {
            let next = match (present.peek(), departed.peek()) {
                (Some((id, _)), Some((gone, _))) if gone < id => departed.next(),
                (None, _) => departed.next(),
                (Some(_), _) => present.next(),
            };
            next.map(|(&id, entry)| (id, entry))
        })
    }

    /// Visits the workers that the last revision lists, after `after`: those whose names pass, and with rules only
    /// those with a visible function. Each is visited as entries of bounded size, with the mark after the entry;
    /// `visit` returns whether to continue.
    pub(super) fn entries_after(
        &self,
        after: &WorkerMark,
        passes: impl Fn(&str) -> bool,
        rules: Option<&Rc<Rules>>,
        mut visit: impl FnMut(WorkerMark, Rc<[u8]>) -> bool,
    ) {
        for (id, entry) in self.listed_from(after.worker) {
            let begun = after.worker == id;
            if !passes(&entry.name) || begun && after.function.is_none() {
                continue;
            }
            let behind = after.function.as_deref().filter(|_| begun);
            let rules = rules.map(|rules| &**rules);
            let mut names = entry.visible_names(behind, rules).peekable();
            // A worker that only binds has one entry, without functions.
            let mut visited = begun || rules.is_some();
            while !visited || names.peek().is_some() {
                let some = some_names(&mut names);
                let function = some.last().map(|&name| name.clone());
                let metadata = some_metadata(&entry.metadata);
                let body = worker_entry(id, entry, metadata, &some, &[]);
                if !visit(
                    WorkerMark {
                        worker: id,
                        function,
                    },
                    body,
                ) {
                    return;
                }
                visited = true;
            }
        }
    }
}

fn touch(entry: &mut Worker, worker: u64, touched: &mut Vec<u64>) {
    if !entry.touched {
        entry.touched = true;
        touched.push(worker);
    }
}

/// Collects the changes of one worker since the last revision.
fn seal_worker(id: u64, entry: &mut Worker, rules: &ObserverRules, changes: &mut Vec<Change>) {
    let before = entry.visible_by(rules).clone();
    let mut removed: Vec<Name> = Vec::new();
    for name in std::mem::take(&mut entry.removed) {
        match entry.functions.get_mut(&name) {
            // Removed and added again: nothing changed.
            Some(registration) => registration.sealed = true,
            None => removed.push(name),
        }
    }
    let mut added = std::mem::take(&mut entry.added);
    added.retain(|name| match entry.functions.get_mut(name) {
        Some(registration) => !std::mem::replace(&mut registration.sealed, true),
        None => false,
    });
    for name in &added {
        rules.add(&mut entry.visible, name);
    }
    for name in &removed {
        rules.remove(&mut entry.visible, name);
    }
    let mut visibility = rules.visibility(&before, &entry.visible, Some(&entry.metadata));
    let shown = entry.shown.take();
    let has_other_metadata = shown.is_some_and(|it| it != entry.metadata);
    let is_listed = !entry.is_empty();
    let was_listed = std::mem::replace(&mut entry.listed, is_listed);
    if !entry.listed {
        if was_listed {
            let body = encode_entry(&WorkerKey {
                id,
                name: Text(&entry.name),
            });
            let kind = ChangeKind::Removed;
            changes.push(worker_change(id, &entry.name, kind, body, visibility));
        }
        return;
    }
    let (mut added, mut removed) = (added.iter().peekable(), removed.iter().peekable());
    let mut kind = if was_listed {
        ChangeKind::Updated
    } else {
        ChangeKind::Added
    };
    let mut is_known = was_listed && !has_other_metadata;
    while !is_known || added.peek().is_some() || removed.peek().is_some() {
        let some_added = some_names(&mut added);
        let some_removed = some_names(&mut removed);
        // Not with each of its functions. An update tells empty ones, too: a reader has others.
        let metadata = match kind {
            _ if is_known => None,
            ChangeKind::Added => some_metadata(&entry.metadata),
            _ => Some(Bin(&entry.metadata)),
        };
        let body = worker_entry(id, entry, metadata, &some_added, &some_removed);
        changes.push(worker_change(id, &entry.name, kind, body, visibility));
        (kind, is_known) = (ChangeKind::Updated, true);
        // Further entries concern a worker that is visible already, or not at all.
        visibility = rules.visibility(&entry.visible, &entry.visible, Some(&entry.metadata));
    }
}

/// The next names, as many as one entry holds.
fn some_names<'a>(
    names: &mut std::iter::Peekable<impl Iterator<Item = &'a Name>>,
) -> Vec<&'a Name> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while let Some(name) = names.next_if(|_| bytes < NAME_BYTES_PER_ENTRY) {
        bytes += name.len() + 3;
        some.push(name);
    }
    some
}

fn worker_entry(
    id: u64,
    entry: &Worker,
    metadata: Option<Bin<'_>>,
    added: &[&Name],
    removed: &[&Name],
) -> Rc<[u8]> {
    encode_entry(&WorkerEntry {
        id,
        name: Text(&entry.name),
        metadata,
        added: added.iter().map(|name| Text(name)).collect(),
        removed: removed.iter().map(|name| Text(name)).collect(),
    })
}

fn worker_change(
    worker: u64,
    name: &Name,
    kind: ChangeKind,
    body: Rc<[u8]>,
    visibility: Option<Rc<Visibility>>,
) -> Change {
    Change {
        section: Section::Workers,
        key: name.clone(),
        worker,
        kind,
        body,
        visibility,
    }
}
