//! The roster: which workers provide or bind something, and what. The other side of the board. Tells workers
//! apart by id; a name is for people. Never looks at connections.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::protocol::{Bin, Text, WorkerEntry, WorkerKey};

use super::board::{Definition, Name};
use super::changelog::Item;
use super::entry::encoded;
use super::kept::kept;
use super::part::{Op, Section};
use super::rights::Rules;
use super::sight::{Onlookers, Sight, Tally};

/// Bytes of function names in one entry; a worker with more comes in several.
const NAMES_PER_ENTRY: usize = 16 * 1024;

/// What a worker provides under one name, or binds under one key.
#[derive(Debug)]
pub(super) struct Registration {
    /// The function's slot on the board.
    pub(super) slot: usize,
    /// Bytes that count against `--max-metadata`.
    pub(super) bytes: usize,
    /// The last revision has it.
    sealed: bool,
    /// Registered, or registered again, by the connection of this generation.
    generation: u32,
}

/// A worker with something to provide.
#[derive(Debug)]
pub(super) struct Worker {
    name: Name,
    metadata: Rc<[u8]>,
    functions: BTreeMap<Name, Registration>,
    bindings: BTreeMap<Name, Registration>,
    bytes: usize,
    /// How often another connection took over. What an older one registered is not confirmed.
    generation: u32,
    /// The last revision lists it.
    listed: bool,
    renamed: bool,
    touched: bool,
    /// Names that came and names that went since the last revision.
    came: Vec<Name>,
    went: Vec<Name>,
    /// How many of the functions that the last revision has each onlooker may see.
    seen: Tally,
}

impl Worker {
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Functions provided.
    pub(super) fn len(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, name: &str) -> Option<&Registration> {
        self.functions.get(name)
    }

    /// The names of all that it provides, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.functions.keys()
    }

    /// As its HELLO gave it.
    pub(super) fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    pub(super) fn binding(&self, key: &str) -> Option<&Registration> {
        self.bindings.get(key)
    }

    /// Bindings made.
    pub(super) fn bound(&self) -> usize {
        self.bindings.len()
    }

    /// The functions that the last revision has, in order, behind `after`.
    fn sealed_names<'a>(&'a self, after: Option<&str>) -> Box<dyn Iterator<Item = &'a Name> + 'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let lower = after.map_or(Unbounded, Excluded);
        let there = self.functions.range::<str, _>((lower, Unbounded));
        let there = there.filter(|(_, it)| it.sealed).map(|(name, _)| name);
        if self.went.is_empty() {
            return Box::new(there);
        }
        let went = self
            .went
            .iter()
            .filter(|name| after.is_none_or(|after| ***name > *after));
        let mut all: Vec<&Name> = there.chain(went).collect();
        all.sort_unstable();
        Box::new(all.into_iter())
    }

    /// The functions that the last revision has and these rules show, in order, behind `after`.
    fn shown_names<'a>(
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

    /// The keys of all that it binds, in order.
    pub(super) fn binding_keys(&self) -> impl Iterator<Item = &Name> {
        self.bindings.keys()
    }

    fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.bindings.is_empty()
    }

    fn new(name: &Name, metadata: &Rc<[u8]>, onlookers: &Onlookers) -> Self {
        Self {
            name: name.clone(),
            metadata: metadata.clone(),
            functions: BTreeMap::new(),
            bindings: BTreeMap::new(),
            bytes: 0,
            generation: 0,
            listed: false,
            renamed: false,
            touched: false,
            came: Vec::new(),
            went: Vec::new(),
            seen: onlookers.nothing(),
        }
    }
}

/// What a worker leaves behind: slots on the board of functions and on that of bindings.
#[derive(Debug, Default)]
pub(super) struct Estate {
    pub(super) functions: Vec<usize>,
    pub(super) bindings: Vec<usize>,
}

/// The workers of a namespace that provide something.
#[derive(Debug, Default)]
pub(super) struct Roster {
    workers: BTreeMap<u64, Worker>,
    touched: Vec<u64>,
    /// Listed by the last revision, gone since; and what of them was seen.
    gone: Vec<(u64, Name, Tally)>,
    /// The same as they were, for snapshots of that revision: a draining engine seals no other.
    departed: BTreeMap<u64, Worker>,
    totals: Totals,
    onlookers: Onlookers,
}

