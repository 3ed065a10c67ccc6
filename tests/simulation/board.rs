//! The board as it should be: an independent, plain model of one namespace. Providers by their tiers and bindings, in
//! the order in which they came; what each revision shows; and from when to when a worker provided a function. It is
//! told what happened and in which order, and never asks the engine.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callboard::protocol::{BindingEntry, Definition};

use crate::filter::Filter;
use crate::journal::saw;

/// A function as the board shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub description: String,
    pub metadata: Vec<u8>,
    pub exclusive: bool,
}

impl Entry {
    pub(crate) fn of(it: &Definition<'_>) -> Self {
        Self {
            description: it.description.to_string(),
            metadata: it.metadata.to_vec(),
            exclusive: it.exclusive,
        }
    }
}

/// Event, function and id of a binding.
pub(crate) type Key = (Rc<str>, Rc<str>, Rc<str>);

/// What a binding says beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tie {
    pub config: Vec<u8>,
    pub deliver_all: bool,
}

/// A worker as the board shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub name: Rc<str>,
    pub metadata: Rc<[u8]>,
    pub functions: BTreeSet<Rc<str>>,
}

/// What one revision shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Board {
    pub functions: BTreeMap<Rc<str>, Rc<Entry>>,
    pub workers: BTreeMap<u64, Rc<Row>>,
    pub bindings: BTreeMap<Key, Rc<Tie>>,
}

/// What a revision touched.
#[derive(Debug, Default)]
pub(crate) struct Step {
    functions: BTreeSet<Rc<str>>,
    workers: BTreeSet<u64>,
    bindings: BTreeSet<Key>,
    /// More bytes than the engine's log may count for it.
    weight: usize,
}

/// Every revision of one epoch.
#[derive(Debug)]
pub(crate) struct History {
    pub boards: Vec<Rc<Board>>,
    steps: Vec<Step>,
}

/// Shared by those who compare with it, also after the engine is gone.
pub(crate) type SharedHistory = Rc<RefCell<History>>;

impl History {
    fn new() -> Self {
        Self {
            boards: vec![Rc::default()],
            steps: vec![Step::default()],
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.boards.len() as u64 - 1
    }

    /// More bytes than the engine's log may count for the last step.
    pub(crate) fn last_weight(&self) -> usize {
        self.steps.last().map_or(0, |it| it.weight)
    }

    /// Whether a watcher has anything to hear of in the revisions after `from`, up to `to`; how many.
    pub(crate) fn concerning(&self, filter: &Filter, from: u64, to: u64) -> usize {
        let range =
            (from as usize + 1).min(self.steps.len())..(to as usize + 1).min(self.steps.len());
        if range.start >= range.end {
            return 0;
        }
        let concerns = |at: &usize| {
            let step = &self.steps[*at];
            let seen = |at: usize, id: &u64| {
                let row = self.boards[at].workers.get(id);
                row.and_then(|row| filter.row(row))
            };
            let differs = |id: &u64| seen(at - 1, id) != seen(*at, id);
            step.functions.iter().any(|it| filter.has_function(it))
                || step.workers.iter().any(differs)
                || step
                    .bindings
                    .iter()
                    .any(|it| filter.has_binding(&it.0, &it.1))
        };
        range.filter(concerns).count()
    }
}

/// A worker that provides or binds something.
#[derive(Debug)]
struct Member {
    name: Rc<str>,
    metadata: Rc<[u8]>,
    /// Counts takeovers.
    generation: u32,
    /// With the generation that registered it last.
    functions: BTreeMap<Rc<str>, u32>,
    bindings: BTreeMap<Key, u32>,
}

/// From when to when, in ticks; the end is not included.
type Stretch = (u64, u64);

/// Not over yet.
const ONGOING: u64 = u64::MAX;

/// The model.
#[derive(Debug)]
pub(crate) struct Namespace {
    functions: BTreeMap<Rc<str>, Vec<(u64, Rc<Entry>)>>,
    bindings: BTreeMap<Key, Vec<(u64, Rc<Tie>)>>,
    workers: BTreeMap<u64, Member>,
    /// The tiers of workers that ever provided something.
    tiers: BTreeMap<u64, u64>,
    /// As how many-eth a worker began to provide a function.
    came: BTreeMap<(Rc<str>, u64), u64>,
    /// How many did.
    count: u64,
    /// When a worker provided a function.
    stretches: BTreeMap<(u64, Rc<str>), Vec<Stretch>>,
    touched: bool,
    pub history: SharedHistory,
    pub epoch: Option<u64>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        Self {
            functions: BTreeMap::new(),
            bindings: BTreeMap::new(),
            workers: BTreeMap::new(),
            tiers: BTreeMap::new(),
            came: BTreeMap::new(),
            count: 0,
            stretches: BTreeMap::new(),
            touched: false,
            history: Rc::new(RefCell::new(History::new())),
            epoch: None,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.history.borrow().revision()
    }

