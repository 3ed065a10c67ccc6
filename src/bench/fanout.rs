//! `fanout`: one registration, and the time until the first, the median and the last of all watchers have been told
//! of it. One at a time: the next registration waits until all have heard of the one before.

use std::time::Instant;

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::{Session, end_of};
use super::{BenchError, ResourceUse, StopCondition, Summary, TimeHistogram};
use crate::protocol::Changes;

/// Registrations before those that are measured.
const WARM_UP: u64 = 10;

/// Registrations after which their functions leave again, unmeasured.
const SWEEP: u64 = 1_000;

/// What the names of the measured functions have in common, and those of the board that is there before.
const GROUP: &str = "fanout";
const BOARD: &str = "board";

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub struct Fanout {
    /// Connections that are told of each change.
    pub watchers: usize,
    /// Connections besides these that watch too, and do not read.
    pub stalled: usize,
    /// Connections that register, in turn: each has a budget for changes of its own.
    pub workers: usize,
    /// Functions on the board beforehand.
    pub functions: usize,
    /// Bytes of metadata of each function.
    pub payload: usize,
    /// How many registrations, or for how long.
    pub stop_condition: StopCondition,
}

/// What came of it. Times are in microseconds, from just before a registration is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FanoutReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As asked for.
    pub watchers: usize,
    /// As asked for.
    pub stalled: usize,
    /// As asked for.
    pub workers: usize,
    /// As asked for.
    pub functions: usize,
    /// As asked for.
    pub payload: usize,
    /// Registrations measured.
    pub changes: u64,
    /// Entries that watchers were told: each watcher each change, or the measurement fails.
    pub entries: u64,
    /// Entries of others that watchers were told meanwhile: the board was not the bench's alone.
    pub foreign_entries: u64,
    /// What it took.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Registrations in a second, one after the other.
    pub changes_per_second: f64,
    /// Entries in a second.
    pub entries_per_second: f64,
    /// Entries in a second of the engine's processor time.
    pub entries_per_engine_cpu_second: Option<f64>,
    /// Until the first watcher had it.
    pub first_us: Summary,
    /// Until half of them had it.
    pub median_us: Summary,
    /// Until all of them had it.
    pub last_us: Summary,
    /// Of all watchers together.
    pub each_us: Summary,
    /// Until the one who registered had the answer.
    pub answer_us: Summary,
    /// It was stopped before its end.
    pub stopped: bool,
}

impl Fanout {
    /// Measures. Nothing is left on the board but by an error, until the session is closed.
    ///
    /// # Errors
    /// When the engine ends, refuses, or tells a watcher anything else than each change once.
    pub fn run(&self, session: &mut Session) -> Result<FanoutReport, BenchError> {
        session.make_room(self.workers + self.watchers + self.stalled)?;
        let workers = session.join(self.workers, false, |_| Ok(()))?;
        let metadata = filling(self.payload);
        registration::fill(session, &workers, BOARD, self.functions, &metadata)?;
        let watchers = session.join(self.watchers, true, |_| Ok(()))?;
        let stalled = session.join(self.stalled, true, |_| Ok(()))?;
        for &key in &stalled {
            session.connection_set().stall(key);
        }

        let mut rounds = Rounds::new(session, workers.clone(), watchers.len(), metadata);
        for _ in 0..WARM_UP {
            rounds.round(session)?;
        }
        rounds.forget();
        let before = session.sample()?;
        let began = Instant::now();
        while !self.stop_condition.is_met(rounds.done, began) && !session.is_stopped() {
            rounds.round(session)?;
            session.report_progress("changes", rounds.done);
        }
        let after = session.sample()?;
        for keys in [&workers, &watchers, &stalled] {
            session.leave(keys);
        }

        let resource_use = ResourceUse::between(&before, &after);
        Ok(FanoutReport {
            header: session.header("fanout"),
            watchers: self.watchers,
            stalled: self.stalled,
            workers: self.workers,
            functions: self.functions,
            payload: self.payload,
            changes: rounds.done,
            entries: rounds.each.count(),
            foreign_entries: rounds.foreign,
            changes_per_second: resource_use.per_second(rounds.done),
            entries_per_second: resource_use.per_second(rounds.each.count()),
            entries_per_engine_cpu_second: resource_use.per_cpu_second(rounds.each.count()),
            resource_use,
            first_us: rounds.first.summary(),
            median_us: rounds.median.summary(),
            last_us: rounds.last.summary(),
            each_us: rounds.each.summary(),
            answer_us: rounds.answer.summary(),
            stopped: session.is_stopped(),
        })
    }
}