/// What all workers together have. What several have alike counts for each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) functions: usize,
    pub(super) bindings: usize,
    /// Bytes of all entries.
    pub(super) bytes: usize,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn get(&self, worker: u64) -> Option<&Worker> {
        self.workers.get(&worker)
    }

    /// From now on, these see only a part.
    pub(super) fn set_onlookers(&mut self, rules: Vec<Rc<Rules>>) {
        let older = std::mem::replace(&mut self.onlookers, Onlookers::new(rules));
        let there = self.workers.values_mut();
        for entry in there.chain(self.departed.values_mut()) {
            entry.seen = self.onlookers.count(entry.sealed_names(None));
        }
        for (_, _, seen) in &mut self.gone {
            *seen = self.onlookers.adopt(seen, &older);
        }
    }

    /// Notes that a worker provides a function, for the first time or again. `slot` comes from the board.
    pub(super) fn provide(
        &mut self,
        worker: u64,
        as_who: (&Name, &Rc<[u8]>),
        name: &Name,
        slot: usize,
        definition: &Definition,
    ) {
        let entry = self.workers.entry(worker);
        let entry = entry.or_insert_with(|| Worker::new(as_who.0, as_who.1, &self.onlookers));
        let (generation, bytes) = (entry.generation, definition.encoded.len());
        entry.bytes += bytes;
        self.totals.bytes += bytes;
        if let Some(known) = entry.functions.get_mut(name) {
            entry.bytes -= known.bytes;
            self.totals.bytes -= known.bytes;
            (known.bytes, known.generation) = (bytes, generation);
            return;
        }
        let registration = Registration {
            slot,
            bytes,
            sealed: false,
            generation,
        };
        entry.functions.insert(name.clone(), registration);
        self.totals.functions += 1;
        entry.came.push(name.clone());
        touch(entry, worker, &mut self.touched);
    }

    /// Notes that a worker no longer provides a function. Returns the function's slot.
    pub(super) fn withdraw(&mut self, worker: u64, name: &str) -> Option<usize> {
        let entry = self.workers.get_mut(&worker)?;
        let (name, registration) = entry.functions.remove_entry(name)?;
        entry.bytes -= registration.bytes;
        self.totals.functions -= 1;
        self.totals.bytes -= registration.bytes;
        if registration.sealed {
            entry.went.push(name);
        }
        touch(entry, worker, &mut self.touched);
        Some(registration.slot)
    }

    /// Notes that a worker binds something, for the first time or again. `slot` comes from the bindings' board.
    pub(super) fn bind(
        &mut self,
        worker: u64,
        as_who: (&Name, &Rc<[u8]>),
        key: &Name,
        slot: usize,
        definition: &Definition,
    ) {
        let entry = self.workers.entry(worker);
        let entry = entry.or_insert_with(|| Worker::new(as_who.0, as_who.1, &self.onlookers));
        let (generation, bytes) = (entry.generation, definition.encoded.len());
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
    }

    /// Notes that a worker no longer binds something. Returns the binding's slot.
    pub(super) fn unbind(&mut self, worker: u64, key: &str) -> Option<usize> {
        let entry = self.workers.get_mut(&worker)?;
        let registration = entry.bindings.remove(key)?;
        entry.bytes -= registration.bytes;
        self.totals.bindings -= 1;
        self.totals.bytes -= registration.bytes;
        touch(entry, worker, &mut self.touched);
        Some(registration.slot)
    }

    /// Notes that a worker is gone. Returns what it leaves behind.
    pub(super) fn remove(&mut self, worker: u64) -> Estate {
        let Some(entry) = self.workers.remove(&worker) else {
            return Estate::default();
        };
        let slots = |map: &BTreeMap<Name, Registration>| map.values().map(|it| it.slot).collect();
        let estate = Estate {
            functions: slots(&entry.functions),
            bindings: slots(&entry.bindings),
        };
        self.totals.functions -= entry.functions.len();
        self.totals.bindings -= entry.bindings.len();
        self.totals.bytes -= entry.bytes;
        if entry.listed {
            self.gone
                .push((worker, entry.name.clone(), entry.seen.clone()));
            self.departed.insert(worker, entry);
        }
        estate
    }

    /// Another connection speaks for the worker now: all that it provides awaits confirmation. Returns
    /// whether there is anything to confirm.
    pub(super) fn take_over(&mut self, worker: u64, name: &Name, metadata: &Rc<[u8]>) -> bool {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return false;
        };
        entry.generation += 1;
        if entry.name != *name || entry.metadata != *metadata {
            if entry.listed && entry.name != *name {
                // Watches match names: to them, another name is another worker.
                let seen = std::mem::replace(&mut entry.seen, self.onlookers.nothing());
                self.gone.push((worker, entry.name.clone(), seen));
                entry.listed = false;
                entry.came = entry.functions.keys().cloned().collect();
                entry.went.clear();
                entry
                    .functions
                    .values_mut()
                    .for_each(|registration| registration.sealed = false);
            }
            entry.name = name.clone();
            entry.metadata = metadata.clone();
            entry.renamed = true;
            touch(entry, worker, &mut self.touched);
        }
        !entry.is_empty()
    }

    /// The slots of all that a worker provides.
    pub(super) fn slots(&self, worker: u64) -> impl Iterator<Item = usize> {
        let entry = self.workers.get(&worker);
        entry
            .into_iter()
            .flat_map(|entry| entry.functions.values().map(|it| it.slot))
    }

    /// The names of functions and the keys of bindings that the worker's newest connection has not
    /// registered again.
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

    /// Workers from `after` (not included) on, in the order of their ids.
    pub(super) fn workers_after(&self, after: u64) -> impl Iterator<Item = (u64, &Worker)> {
        self.workers
            .range(after + 1..)
            .map(|(&id, entry)| (id, entry))
    }

    /// What differs from the last revision, which then is the state of now.
    pub(super) fn seal(&mut self, items: &mut Vec<Item>) {
        self.departed.clear();
        for (worker, name, seen) in self.gone.drain(..) {
            let body = encoded(&WorkerKey {
                id: worker,
                name: Text(&name),
            });
            let nothing = self.onlookers.nothing();
            let sight = self.onlookers.sight(&seen, &nothing, None);
            items.push(item(worker, &name, Op::Removed, body, sight));
        }
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(entry) = self.workers.get_mut(&id) else {
                continue;
            };
            entry.touched = false;
            seal_worker(id, entry, &self.onlookers, items);
            if entry.is_empty() {
                self.workers.remove(&id);
            }
        }
        self.touched = kept(touched);
    }

    /// Workers that the last revision lists, from this id on.
    fn listed_from(&self, id: u64) -> impl Iterator<Item = (u64, &Worker)> {
        let mut there = self
            .workers
            .range(id..)
            .filter(|(_, it)| it.listed)
            .peekable();
        let mut departed = self.departed.range(id..).peekable();
        std::iter::from_fn(move || {
            let next = match (there.peek(), departed.peek()) {
                (Some((id, _)), Some((gone, _))) if gone < id => departed.next(),
                (None, _) => departed.next(),
                (Some(_), _) => there.next(),
            };
            next.map(|(&id, entry)| (id, entry))
        })
    }

    /// Workers that the last revision lists, behind `after`; with rules, those that provide something that these
    /// show. Each comes as entries of bounded size, with the mark behind which to go on; `visit` says whether to.
    pub(super) fn entries_after(
        &self,
        after: &Mark,
        covers: impl Fn(&str) -> bool,
        rules: Option<&Rc<Rules>>,
        mut visit: impl FnMut(Mark, Rc<[u8]>) -> bool,
    ) {
        for (id, entry) in self.listed_from(after.worker) {
            let begun = after.worker == id;
            if !covers(&entry.name) || begun && after.function.is_none() {
                continue;
            }
            let behind = after.function.as_deref().filter(|_| begun);
            let rules = rules.map(|rules| &**rules);
            let mut names = entry.shown_names(behind, rules).peekable();
            // One that only binds is said once, without functions.
            let mut said = begun || rules.is_some();
            while !said || names.peek().is_some() {
                let some = some_names(&mut names);
                let function = some.last().map(|&name| name.clone());
                let body = worker_entry(id, entry, true, &some, &[]);
                if !visit(
                    Mark {
                        worker: id,
                        function,
                    },
                    body,
                ) {
                    return;
                }
                said = true;
            }
        }
    }
}

