//! The board as one worker sees it, kept up to date by the engine's messages. Finds gaps between changes, applies
//! steps completely or not at all, builds a new board aside during a snapshot, and reports the differences of each
//! step. Has no clock: the time goes in, a deadline comes out.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contents::{Contents, EntryChange, Fit, OwnEntries};
use super::entry::{Binding, BindingName, Entry, WorkerInfo};
pub use super::error::ViewError;
use super::notice::{Cause, Change, Step};
use super::snapshot::Snapshot;
use crate::protocol::Sections;

/// A worker's view of the board.
#[derive(Debug)]
pub struct View {
    watching: bool,
    contents: Contents,
    revision: u64,
    /// Origin of the contents; `None` before there are any.
    origin: Option<Origin>,
    /// The contents must not be resumed from.
    needs_snapshot: bool,
    /// Origin that the connection announced.
    current: Origin,
    state: SyncState,
    /// Parts of a step whose last part has not arrived.
    partial_step: Option<PartialStep>,
    stale_since: Option<Instant>,
    settle_at: Option<Instant>,
    own: OwnEntries,
}

/// Where contents come from, for HELLO's resume point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The engine's epoch.
    pub epoch: u64,
    /// WELCOME's digest.
    pub digest: Box<[u8]>,
}

#[derive(Debug)]
enum SyncState {
    /// There is no connection, or no WELCOME yet.
    Offline,
    /// WELCOME arrived: RESYNC must follow.
    Announced,
    /// WELCOME resumed: changes follow, then SYNCED.
    Resuming,
    /// Between RESYNC and SYNCED.
    Staging(Box<StagedBoard>),
    /// The view is right as of its revision.
    Live,
}

#[derive(Debug)]
struct StagedBoard {
    contents: Contents,
    revision: u64,
    reason: Arc<str>,
}

#[derive(Debug)]
struct PartialStep {
    from: u64,
    to: u64,
    changes: Vec<EntryChange>,
}

impl View {
    /// An empty view, stale from `now` on. A view that watches nothing stays empty.
    #[must_use]
    pub fn new(watching: bool, now: Instant) -> Self {
        Self {
            watching,
            contents: Contents::default(),
            revision: 0,
            origin: None,
            needs_snapshot: false,
            current: Origin::default(),
            state: SyncState::Offline,
            partial_step: None,
            stale_since: Some(now),
            settle_at: None,
            own: OwnEntries::default(),
        }
    }

    /// WELCOME arrived. `resumed` and `settling` are its fields, `worker` is this worker's id.
    pub fn welcome(
        &mut self,
        origin: Origin,
        worker: u64,
        revision: u64,
        resumed: bool,
        settling: Duration,
        now: Instant,
    ) {
        let known = self.origin.as_ref().map(|old| old.epoch);
        let restarted = known.is_some_and(|epoch| epoch != origin.epoch);
        // Contents of another epoch cannot be resumed, whatever the engine says: its changes would arrive
        // unannounced.
        let resumed = resumed && known == Some(origin.epoch);
        if !settling.is_zero() && (restarted || self.contents.any_stale()) {
            self.settle_at = Some(now + settling);
        }
        self.own.worker = Some(worker);
        self.current = origin;
        if !self.watching {
            self.origin = Some(self.current.clone());
            self.revision = revision;
            self.state = SyncState::Live;
            self.stale_since = None;
        } else if resumed {
            self.origin = Some(self.current.clone());
            self.state = SyncState::Resuming;
        } else {
            self.state = SyncState::Announced;
        }
    }

    /// The connection was lost. The view stays, stale from now on.
    pub fn lose(&mut self, now: Instant) {
        self.state = SyncState::Offline;
        self.partial_step = None;
        self.stale_since.get_or_insert(now);
    }

    /// The contents are unreliable: the next HELLO requests a full snapshot.
    pub fn distrust(&mut self) {
        self.needs_snapshot = true;
    }

