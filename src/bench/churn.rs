//! `churn`: a board that changes constantly, as fast as its watchers can follow. Each worker keeps a number of
//! changes in flight, but none runs more than a window ahead of the slowest watcher, so that the measurement shows
//! what the whole system sustains.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::error::BenchError;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::resource_use::ResourceUse;
use super::session::{Session, end_of};
use super::stop_condition::StopCondition;
use super::time_histogram::{Summary, TimeHistogram};
use crate::protocol::{Changes, Message, Resync};

/// The warm-up before the measurement.
const WARM_UP: StopCondition = StopCondition {
    time: Some(Duration::from_millis(300)),
    count: Some(100),
};

/// How far a watcher may lag, in changes and in their bytes; well within the engine's log. No function leaves
/// before it is this old, so that its arrival and departure are never folded into nothing.
const WINDOW: u64 = 4_000;
const WINDOW_BYTES: usize = 4 << 20;

/// Group of the changing functions' names.
const GROUP: &str = "churn";

/// What changes, and how many changes are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Each change adds or removes another function; each worker keeps `pipeline` changes in flight.
    Distinct,
    /// One function toggles: `pipeline` changes without waiting, then again once all are answered. The engine may
    /// fold changes that no watcher needs to see. The number is odd, so that a difference remains.
    Toggle,
    /// Like `Distinct`, but each change waits for the answer to the previous one, the workers in turn.
    Single,
}

/// A load of changes.
#[derive(Debug, Clone, Copy)]
pub struct Churn {
    /// What changes.
    pub pattern: Pattern,
    /// Connections that watch the changes.
    pub watchers: usize,
    /// Further connections that watch but do not read.
    pub stalled: usize,
    /// Connections that change the board.
    pub workers: usize,
    /// Changes in flight on each of them.
    pub pipeline: usize,
    /// Size of each function's metadata, in bytes.
    pub payload: usize,
    /// When to stop.
    pub stop_condition: StopCondition,
}

/// The results of a load of changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChurnReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As requested.
    pub pattern: Pattern,
    /// As requested.
    pub watchers: usize,
    /// As requested.
    pub stalled: usize,
    /// As requested; 1 if one function toggles.
    pub workers: usize,
    /// As requested, and odd if one function toggles; `None` if each change waits for the previous one.
    pub pipeline: Option<usize>,
    /// As requested.
    pub payload: usize,
    /// Changes made, each answered.
    pub changes: u64,
    /// Entries delivered to watchers: each change to each watcher, or the measurement fails; fewer if one function
    /// toggles.
    pub entries: u64,
    /// Entries of other workers delivered to watchers in the meantime.
    pub foreign_entries: u64,
    /// Time and resources used, until the last watcher was up to date.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Changes per second.
    pub changes_per_second: f64,
    /// Entries per second.
    pub entries_per_second: f64,
    /// Changes per second of the engine's processor time.
    pub changes_per_engine_cpu_second: Option<f64>,
    /// Entries per second of the engine's processor time.
    pub entries_per_engine_cpu_second: Option<f64>,
    /// From a change until its answer, in microseconds.
    pub answer_us: Summary,
    /// Whether it was stopped early.
    pub stopped: bool,
}

impl Churn {
    /// Runs the measurement.
    ///
    /// # Errors
    /// When the engine ends or refuses, or does not deliver each change exactly once.
    pub fn run(&self, session: &mut Session) -> Result<ChurnReport, BenchError> {
        let workers = match self.pattern {
            Pattern::Toggle => 1,
            Pattern::Distinct | Pattern::Single => self.workers,
        };
        session.make_room(workers + self.watchers + self.stalled)?;
        let workers = session.join(workers, false, |_| Ok(()))?;
        let watchers = session.join(self.watchers, true, |_| Ok(()))?;
        let stalled = session.join(self.stalled, true, |_| Ok(()))?;
        for &key in &stalled {
            session.connection_set().stall(key);
        }

        let mut turmoil = Turmoil::new(self, session, &workers, watchers.clone());
        turmoil.drive(session, WARM_UP)?;
        turmoil.forget();
        let before = session.sample()?;
        turmoil.drive(session, self.stop_condition)?;
        let after = session.sample()?;
        for keys in [&workers, &watchers, &stalled] {
            session.leave(keys);
        }

        let resource_use = ResourceUse::between(&before, &after);
        let (changes, entries) = (turmoil.counted, turmoil.entries);
        Ok(ChurnReport {
            header: session.header("churn"),
            pattern: self.pattern,
            watchers: self.watchers,
            stalled: self.stalled,
            workers: workers.len(),
            pipeline: (self.pattern != Pattern::Single).then_some(self.odd_pipeline()),
            payload: self.payload,
            changes,
            entries,
            foreign_entries: turmoil.foreign,
            changes_per_second: resource_use.per_second(changes),
            entries_per_second: resource_use.per_second(entries),
            changes_per_engine_cpu_second: resource_use.per_cpu_second(changes),
            entries_per_engine_cpu_second: resource_use.per_cpu_second(entries),
            resource_use,
            answer_us: turmoil.answers.summary(),
            stopped: session.is_stopped(),
        })
    }
}