    fn member(&mut self, worker: u64, name: &Rc<str>, metadata: &Rc<[u8]>) -> &mut Member {
        self.workers.entry(worker).or_insert_with(|| Member {
            name: name.clone(),
            metadata: metadata.clone(),
            generation: 0,
            functions: BTreeMap::new(),
            bindings: BTreeMap::new(),
        })
    }

    /// The providers of a function: those of the lowest tier first, and of one tier the longest-standing.
    pub(crate) fn providers(&self, function: &str) -> impl Iterator<Item = u64> {
        let list = self.functions.get(function).into_iter().flatten();
        list.map(|(worker, _)| *worker)
    }

    /// What a worker provides.
    pub(crate) fn functions_of(&self, worker: u64) -> BTreeSet<Rc<str>> {
        let member = self.workers.get(&worker);
        member.map_or_else(BTreeSet::new, |it| it.functions.keys().cloned().collect())
    }

    pub(crate) fn bindings_of(&self, worker: u64) -> BTreeSet<Key> {
        let member = self.workers.get(&worker);
        member.map_or_else(BTreeSet::new, |it| it.bindings.keys().cloned().collect())
    }

    /// Whether a worker provided a function at any tick from `from` on, up to `to`.
    pub(crate) fn provided(&self, worker: u64, function: &str, from: u64, to: u64) -> bool {
        let known = self.stretches.get(&(worker, Rc::from(function)));
        known.is_some_and(|list| list.iter().any(|it| it.0 <= to && it.1 > from))
    }

    /// Whether anybody provided a function at any tick from `from` on.
    pub(crate) fn was_provided(&self, function: &str, from: u64) -> bool {
        let of_it = |((_, name), list): (&(u64, Rc<str>), &Vec<Stretch>)| {
            **name == *function && list.iter().any(|it| it.1 > from)
        };
        self.stretches.iter().any(of_it)
    }

    /// Whether `worker` may not provide this beside those who do.
    pub(crate) fn conflicts(&self, worker: u64, function: &str, exclusive: bool) -> bool {
        let list = self.functions.get(function).into_iter().flatten();
        let mut others = list.filter(|(it, _)| *it != worker);
        others
            .next()
            .is_some_and(|(_, it)| it.exclusive || exclusive)
    }

    pub(crate) fn provide(
        &mut self,
        (worker, name, metadata): (u64, &Rc<str>, &Rc<[u8]>),
        (function, tier): (&str, u64),
        entry: Entry,
        tick: u64,
    ) {
        let function: Rc<str> = function.into();
        self.touched = true;
        self.tiers.insert(worker, tier);
        let member = self.member(worker, name, metadata);
        let generation = member.generation;
        member.functions.insert(function.clone(), generation);
        let list = self.functions.entry(function.clone()).or_default();
        if let Some((_, old)) = list.iter_mut().find(|(it, _)| *it == worker) {
            *old = entry.into();
        } else {
            self.count += 1;
            self.came.insert((function.clone(), worker), self.count);
            list.push((worker, entry.into()));
            self.sort(&function);
            let stretches = self.stretches.entry((worker, function)).or_default();
            stretches.push((tick, ONGOING));
        }
    }

    pub(crate) fn withdraw(&mut self, worker: u64, function: &str, tick: u64) {
        self.touched = true;
        if let Some(member) = self.workers.get_mut(&worker) {
            member.functions.remove(function);
        }
        if let Some(list) = self.functions.get_mut(function) {
            list.retain(|(it, _)| *it != worker);
        }
        let stretches = self.stretches.get_mut(&(worker, Rc::from(function)));
        if let Some(last) = stretches.and_then(|list| list.last_mut())
            && last.1 == ONGOING
        {
            last.1 = tick;
        }
    }

