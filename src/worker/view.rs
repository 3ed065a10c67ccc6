//! The board as one worker sees it, kept right by what the engine sends. It checks that nothing is
//! missing between two changes, applies steps whole or not at all, builds a new board aside while a
//! snapshot runs, and tells what each step made different. It has no clock: the time comes in, a
//! deadline goes out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contents::{Contents, Fit, Line, Own};
use super::entry::BindingName;
use super::{Binding, Cause, Change, Entry, Snapshot, Step, WorkerInfo};
use crate::protocol::Sections;

/// The view.
#[derive(Debug)]
pub struct View {
    watching: bool,
    contents: Contents,
    revision: u64,
    /// Of the contents; `None` before there were any.
    origin: Option<Origin>,
    /// The contents are not to be resumed from.
    distrusted: bool,
    /// Of the connection.
    current: Origin,
    phase: Phase,
    /// Parts of a step whose last part has not come yet.
    parts: Option<Parts>,
    stale_since: Option<Instant>,
    settle_at: Option<Instant>,
    own: Own,
}

/// Where contents come from, as HELLO's resume point wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The engine's epoch.
    pub epoch: u64,
    /// WELCOME's digest.
    pub digest: Box<[u8]>,
}

#[derive(Debug)]
enum Phase {
    /// No connection, or no WELCOME yet.
    Offline,
    /// After WELCOME: RESYNC must come.
    Announced,
    /// After a WELCOME that resumes: changes come, then SYNCED.
    Resuming,
    /// After RESYNC, until SYNCED.
    Staging(Box<Staging>),
    /// The view is right as of its revision.
    Live,
}

#[derive(Debug)]
struct Staging {
    contents: Contents,
    revision: u64,
    reason: Arc<str>,
}