impl Churn {
    fn odd_pipeline(&self) -> usize {
        match self.pattern {
            Pattern::Toggle => self.pipeline | 1,
            Pattern::Distinct | Pattern::Single => self.pipeline,
        }
    }
}

/// A worker that changes the board.
struct Worker {
    key: usize,
    /// Numbers of the functions that it provides, oldest first.
    held: VecDeque<u64>,
    /// Whether its last change added a function.
    came: bool,
    /// When the changes in flight were sent, in the order of their answers.
    under_way: VecDeque<Instant>,
}

/// A connection that watches.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Entries delivered to it.
    told: u64,
    /// Its revision.
    revision: u64,
}

/// The changes, and the watchers of them.
struct Turmoil {
    pattern: Pattern,
    pipeline: usize,
    window: u64,
    metadata: Vec<u8>,
    entry_counter: EntryCounter,
    workers: Vec<Worker>,
    watchers: Vec<usize>,
    /// By connection.
    progress: Vec<Progress>,
    /// Changes sent, including the warm-up.
    sent: u64,
    /// Measured changes and deliveries.
    counted: u64,
    entries: u64,
    foreign: u64,
    /// Revision of the latest answer.
    revision: u64,
    answers: TimeHistogram,
}

impl Turmoil {
    fn new(churn: &Churn, session: &Session, workers: &[usize], watchers: Vec<usize>) -> Self {
        let highest = watchers.iter().max().map_or(0, |key| key + 1);
        let worker = |&key| Worker {
            key,
            held: VecDeque::new(),
            came: false,
            under_way: VecDeque::new(),
        };
        Self {
            pattern: churn.pattern,
            pipeline: churn.odd_pipeline(),
            window: WINDOW.min((WINDOW_BYTES / (churn.payload + 128)) as u64),
            metadata: filling(churn.payload),
            entry_counter: EntryCounter::new(session.function_names().group(GROUP)),
            workers: workers.iter().map(worker).collect(),
            watchers,
            progress: vec![Progress::default(); highest],
            sent: 0,
            counted: 0,
            entries: 0,
            foreign: 0,
            revision: 0,
            answers: TimeHistogram::default(),
        }
    }

    /// Discards the measurements so far.
    fn forget(&mut self) {
        (self.counted, self.entries, self.foreign) = (0, 0, 0);
        self.answers = TimeHistogram::default();
    }

    fn drive(
        &mut self,
        session: &mut Session,
        stop_condition: StopCondition,
    ) -> Result<(), BenchError> {
        let began = Instant::now();
        let first = self.sent;
        let mut last = stop_condition.count.map_or(u64::MAX, |count| first + count);
        loop {
            if session.is_stopped() || stop_condition.is_met(self.sent - first, began) {
                last = last.min(self.sent);
            }
            self.refill(session, last)?;
            let under_way: usize = self.workers.iter().map(|it| it.under_way.len()).sum();
            if under_way == 0 && self.sent >= last && self.is_told() {
                break;
            }
            self.turn(session)?;
            session.report_progress("changes", self.sent - first);
        }
        if self.pattern == Pattern::Toggle {
            self.mark(session)?;
        }
        self.counted += self.sent - first;
        Ok(())
    }

