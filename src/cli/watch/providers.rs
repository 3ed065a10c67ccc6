//! The providers of each function, followed change by change: the live board may be further ahead than the change
//! being shown, and no longer knows removed entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use callboard::worker::{Change, Snapshot, WorkerInfo};

/// The workers by id, and the functions with their providers' ids.
#[derive(Debug, Default)]
pub(super) struct Providers {
    workers: BTreeMap<u64, String>,
    functions: HashMap<String, BTreeSet<u64>>,
}

impl Providers {
    pub(super) fn of(board: &Snapshot) -> Self {
        let mut providers = Self::default();
        for worker in &board.workers {
            providers.join(worker);
        }
        providers
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::WorkerJoined(worker) => self.join(worker),
            Change::WorkerLeft(worker) => self.leave(worker),
            Change::WorkerUpdated { old, new, .. } if old.id() != new.id() => {
                self.leave(old);
                self.join(new);
            }
            Change::WorkerUpdated {
                new,
                added,
                removed,
                ..
            } => {
                // A takeover may change the name.
                self.workers.insert(new.id(), new.name().to_owned());
                for function in removed {
                    self.remove(function, new.id());
                }
                for function in added {
                    self.add(function, new.id());
                }
            }
            _ => {}
        }
    }

    /// Names of the providers of a function, oldest first.
    pub(super) fn names(&self, function: &str) -> Vec<String> {
        let ids = self.functions.get(function).into_iter().flatten();
        ids.filter_map(|id| self.workers.get(id).cloned()).collect()
    }

    /// The number of workers on the board.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    fn join(&mut self, worker: &WorkerInfo) {
        self.workers.insert(worker.id(), worker.name().to_owned());
        for function in worker.functions() {
            self.add(function, worker.id());
        }
    }

    fn leave(&mut self, worker: &WorkerInfo) {
        self.workers.remove(&worker.id());
        for function in worker.functions() {
            self.remove(function, worker.id());
        }
    }

    fn add(&mut self, function: &str, worker: u64) {
        if let Some(ids) = self.functions.get_mut(function) {
            ids.insert(worker);
        } else {
            let ids = BTreeSet::from([worker]);
            self.functions.insert(function.to_owned(), ids);
        }
    }

    fn remove(&mut self, function: &str, worker: u64) {
        if let Some(ids) = self.functions.get_mut(function) {
            ids.remove(&worker);
            if ids.is_empty() {
                self.functions.remove(function);
            }
        }
    }
}
