//! The board as rebuilt from a link's notices alone. It must be what the link's view shows, whatever
//! the engine says.

use std::collections::BTreeMap;

use callboard::worker::link::Link;
use callboard::worker::{Binding, Change, Entry, Notice, Step, WorkerInfo};

type BindingKey = (String, String, String);

#[derive(Debug, Default)]
pub struct Replica {
    functions: BTreeMap<String, Entry>,
    workers: BTreeMap<(u64, u64), WorkerInfo>,
    bindings: BTreeMap<BindingKey, Binding>,
    connected: bool,
    pub ended: bool,
}

fn key(binding: &Binding) -> BindingKey {
    let words = [binding.event(), binding.function(), binding.id()];
    let [event, function, id] = words.map(str::to_owned);
    (event, function, id)
}

/// A worker without its marks.
fn provided(worker: &WorkerInfo) -> ((u64, u64), String, Vec<String>) {
    let functions = worker.functions().map(str::to_owned).collect();
    (worker.key(), worker.name().to_owned(), functions)
}

impl Replica {
    pub fn hear(&mut self, notice: Notice) {
        assert!(!self.ended, "{notice:?} came behind the end");
        match notice {
            Notice::Step(Step { changes, .. }) => {
                assert!(!changes.is_empty());
                for change in changes {
                    self.apply(change);
                }
            }
            Notice::Connected(_) => {
                assert!(!self.connected);
                self.connected = true;
            }
            Notice::Disconnected(_) => {
                assert!(self.connected);
                self.connected = false;
            }
            Notice::Synced { .. } => assert!(self.connected),
            Notice::NotRestored { .. } | Notice::Restored { .. } => {}
            Notice::Missed => panic!("a link misses nothing"),
            Notice::Ended(_) => self.ended = true,
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Added(new) => {
                let before = self.functions.insert(new.name().to_owned(), new);
                assert!(before.is_none(), "{before:?} was there");
            }
            Change::Removed(old) => {
                assert!(self.functions.remove(old.name()).is_some(), "{old:?}");
            }
            Change::Updated { old, new } => {
                let before = self.functions.insert(new.name().to_owned(), new);
                assert_eq!(before.as_ref().map(Entry::function), Some(old.function()));
            }
            Change::WorkerJoined(new) => {
                let before = self.workers.insert(new.key(), new);
                assert!(before.is_none(), "{before:?} was there");
            }
            Change::WorkerLeft(old) => {
                assert!(self.workers.remove(&old.key()).is_some(), "{old:?}");
            }
            Change::WorkerUpdated { old, new, .. } => {
                assert!(self.workers.remove(&old.key()).is_some(), "{old:?}");
                let before = self.workers.insert(new.key(), new);
                assert!(before.is_none(), "{before:?} was there");
            }
            Change::BindingAdded(new) => {
                let before = self.bindings.insert(key(&new), new);
                assert!(before.is_none(), "{before:?} was there");
            }
            Change::BindingRemoved(old) => {
                assert!(self.bindings.remove(&key(&old)).is_some(), "{old:?}");
            }
            Change::BindingUpdated { old, new } => {
                assert!(self.bindings.remove(&key(&old)).is_some(), "{old:?}");
                self.bindings.insert(key(&new), new);
            }
        }
    }

    /// The notices add up to the view.
    pub fn check(&self, link: &Link) {
        let view = link.view();
        let shown: Vec<Entry> = view.with_prefix("").collect();
        assert_eq!(view.len(), shown.len());
        let known = self.functions.values().map(Entry::function);
        assert!(known.eq(shown.iter().map(Entry::function)));
        let mut known: Vec<_> = self.workers.values().map(provided).collect();
        known.sort();
        let mut shown: Vec<_> = view.workers().map(|it| provided(&it)).collect();
        shown.sort();
        assert_eq!(known, shown);
        let known: Vec<_> = self.bindings.values().map(Binding::to_wire).collect();
        let shown: Vec<Binding> = view.bindings().collect();
        let shown: Vec<_> = shown.iter().map(Binding::to_wire).collect();
        assert_eq!(known, shown);
        assert_eq!(self.connected, link.connection().is_some());
    }
}
