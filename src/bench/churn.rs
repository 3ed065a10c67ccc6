//! `churn`: a board that changes all the time, as fast as its watchers are told. Who changes it keeps a number of
//! changes under way; nobody runs further ahead of the slowest watcher than a window, so that what is measured is
//! what the whole sustains.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::{Session, end_of};
use super::{BenchError, ResourceUse, StopCondition, Summary, TimeHistogram};
use crate::protocol::{Changes, Message, Resync};

/// What runs before anything is measured.
const WARM_UP: StopCondition = StopCondition {
    time: Some(Duration::from_millis(300)),
    count: Some(100),
};

/// Changes that a watcher may be behind, and their bytes: well within what an engine's log holds. No function goes
/// before it is this old, so that its coming and its going are never folded into nothing.
const WINDOW: u64 = 4_000;
const WINDOW_BYTES: usize = 4 << 20;

/// What the names of the changing functions have in common.
const GROUP: &str = "churn";

/// What changes, and how many changes are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Each change is another function that comes or goes; each worker keeps `pipeline` of them under way.
    Distinct,
    /// One function comes and goes, `pipeline` times without waiting, and again when all of that is answered: the engine
    /// may fold what nobody needs to see. An odd number of times, so that something is left to see.
    Toggle,
    /// As `Distinct`, but each change waits for the answer to the one before, the workers in turn.
    Single,
}

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub struct Churn {
    /// What changes.
    pub pattern: Pattern,
    /// Connections that are told of the changes.
    pub watchers: usize,
    /// Connections besides these that watch too, and do not read.
    pub stalled: usize,
    /// Connections that change the board.
    pub workers: usize,
    /// Changes under way on each of them.
    pub pipeline: usize,
    /// Bytes of metadata of each function.
    pub payload: usize,
    /// How many changes, or for how long.
    pub stop_condition: StopCondition,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChurnReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As asked for.
    pub pattern: Pattern,
    /// As asked for.
    pub watchers: usize,
    /// As asked for.
    pub stalled: usize,
    /// As asked for; 1 where one function comes and goes.
    pub workers: usize,
    /// As asked for, and odd where one function comes and goes; `None` where each change waits for the one before.
    pub pipeline: Option<usize>,
    /// As asked for.
    pub payload: usize,
    /// Changes made, each answered.
    pub changes: u64,
    /// Entries that watchers were told: each watcher each change, or the measurement fails; fewer where one function
    /// comes and goes.
    pub entries: u64,
    /// Entries of others that watchers were told meanwhile.
    pub foreign_entries: u64,
    /// What it took, until the last watcher was up to date.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Changes in a second.
    pub changes_per_second: f64,
    /// Entries in a second.
    pub entries_per_second: f64,
    /// Changes in a second of the engine's processor time.
    pub changes_per_engine_cpu_second: Option<f64>,
    /// Entries in a second of the engine's processor time.
    pub entries_per_engine_cpu_second: Option<f64>,
    /// From a change until its answer, in microseconds.
    pub answer_us: Summary,
    /// It was stopped before its end.
    pub stopped: bool,
}

impl Churn {
    /// Measures.
    ///
    /// # Errors
    /// When the engine ends, refuses, or tells a watcher anything else than each change once.
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

/// Who changes the board.
struct Worker {
    key: usize,
    /// Functions that it holds, oldest first, by number.
    held: VecDeque<u64>,
    /// Its last change was that a function came.
    came: bool,
    /// When the changes under way were sent; they are answered in this order.
    under_way: VecDeque<Instant>,
}

/// A watcher.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Entries that it was told.
    told: u64,
    /// Its revision.
    revision: u64,
}

/// The changes and those who are told of them.
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
    /// Changes sent, those of the warm-up included.
    sent: u64,
    /// Changes that count, and what was told of them.
    counted: u64,
    entries: u64,
    foreign: u64,
    /// The revision that the latest answer named.
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

    /// What was measured so far does not count.
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

    /// Sends what may be under way.
    fn refill(&mut self, session: &mut Session, last: u64) -> Result<(), BenchError> {
        let most = match self.pattern {
            // How many entries a watcher is told of a folded function is not known.
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
            // One change and no more, although the next worker's turn has come.
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
            // One comes, one goes, as soon as there are some that are old enough.
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

    /// What the slowest watcher was told.
    fn slowest(&self) -> u64 {
        let told = self.watchers.iter().map(|&key| self.progress[key].told);
        told.min().unwrap_or(u64::MAX - WINDOW)
    }

    /// Whether each watcher was told each change.
    fn is_told(&self) -> bool {
        self.pattern == Pattern::Toggle || self.slowest() >= self.sent
    }

    /// Another function comes, which no folding hides, and goes: whoever was told of it was told of all before.
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
        // They are not what was measured.
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