    pub(crate) fn bind(
        &mut self,
        (worker, name, metadata): (u64, &Rc<str>, &Rc<[u8]>),
        entry: &BindingEntry<'_>,
    ) {
        let key: Key = (
            entry.event.0.into(),
            entry.function.0.into(),
            entry.id.0.into(),
        );
        self.touched = true;
        let member = self.member(worker, name, metadata);
        let generation = member.generation;
        member.bindings.insert(key.clone(), generation);
        let tie = Rc::new(Tie {
            config: entry.config.to_vec(),
            deliver_all: entry.deliver_all,
        });
        let list = self.bindings.entry(key).or_default();
        match list.iter_mut().find(|(it, _)| *it == worker) {
            Some((_, old)) => *old = tie,
            None => list.push((worker, tie)),
        }
    }

    pub(crate) fn unbind(&mut self, worker: u64, key: &Key) {
        self.touched = true;
        if let Some(member) = self.workers.get_mut(&worker) {
            member.bindings.remove(key);
        }
        if let Some(list) = self.bindings.get_mut(key) {
            list.retain(|(it, _)| *it != worker);
        }
    }

    /// The functions bound to an event, and whether all of its providers are meant.
    pub(crate) fn bound_to(&self, event: &str) -> BTreeMap<Rc<str>, bool> {
        let mut bound = BTreeMap::new();
        for (key, list) in &self.bindings {
            if *key.0 == *event
                && let Some((_, first)) = list.first()
            {
                *bound.entry(key.1.clone()).or_insert(false) |= first.deliver_all;
            }
        }
        bound
    }

    /// Whether a binding means all providers of its function.
    pub(crate) fn is_to_all(&self, key: &Key) -> bool {
        let first = self.bindings.get(key).and_then(|list| list.first());
        first.is_some_and(|(_, tie)| tie.deliver_all)
    }

    /// How many bindings an event has.
    pub(crate) fn bindings_to(&self, event: &str) -> usize {
        self.bindings.keys().filter(|key| *key.0 == *event).count()
    }

    /// Functions of a worker that it may not have.
    pub(crate) fn functions_beyond(&self, worker: u64, may: impl Fn(&str) -> bool) -> Vec<Rc<str>> {
        let functions = self.functions_of(worker).into_iter();
        functions.filter(|name| !may(name)).collect()
    }

    /// Bindings of a worker that it may not have.
    pub(crate) fn bindings_beyond(&self, worker: u64, may: impl Fn(&str) -> bool) -> Vec<Key> {
        let bindings = self.bindings_of(worker).into_iter();
        bindings
            .filter(|key| !may(&key.0) || !may(&key.1))
            .collect()
    }

    /// All that a worker has leaves.
    pub(crate) fn remove(&mut self, worker: u64, tick: u64) {
        for function in self.functions_of(worker) {
            self.withdraw(worker, &function, tick);
        }
        for key in self.bindings_of(worker) {
            self.unbind(worker, &key);
        }
        self.workers.remove(&worker);
    }

    /// What a worker provides is of another tier from now on.
    pub(crate) fn set_tier(&mut self, worker: u64, tier: u64) {
        if self.tiers.insert(worker, tier) == Some(tier) {
            return;
        }
        for function in self.functions_of(worker) {
            self.touched = true;
            self.sort(&function);
            if self.functions[&function].len() > 1 {
                saw("one of several providers was of another tier than before");
            }
        }
    }

    /// Puts the providers of a function into their order.
    fn sort(&mut self, function: &Rc<str>) {
        let place = |(worker, _): &(u64, Rc<Entry>)| {
            (self.tiers[worker], self.came[&(function.clone(), *worker)])
        };
        let list = self.functions.get_mut(function).expect("it is provided");
        let newest = list.last().map(|(worker, _)| *worker);
        list.sort_by_key(place);
        if list.last().map(|(worker, _)| *worker) != newest {
            saw("a provider came before those of higher tiers");
        }
    }