#[derive(Debug)]
struct Parts {
    from: u64,
    to: u64,
    lines: Vec<Line>,
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
            distrusted: false,
            current: Origin::default(),
            phase: Phase::Offline,
            parts: None,
            stale_since: Some(now),
            settle_at: None,
            own: Own::default(),
        }
    }

    /// A WELCOME came. `resumed` and `settling` are its words, `worker` this worker's id.
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
        // What is of another epoch can't be resumed, whatever the engine says: its changes come unannounced.
        let resumed = resumed && known == Some(origin.epoch);
        if !settling.is_zero() && (restarted || self.contents.any_stale()) {
            self.settle_at = Some(now + settling);
        }
        self.own.worker = Some(worker);
        self.current = origin;
        if !self.watching {
            self.origin = Some(self.current.clone());
            self.revision = revision;
            self.phase = Phase::Live;
            self.stale_since = None;
        } else if resumed {
            self.origin = Some(self.current.clone());
            self.phase = Phase::Resuming;
        } else {
            self.phase = Phase::Announced;
        }
    }

    /// The connection ended. The view stays as it is, stale from now on.
    pub fn lose(&mut self, now: Instant) {
        self.phase = Phase::Offline;
        self.parts = None;
        self.stale_since.get_or_insert(now);
    }

    /// The contents are not to be trusted: ask for all of them with the next HELLO.
    pub fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// A RESYNC came: a board that replaces this one follows.
    pub fn resync(&mut self, revision: u64, reason: &str, now: Instant) -> Result<(), ViewError> {
        if !self.watching || matches!(self.phase, Phase::Offline) {
            return Err(ViewError::Unannounced);
        }
        self.parts = None;
        self.stale_since.get_or_insert(now);
        self.phase = Phase::Staging(Box::new(Staging {
            contents: Contents::of(self.current.epoch),
            revision,
            reason: reason.into(),
        }));
        Ok(())
    }

    /// A SNAPSHOT chunk came.
    pub fn snapshot(&mut self, sections: &Sections<'_>) -> Result<(), ViewError> {
        let Phase::Staging(staging) = &mut self.phase else {
            return Err(ViewError::Unannounced);
        };
        staging
            .contents
            .apply(Line::all_of(sections), Fit::Loose, staging.revision)
    }

    /// A CHANGES frame came. Once its step is whole and it made a visible difference, this is it.
    pub fn changes(
        &mut self,
        from: u64,
        to: u64,
        more: bool,
        sections: &Sections<'_>,
    ) -> Result<Option<Step>, ViewError> {
        let mine = match &self.phase {
            Phase::Offline | Phase::Announced => return Err(ViewError::Unannounced),
            Phase::Staging(staging) => staging.revision,
            Phase::Resuming | Phase::Live => self.revision,
        };
        if let Some(parts) = &self.parts
            && (parts.from, parts.to) != (from, to)
        {
            return Err(ViewError::Torn {
                unfinished: parts.to,
            });
        }
        if to <= mine {
            return Ok(None);
        }
        if from > mine {
            return Err(ViewError::Gap { mine, from, to });
        }
        let parts = self.parts.get_or_insert(Parts {
            from,
            to,
            lines: Vec::new(),
        });
        parts.lines.extend(Line::all_of(sections));
        if more {
            return Ok(None);
        }
        let lines = self
            .parts
            .take()
            .map(|parts| parts.lines)
            .unwrap_or_default();
        if let Phase::Staging(staging) = &mut self.phase {
            staging.contents.apply(lines, Fit::Loose, to)?;
            staging.revision = to;
            return Ok(None);
        }
        self.contents.apply(lines, Fit::Exact, to)?;
        self.revision = to;
        let changes = self.contents.commit(&self.own);
        Ok(step(mine, to, Cause::Pushed, changes))
    }

    /// A SYNCED came: the view is right as of `revision`. At most two steps: the difference that a
    /// replaced board makes, and what was kept too long meanwhile.
    pub fn synced(&mut self, revision: u64, now: Instant) -> Result<Vec<Step>, ViewError> {
        if let Some(parts) = &self.parts {
            return Err(ViewError::Torn {
                unfinished: parts.to,
            });
        }
        let mut steps = Vec::new();
        match std::mem::replace(&mut self.phase, Phase::Live) {
            phase @ (Phase::Offline | Phase::Announced) => {
                self.phase = phase;
                return Err(ViewError::Unannounced);
            }
            Phase::Resuming | Phase::Live => self.revision = self.revision.max(revision),
            Phase::Staging(staging) => {
                let from = self.revision;
                let old = std::mem::replace(&mut self.contents, staging.contents);
                let keep = self.settle_at.is_some_and(|at| now < at);
                let known = self.origin.as_ref().map(|origin| origin.epoch);
                let other_epoch = known != Some(self.current.epoch);
                let changes = self.contents.replace(old, keep, other_epoch, &self.own);
                self.revision = staging.revision.max(revision);
                self.origin = Some(self.current.clone());
                self.distrusted = false;
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

    /// A PING or PONG came: all changes up to `revision` that the watch covers were sent before it.
    pub fn bookmark(&mut self, revision: u64) {
        if matches!(self.phase, Phase::Live) && self.parts.is_none() {
            self.revision = self.revision.max(revision);
        }
    }

    /// When [`View::settle`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.settle_at.filter(|_| matches!(self.phase, Phase::Live))
    }

    /// If the time is over that a restarted engine gives workers to come back: removes what did not.
    pub fn settle(&mut self, now: Instant) -> Option<Step> {
        self.next_deadline().filter(|&at| at <= now)?;
        self.settle_at = None;
        let changes = self.contents.drop_stale(&self.own);
        step(self.revision, self.revision, Cause::Settled, changes)
    }

    /// Marks a function as this worker's own, or no longer.
    pub fn set_own(&mut self, name: &Arc<str>, own: bool) {
        if own {
            self.own.functions.insert(name.clone());
        } else {
            self.own.functions.remove(name);
        }
    }

    /// Where a later connection may go on: origin and revision.
    #[must_use]
    pub fn resume_point(&self) -> Option<(&Origin, u64)> {
        let origin = self
            .origin
            .as_ref()
            .filter(|_| self.watching && !self.distrusted)?;
        Some((origin, self.revision))
    }

    /// Whether the view is right as of its revision and follows.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Since when the view may be behind.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        self.stale_since
    }

    /// The revision that it stands at.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.functions.slots().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a function of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.contents.functions.slots().contains_key(name)
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Entry> {
        let slot = self.contents.functions.slots().get(name)?;
        Some(self.own.entry(slot, self.stale_since.is_some()))
    }

    /// All functions whose names begin with this, in order.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = Entry> {
        let stale = self.stale_since.is_some();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let range = self.contents.functions.slots().range::<str, _>(from);
        range
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(move |(_, slot)| self.own.entry(slot, stale))
    }

    /// The workers, by id; those that have not come back to a restarted engine at the end.
    pub fn workers(&self) -> impl Iterator<Item = WorkerInfo> {
        let stale = self.stale_since.is_some();
        let there = self.contents.workers.slots().values();
        let there = there.map(move |slot| WorkerInfo {
            stale,
            ..self.own.worker(&slot.value, false)
        });
        there.chain(
            self.contents
                .ghosts
                .iter()
                .map(|ghost| self.own.worker(ghost, true)),
        )
    }

    /// The bindings, by event, function and id.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        let stale = self.stale_since.is_some();
        let slots: &BTreeMap<Arc<BindingName>, _> = self.contents.bindings.slots();
        slots.values().map(move |slot| Binding {
            stale: stale || slot.stale,
            ..slot.value.clone()
        })
    }

    /// A copy of all of it.
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

/// A step, unless nothing is different.
fn step(from: u64, to: u64, cause: Cause, changes: Vec<Change>) -> Option<Step> {
    (!changes.is_empty()).then_some(Step {
        from,
        to,
        cause,
        changes,
    })
}

/// The engine's stream of changes contradicts itself. The library reports it, reconnects, and asks for
/// a whole board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewError {
    /// A change begins after the revision that the view stands at: something is missing between.
    Gap {
        /// Where the view stands.
        mine: u64,
        /// Where the change begins.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// A step's parts do not belong together: another step began before its last part came.
    Torn {
        /// Where the unfinished step ends.
        unfinished: u64,
    },
    /// Something is added that is there, or removed or updated that is not.
    Mismatch {
        /// Its name.
        name: String,
        /// The revision that says so.
        revision: u64,
    },
    /// A snapshot, or the end of one, that nothing announced.
    Unannounced,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { mine, from, to } => write!(
                f,
                "the board stands at revision {mine}, the next change goes from {from} to {to}: \
                 something is missing between"
            ),
            Self::Torn { unfinished } => write!(
                f,
                "the step to revision {unfinished} was not finished before another began"
            ),
            Self::Mismatch { name, revision } => write!(
                f,
                "revision {revision} changes `{}` in a way that does not fit this board",
                name.escape_default()
            ),
            Self::Unannounced => f.write_str("a snapshot came that nothing announced"),
        }
    }
}

impl std::error::Error for ViewError {}

#[cfg(test)]
mod tests;