    /// RESYNC arrived: a snapshot that replaces this board follows.
    pub fn resync(&mut self, revision: u64, reason: &str, now: Instant) -> Result<(), ViewError> {
        if !self.watching || matches!(self.state, SyncState::Offline) {
            return Err(ViewError::Unannounced);
        }
        self.partial_step = None;
        self.stale_since.get_or_insert(now);
        self.state = SyncState::Staging(Box::new(StagedBoard {
            contents: Contents::of(self.current.epoch),
            revision,
            reason: reason.into(),
        }));
        Ok(())
    }

    /// A chunk of a snapshot arrived.
    pub fn snapshot(&mut self, sections: &Sections<'_>) -> Result<(), ViewError> {
        let SyncState::Staging(staging) = &mut self.state else {
            return Err(ViewError::Unannounced);
        };
        staging
            .contents
            .apply(EntryChange::all_of(sections), Fit::Loose, staging.revision)
    }

    /// CHANGES arrived. Returns the step once it is complete and made a visible difference.
    pub fn changes(
        &mut self,
        from: u64,
        to: u64,
        more: bool,
        sections: &Sections<'_>,
    ) -> Result<Option<Step>, ViewError> {
        if !self.watching {
            return Err(ViewError::Unannounced);
        }
        let mine = match &self.state {
            SyncState::Offline | SyncState::Announced => return Err(ViewError::Unannounced),
            SyncState::Staging(staging) => staging.revision,
            SyncState::Resuming | SyncState::Live => self.revision,
        };
        if let Some(partial_step) = &self.partial_step
            && (partial_step.from, partial_step.to) != (from, to)
        {
            return Err(ViewError::Torn {
                unfinished: partial_step.to,
            });
        }
        if to <= mine {
            return Ok(None);
        }
        if from > mine {
            return Err(ViewError::Gap { mine, from, to });
        }
        let partial_step = self.partial_step.get_or_insert(PartialStep {
            from,
            to,
            changes: Vec::new(),
        });
        partial_step.changes.extend(EntryChange::all_of(sections));
        if more {
            return Ok(None);
        }
        let changes = self
            .partial_step
            .take()
            .map(|partial_step| partial_step.changes)
            .unwrap_or_default();
        if let SyncState::Staging(staging) = &mut self.state {
            staging.contents.apply(changes, Fit::Loose, to)?;
            staging.revision = to;
            return Ok(None);
        }
        self.contents.apply(changes, Fit::Exact, to)?;
        self.revision = to;
        let changes = self.contents.commit(&self.own);
        Ok(step(mine, to, Cause::Pushed, changes))
    }

    /// SYNCED arrived: the view is right as of `revision`. Returns at most two steps: the differences of a replaced
    /// board, and the removal of entries that were kept too long.
    pub fn synced(&mut self, revision: u64, now: Instant) -> Result<Vec<Step>, ViewError> {
        if let Some(partial_step) = &self.partial_step {
            return Err(ViewError::Torn {
                unfinished: partial_step.to,
            });
        }
        let mut steps = Vec::new();
        match std::mem::replace(&mut self.state, SyncState::Live) {
            state @ (SyncState::Offline | SyncState::Announced) => {
                self.state = state;
                return Err(ViewError::Unannounced);
            }
            SyncState::Resuming | SyncState::Live => self.revision = self.revision.max(revision),
            SyncState::Staging(staging) => {
                let from = self.revision;
                let old = std::mem::replace(&mut self.contents, staging.contents);
                let keep = self.settle_at.is_some_and(|at| now < at);
                let known = self.origin.as_ref().map(|origin| origin.epoch);
                let other_epoch = known != Some(self.current.epoch);
                let changes = self.contents.replace(old, keep, other_epoch, &self.own);
                self.revision = staging.revision.max(revision);
                self.origin = Some(self.current.clone());
                self.needs_snapshot = false;
                let reason = staging.reason;
                steps.extend(step(
                    from,
                    self.revision,
                    Cause::Replaced { reason },
                    changes,
                ));
            }
        }
        self.stale_since = None;
        steps.extend(self.settle(now));
        Ok(steps)
    }

    /// PING or PONG arrived: all watched changes up to `revision` were sent before it.
    pub fn bookmark(&mut self, revision: u64) {
        if matches!(self.state, SyncState::Live) && self.partial_step.is_none() {
            self.revision = self.revision.max(revision);
        }
    }