/// How far a list of workers has got: a worker, and the last of its functions that was listed (none, if it
/// has none).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) worker: u64,
    pub(super) function: Option<Name>,
}

fn touch(entry: &mut Worker, worker: u64, touched: &mut Vec<u64>) {
    if !entry.touched {
        entry.touched = true;
        touched.push(worker);
    }
}

/// The items that say what changed about one worker.
fn seal_worker(id: u64, entry: &mut Worker, onlookers: &Onlookers, items: &mut Vec<Item>) {
    let mut went: Vec<Name> = Vec::new();
    for name in std::mem::take(&mut entry.went) {
        match entry.functions.get_mut(&name) {
            // Went and came back: the last revision has it, nothing changed.
            Some(registration) => registration.sealed = true,
            None => went.push(name),
        }
    }
    let mut came = std::mem::take(&mut entry.came);
    came.retain(|name| match entry.functions.get_mut(name) {
        Some(registration) => !std::mem::replace(&mut registration.sealed, true),
        None => false,
    });
    let before = entry.seen.clone();
    for name in &came {
        onlookers.add(&mut entry.seen, name);
    }
    for name in &went {
        onlookers.take(&mut entry.seen, name);
    }
    let mut sight = onlookers.sight(&before, &entry.seen, Some(&entry.metadata));
    let renamed = std::mem::take(&mut entry.renamed);
    let is_listed = !entry.is_empty();
    let was_listed = std::mem::replace(&mut entry.listed, is_listed);
    if !entry.listed {
        if was_listed {
            let body = encoded(&WorkerKey {
                id,
                name: Text(&entry.name),
            });
            items.push(item(id, &entry.name, Op::Removed, body, sight));
        }
        return;
    }
    let (mut came, mut went) = (came.iter().peekable(), went.iter().peekable());
    let mut op = if was_listed { Op::Updated } else { Op::Added };
    let mut said = was_listed && !renamed;
    while !said || came.peek().is_some() || went.peek().is_some() {
        let some_came = some_names(&mut came);
        let some_went = some_names(&mut went);
        let body = worker_entry(id, entry, !said, &some_came, &some_went);
        items.push(item(id, &entry.name, op, body, sight));
        (op, said) = (Op::Updated, true);
        // The entries that follow belong to one who is there already, or no longer.
        sight = onlookers.sight(&entry.seen, &entry.seen, Some(&entry.metadata));
    }
}

/// The next names, as many as one entry takes.
fn some_names<'a>(
    names: &mut std::iter::Peekable<impl Iterator<Item = &'a Name>>,
) -> Vec<&'a Name> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while let Some(name) = names.next_if(|_| bytes < NAMES_PER_ENTRY) {
        bytes += name.len() + 3;
        some.push(name);
    }
    some
}

fn worker_entry(
    id: u64,
    entry: &Worker,
    metadata: bool,
    came: &[&Name],
    went: &[&Name],
) -> Rc<[u8]> {
    encoded(&WorkerEntry {
        id,
        name: Text(&entry.name),
        // Said when the worker joins or changes it, not with each of its functions.
        metadata: if metadata {
            Bin(&entry.metadata)
        } else {
            Bin(&[])
        },
        added: came.iter().map(|name| Text(name)).collect(),
        removed: went.iter().map(|name| Text(name)).collect(),
    })
}

fn item(worker: u64, name: &Name, op: Op, body: Rc<[u8]>, sight: Option<Rc<Sight>>) -> Item {
    Item {
        section: Section::Workers,
        key: name.clone(),
        worker,
        op,
        body,
        sight,
    }
}