    /// Sends as many changes as may be in flight.
    fn refill(&mut self, session: &mut Session, last: u64) -> Result<(), BenchError> {
        let most = match self.pattern {
            // It is unknown how many entries of a folded function a watcher receives.
            Pattern::Toggle => last,
            Pattern::Distinct | Pattern::Single => last.min(self.slowest() + self.window),
        };
        let is_idle = self.workers.iter().all(|it| it.under_way.is_empty());
        for at in 0..self.workers.len() {
            let room = match self.pattern {
                Pattern::Distinct => self.pipeline - self.workers[at].under_way.len(),
                Pattern::Toggle if is_idle => self.pipeline,
                Pattern::Single if is_idle => {
                    usize::from(self.sent % self.workers.len() as u64 == at as u64)
                }
                Pattern::Toggle | Pattern::Single => 0,
            };
            let mut frames = Vec::new();
            for _ in 0..room {
                if self.sent >= most {
                    break;
                }
                frames.extend_from_slice(&self.change(session, at));
            }
            if !frames.is_empty() {
                session.send(self.workers[at].key, &frames)?;
            }
            // A single change, even though the next worker's turn has come.
            if self.pattern == Pattern::Single && room > 0 {
                break;
            }
        }
        Ok(())
    }

    /// The next change of a worker.
    fn change(&mut self, session: &Session, at: usize) -> Vec<u8> {
        let number = self.sent;
        self.sent += 1;
        let worker = &mut self.workers[at];
        worker.under_way.push_back(Instant::now());
        let oldest = worker.held.front().copied();
        let going = match self.pattern {
            Pattern::Toggle => oldest,
            // One is added and one removed, once some are old enough.
            Pattern::Distinct | Pattern::Single => {
                oldest.filter(|oldest| worker.came && oldest + WINDOW < number)
            }
        };
        worker.came = going.is_none();
        let name = |number| [session.function_names().name(GROUP, number)];
        if let Some(going) = going {
            worker.held.pop_front();
            return registration::unregister(self.sent, &name(going));
        }
        let coming = match self.pattern {
            Pattern::Toggle => 0,
            Pattern::Distinct | Pattern::Single => number,
        };
        worker.held.push_back(coming);
        registration::register(self.sent, &name(coming), &self.metadata)
    }

    fn turn(&mut self, session: &mut Session) -> Result<(), BenchError> {
        session.turn(|received| {
            match received.kind {
                Changes::KIND => {
                    let counted = self.entry_counter.count(received.body)?;
                    self.foreign += counted.foreign;
                    self.entries += counted.own;
                    let progress = &mut self.progress[received.peer];
                    progress.told += counted.own;
                    progress.revision = progress.revision.max(counted.revision);
                    return Ok(());
                }
                Resync::KIND => {
                    return Err(BenchError::Miscounted {
                        what: "snapshots in place of changes",
                        wanted: 0,
                        counted: 1,
                    });
                }
                _ => {}
            }
            if end_of(&received)?.is_none() {
                return Ok(());
            }
            let worker = self.workers.iter_mut().find(|it| it.key == received.peer);
            if let Some(sent) = worker.and_then(|it| it.under_way.pop_front()) {
                self.answers
                    .add(received.at.saturating_duration_since(sent));
            }
            if self.pattern == Pattern::Toggle
                && let Ok(Message::Outcome(outcome)) = Message::decode(received.body)
            {
                self.revision = outcome.ext.revision.unwrap_or_default();
            }
            Ok(())
        })
    }

    /// Entries delivered to the slowest watcher.
    fn slowest(&self) -> u64 {
        let told = self.watchers.iter().map(|&key| self.progress[key].told);
        told.min().unwrap_or(u64::MAX - WINDOW)
    }

    /// Whether each watcher received each change.
    fn is_told(&self) -> bool {
        self.pattern == Pattern::Toggle || self.slowest() >= self.sent
    }

    /// Adds and removes one more function, which folding cannot hide: a watcher that received it has received all
    /// earlier changes.
    fn mark(&mut self, session: &mut Session) -> Result<(), BenchError> {
        let name = [session.function_names().name(GROUP, 1)];
        let frames = [
            registration::register(1, &name, &[]),
            registration::unregister(1, &name),
        ];
        let answers = self.answers.clone();
        for frame in frames {
            self.workers[0].under_way.push_back(Instant::now());
            session.send(self.workers[0].key, &frame)?;
            while !self.workers[0].under_way.is_empty() || !self.is_at_revision() {
                self.turn(session)?;
            }
        }
        // These changes are not part of the measurement.
        let marks = 2 * self.watchers.len() as u64;
        self.entries = self.entries.saturating_sub(marks);
        self.answers = answers;
        Ok(())
    }

    fn is_at_revision(&self) -> bool {
        let mut revisions = self.watchers.iter().map(|&key| self.progress[key].revision);
        revisions.all(|revision| revision >= self.revision)
    }
}
