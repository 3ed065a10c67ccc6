//! The board as rebuilt from a worker's notices alone. They must add up to the worker's
//! view.

use std::collections::BTreeMap;

use callboard::worker::link::Link;
use callboard::worker::{Binding, Cause, Change, Entry, Notice, WorkerInfo};

use crate::journal::{hold, saw};

#[derive(Debug, Default)]
pub(crate) struct Replica {
    functions: BTreeMap<String, Entry>,
    workers: BTreeMap<(u64, u64), WorkerInfo>,
    bindings: BTreeMap<(String, String, String), Binding>,
    revision: u64,
    synced: bool,
}

fn key(it: &Binding) -> (String, String, String) {
    (it.event().into(), it.function().into(), it.id().into())
}

/// A worker without its marks.
fn bare(it: &WorkerInfo) -> (&str, u64, &[u8], Vec<&str>) {
    (
        it.name(),
        it.id(),
        it.raw_metadata(),
        it.functions().collect(),
    )
}

impl Replica {
    pub(crate) fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Step(step) => {
                hold!(
                    !step.changes.is_empty(),
                    "a notice tells something",
                    "{step:?}"
                );
                if matches!(step.cause, Cause::Pushed) {
                    hold!(
                        step.from >= self.revision && step.to > step.from,
                        "the chain of revisions never breaks",
                        "a step from {} to {} at {}",
                        step.from,
                        step.to,
                        self.revision
                    );
                }
                if matches!(step.cause, Cause::Settled) {
                    saw("what did not come back after a restart was removed");
                }
                self.revision = step.to;
                for change in step.changes {
                    let fits = self.fits(&change);
                    hold!(fits, "notices add up to the view", "{change:?}");
                }
            }
            Notice::Synced { revision } => (self.synced, self.revision) = (true, revision),
            Notice::Disconnected(_) => self.synced = false,
            Notice::NotRestored { .. } => {
                saw("what was registered before was refused after a reconnect");
            }
            Notice::Restored { .. } => {
                saw("what was refused after a reconnect came back");
            }
            Notice::Connected(_) | Notice::Ended(_) => {}
            Notice::Missed => panic!("a link's own notices are never missed"),
        }
    }

    /// Applies a change, and says whether it fits what was told before.
    fn fits(&mut self, change: &Change) -> bool {
        let Self {
            functions,
            workers,
            bindings,
            ..
        } = self;
        match change {
            Change::Added(new) => functions
                .insert(new.name().to_owned(), new.clone())
                .is_none(),
            Change::Removed(old) => functions.remove(old.name()).is_some(),
            Change::Updated { old, new } => {
                let before = functions.insert(new.name().to_owned(), new.clone());
                before.is_some_and(|it| it.function() == old.function())
                    && old.function() != new.function()
            }
            Change::WorkerJoined(new) => workers.insert(new.key(), new.clone()).is_none(),
            Change::WorkerLeft(old) => workers.remove(&old.key()).is_some(),
            Change::WorkerUpdated { old, new, .. } => {
                workers.remove(&old.key()).is_some()
                    && workers.insert(new.key(), new.clone()).is_none()
            }
            Change::BindingAdded(new) => bindings.insert(key(new), new.clone()).is_none(),
            Change::BindingRemoved(old) => bindings.remove(&key(old)).is_some(),
            Change::BindingUpdated { old, new } => {
                bindings.remove(&key(old)).is_some()
                    && bindings.insert(key(new), new.clone()).is_none()
            }
        }
    }

    pub(crate) fn assert_adds_up_to(&self, link: &Link, who: &str) {
        let view = link.view();
        let known = self
            .functions
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.function()));
        let entries: Vec<Entry> = view.with_prefix("").collect();
        let same = known.eq(entries.iter().map(|entry| (entry.name(), entry.function())));
        hold!(
            same,
            "notices add up to the view",
            "{who}: functions {:?}, view {entries:?}",
            self.functions
        );
        let seen: Vec<WorkerInfo> = view.workers().collect();
        let mut seen: Vec<_> = seen.iter().map(bare).collect();
        let mut known: Vec<_> = self.workers.values().map(bare).collect();
        seen.sort_unstable();
        known.sort_unstable();
        hold!(
            known == seen,
            "notices add up to the view",
            "{who}: workers {known:?}, view {seen:?}"
        );
        let seen: Vec<Binding> = view.bindings().collect();
        let told = |it: &Binding| (key(it), it.raw_config().to_vec(), it.delivers_to_all());
        let same = self.bindings.values().map(told).eq(seen.iter().map(told));
        hold!(
            same,
            "notices add up to the view",
            "{who}: bindings {:?}, view {seen:?}",
            self.bindings
        );
        // It may have fallen behind since, and is being brought up to date.
        hold!(
            self.synced || !view.is_live(),
            "notices add up to the view",
            "{who}: the view is live, and nobody was told"
        );
    }
}