    /// Another connection speaks for the worker, maybe under another name, with other metadata or of another tier. Says
    /// whether there is anything to confirm.
    pub(crate) fn take_over(
        &mut self,
        worker: u64,
        (name, metadata): (&str, &[u8]),
        tier: u64,
    ) -> bool {
        self.set_tier(worker, tier);
        let Some(member) = self.workers.get_mut(&worker) else {
            return false;
        };
        if (&*member.name, &*member.metadata) != (name, metadata) {
            (member.name, member.metadata) = (name.into(), metadata.into());
            self.touched = true;
            saw("a takeover changed what its worker says of itself");
        }
        member.generation += 1;
        !member.functions.is_empty() || !member.bindings.is_empty()
    }

    /// What the newer connection did not register again leaves. Says how much that was.
    pub(crate) fn confirm(&mut self, worker: u64, tick: u64) -> usize {
        let Some(member) = self.workers.get(&worker) else {
            return 0;
        };
        let old = |generation: &u32| *generation != member.generation;
        let functions = member.functions.iter().filter(|(_, it)| old(it));
        let functions: Vec<Rc<str>> = functions.map(|(name, _)| name.clone()).collect();
        let bindings = member.bindings.iter().filter(|(_, it)| old(it));
        let bindings: Vec<Key> = bindings.map(|(key, _)| key.clone()).collect();
        for function in &functions {
            self.withdraw(worker, function, tick);
        }
        for key in &bindings {
            self.unbind(worker, key);
        }
        functions.len() + bindings.len()
    }

    /// The turn is over: what differs from the last revision is the next one.
    pub(crate) fn seal(&mut self) -> bool {
        if !std::mem::take(&mut self.touched) {
            return false;
        }
        self.functions.retain(|_, list| !list.is_empty());
        self.bindings.retain(|_, list| !list.is_empty());
        self.workers
            .retain(|_, it| !it.functions.is_empty() || !it.bindings.is_empty());
        let functions = self.functions.iter();
        let bindings = self.bindings.iter();
        let row = |it: &Member| Row {
            name: it.name.clone(),
            metadata: it.metadata.clone(),
            functions: it.functions.keys().cloned().collect(),
        };
        let mut history = self.history.borrow_mut();
        let last = history.boards.last().cloned().unwrap_or_default();
        let workers = self.workers.iter().map(|(&id, member)| {
            let row = row(member);
            // The same rows are shared, so that a comparison is quick.
            let old = last.workers.get(&id).filter(|old| ***old == row);
            (id, old.cloned().unwrap_or_else(|| row.into()))
        });
        let board = Board {
            functions: functions
                .map(|(name, list)| (name.clone(), list[0].1.clone()))
                .collect(),
            workers: workers.collect(),
            bindings: bindings
                .map(|(key, list)| (key.clone(), list[0].1.clone()))
                .collect(),
        };
        if board == *last {
            return false;
        }
        let step = difference(&last, &board);
        history.boards.push(board.into());
        history.steps.push(step);
        true
    }
}

/// What one revision changed.
fn difference(old: &Board, new: &Board) -> Step {
    let mut step = Step::default();
    for name in old.functions.keys().chain(new.functions.keys()) {
        if old.functions.get(name) != new.functions.get(name) && step.functions.insert(name.clone())
        {
            let bytes = |it: &Rc<Entry>| it.description.len() + it.metadata.len();
            step.weight += 2 * name.len() + 300 + new.functions.get(name).map_or(0, bytes);
        }
    }
    for (id, row) in old.workers.iter().chain(&new.workers) {
        if old.workers.get(id) != new.workers.get(id) {
            step.workers.insert(*id);
            let names: usize = row.functions.iter().map(|it| it.len() + 5).sum();
            step.weight += 300 + names + row.metadata.len();
        }
    }
    for key in old.bindings.keys().chain(new.bindings.keys()) {
        if old.bindings.get(key) != new.bindings.get(key) {
            step.bindings.insert(key.clone());
            let config = new.bindings.get(key).map_or(0, |it| it.config.len());
            step.weight += 300 + 2 * (key.0.len() + key.1.len() + key.2.len()) + config;
        }
    }
    step
}