/// The registrations, one after the other.
struct Rounds {
    workers: Vec<usize>,
    watchers: usize,
    metadata: Vec<u8>,
    entry_counter: EntryCounter,
    /// Registrations so far, those of the warm-up included; also the id of the last one.
    number: u64,
    /// Those that count.
    done: u64,
    /// Functions on the board, by who provides them.
    held: Vec<Vec<String>>,
    /// The number of the last registration that each connection was told of.
    told: Vec<u64>,
    foreign: u64,
    first: TimeHistogram,
    median: TimeHistogram,
    last: TimeHistogram,
    each: TimeHistogram,
    answer: TimeHistogram,
}

impl Rounds {
    fn new(session: &Session, workers: Vec<usize>, watchers: usize, metadata: Vec<u8>) -> Self {
        Self {
            held: vec![Vec::new(); workers.len()],
            workers,
            watchers,
            metadata,
            entry_counter: EntryCounter::new(session.function_names().group(GROUP)),
            number: 0,
            done: 0,
            told: Vec::new(),
            foreign: 0,
            first: TimeHistogram::default(),
            median: TimeHistogram::default(),
            last: TimeHistogram::default(),
            each: TimeHistogram::default(),
            answer: TimeHistogram::default(),
        }
    }

    /// What was measured so far does not count.
    fn forget(&mut self) {
        self.done = 0;
        self.foreign = 0;
        for time_histogram in [
            &mut self.first,
            &mut self.median,
            &mut self.last,
            &mut self.each,
            &mut self.answer,
        ] {
            *time_histogram = TimeHistogram::default();
        }
    }

    fn round(&mut self, session: &mut Session) -> Result<(), BenchError> {
        if self.number > 0 && self.number.is_multiple_of(SWEEP) {
            self.sweep(session)?;
        }
        self.number += 1;
        let turn = (self.number % self.workers.len() as u64) as usize;
        let name = session.function_names().name(GROUP, self.number);
        let names = [name];
        let frame = registration::register(self.number, &names, &self.metadata);
        let (number, worker) = (self.number, self.workers[turn]);
        let mut heard_by = 0;
        let mut answered = false;
        let sent = Instant::now();
        session.send(worker, &frame)?;
        while heard_by < self.watchers || !answered {
            session.turn(|received| {
                let took = received.at.saturating_duration_since(sent);
                if received.kind != Changes::KIND {
                    if end_of(&received)? == Some(number) {
                        self.answer.add(took);
                        answered = true;
                    }
                    return Ok(());
                }
                let counted = self.entry_counter.count(received.body)?;
                self.foreign += counted.foreign;
                if counted.own == 0 {
                    return Ok(());
                }
                if self.told.len() <= received.peer {
                    self.told.resize(received.peer + 1, 0);
                }
                let told_before = std::mem::replace(&mut self.told[received.peer], number);
                if counted.own != 1 || told_before == number {
                    return Err(BenchError::Miscounted {
                        what: "entries that a watcher was told of one change",
                        wanted: 1,
                        counted: counted.own + u64::from(told_before == number),
                    });
                }
                heard_by += 1;
                self.each.add(took);
                if heard_by == 1 {
                    self.first.add(took);
                }
                if heard_by == self.watchers.div_ceil(2) {
                    self.median.add(took);
                }
                if heard_by == self.watchers {
                    self.last.add(took);
                }
                Ok(())
            })?;
        }
        let [name] = names;
        self.held[turn].push(name);
        self.done += 1;
        Ok(())
    }

    /// Takes what was registered off the board again, so that neither it nor its workers grow without end.
    fn sweep(&mut self, session: &mut Session) -> Result<(), BenchError> {
        let (mut waiting, mut entries) = (0, 0);
        for (&worker, names) in self.workers.iter().zip(&mut self.held) {
            if !names.is_empty() {
                session.send(worker, &registration::unregister(self.number, names))?;
                waiting += 1;
                entries += names.len() as u64 * self.watchers as u64;
                names.clear();
            }
        }
        while waiting > 0 || entries > 0 {
            session.turn(|received| {
                if received.kind == Changes::KIND {
                    let own = self.entry_counter.count(received.body)?.own;
                    if own > entries {
                        return Err(BenchError::Miscounted {
                            what: "entries that watchers were told beyond those that went",
                            wanted: 0,
                            counted: own - entries,
                        });
                    }
                    entries -= own;
                } else if end_of(&received)?.is_some() {
                    waiting -= 1;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