    /// When [`View::settle`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.settle_at
            .filter(|_| matches!(self.state, SyncState::Live))
    }

    /// Removes entries that did not return to a restarted engine in time.
    pub fn settle(&mut self, now: Instant) -> Option<Step> {
        self.next_deadline().filter(|&at| at <= now)?;
        self.settle_at = None;
        let changes = self.contents.drop_stale(&self.own);
        step(self.revision, self.revision, Cause::Settled, changes)
    }

    /// Marks a function as this worker's own, or removes the mark.
    pub fn set_own(&mut self, name: &Arc<str>, own: bool) {
        if own {
            self.own.functions.insert(name.clone());
        } else {
            self.own.functions.remove(name);
        }
    }

    /// The functions marked as this worker's own.
    #[cfg(debug_assertions)]
    pub(super) fn own(&self) -> impl Iterator<Item = &Arc<str>> {
        self.own.functions.iter()
    }

    /// Checks what stands beside the contents.
    ///
    /// # Panics
    /// If the difference of a step was not reported, or the state does not fit what was received.
    #[cfg(debug_assertions)]
    pub(super) fn check_books(&self) {
        let Self {
            watching,
            contents,
            revision: _,
            origin,
            needs_snapshot: _,
            current,
            state,
            partial_step,
            stale_since,
            settle_at,
            own: _,
        } = self;
        assert!(!contents.has_uncommitted(), "a step that was not reported");
        let is_live = matches!(state, SyncState::Live);
        assert!(!is_live || stale_since.is_none(), "live and stale");
        assert!(
            !is_live || origin.as_ref() == Some(current),
            "of another origin"
        );
        let follows = !matches!(state, SyncState::Offline | SyncState::Announced);
        assert!(partial_step.is_none() || *watching && follows);
        let waits = contents.any_stale() && is_live;
        assert!(!waits || settle_at.is_some(), "kept for no time");
    }

    /// Where a later connection may resume: origin and revision.
    #[must_use]
    pub fn resume_point(&self) -> Option<(&Origin, u64)> {
        let origin = self
            .origin
            .as_ref()
            .filter(|_| self.watching && !self.needs_snapshot)?;
        Some((origin, self.revision))
    }

    /// Whether the view is right as of its revision and follows changes.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, SyncState::Live)
    }

    /// Since when the view may be out of date.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        self.stale_since
    }

    /// Its revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of functions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.functions.values().len()
    }

    /// Whether there are no functions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a function with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.contents.functions.values().contains_key(name)
    }

    /// The function with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Entry> {
        let value = self.contents.functions.values().get(name)?;
        Some(self.own.entry(value, self.stale_since.is_some()))
    }

    /// All functions whose names begin with this prefix, in order.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = Entry> {
        let stale = self.stale_since.is_some();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let range = self.contents.functions.values().range::<str, _>(from);
        range
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(move |(_, value)| self.own.entry(value, stale))
    }

    /// The workers by id; at the end those that have not returned to a restarted engine.
    pub fn workers(&self) -> impl Iterator<Item = WorkerInfo> {
        let stale = self.stale_since.is_some();
        let there = self.contents.workers.values().values();
        let there = there.map(move |value| WorkerInfo {
            stale,
            ..self.own.worker(&value.value, false)
        });
        there.chain(
            self.contents
                .absent_workers
                .iter()
                .map(|absent| self.own.worker(absent, true)),
        )
    }

    /// The bindings, by event, function and id.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        let stale = self.stale_since.is_some();
        let values: &BTreeMap<Arc<BindingName>, _> = self.contents.bindings.values();
        values.values().map(move |value| Binding {
            stale: stale || value.stale,
            ..value.value.clone()
        })
    }

    /// A copy of the whole board.
    #[must_use]
    pub fn to_snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            stale: self.stale_since.is_some(),
            functions: self.with_prefix("").collect(),
            workers: self.workers().collect(),
            bindings: self.bindings().collect(),
        }
    }
}

/// A step, unless there are no differences.
fn step(from: u64, to: u64, cause: Cause, changes: Vec<Change>) -> Option<Step> {
    (!changes.is_empty()).then_some(Step {
        from,
        to,
        cause,
        changes,
    })
}
