//! `fanout`: one registration, and the time until the first, the median and the last watcher received it. One at a
//! time: the next registration waits until all watchers have the previous one.

use std::time::Instant;

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::error::BenchError;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::resource_use::ResourceUse;
use super::session::{Session, end_of};
use super::stop_condition::StopCondition;
use super::time_histogram::{Summary, TimeHistogram};
use crate::protocol::Changes;

/// Registrations of the warm-up.
const WARM_UP: u64 = 10;

/// After this many registrations their functions are removed, unmeasured.
const SWEEP: u64 = 1_000;

/// Groups of the names: of the measured functions, and of those on the board before.
const GROUP: &str = "fanout";
const BOARD: &str = "board";

/// A load of single registrations to many watchers.
#[derive(Debug, Clone, Copy)]
pub struct Fanout {
    /// Connections that watch the changes.
    pub watchers: usize,
    /// Further connections that watch but do not read.
    pub stalled: usize,
    /// Connections that register, in turn: each has its own budget for changes.
    pub workers: usize,
    /// Functions on the board before the measurement.
    pub functions: usize,
    /// Size of each function's metadata, in bytes.
    pub payload: usize,
    /// When to stop.
    pub stop_condition: StopCondition,
}

/// The results. Times are in microseconds, from just before a registration is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FanoutReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As requested.
    pub watchers: usize,
    /// As requested.
    pub stalled: usize,
    /// As requested.
    pub workers: usize,
    /// As requested.
    pub functions: usize,
    /// As requested.
    pub payload: usize,
    /// Measured registrations.
    pub changes: u64,
    /// Entries delivered to watchers: each change to each watcher, or the measurement fails.
    pub entries: u64,
    /// Entries of other workers delivered to watchers in the meantime: the bench did not have the board to itself.
    pub foreign_entries: u64,
    /// Time and resources used.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Registrations per second, one after the other.
    pub changes_per_second: f64,
    /// Entries per second.
    pub entries_per_second: f64,
    /// Entries per second of the engine's processor time.
    pub entries_per_engine_cpu_second: Option<f64>,
    /// Until the first watcher received it.
    pub first_us: Summary,
    /// Until half of the watchers received it.
    pub median_us: Summary,
    /// Until all watchers received it.
    pub last_us: Summary,
    /// Over all watchers.
    pub each_us: Summary,
    /// Until the registering worker received the answer.
    pub answer_us: Summary,
    /// Whether it was stopped early.
    pub stopped: bool,
}

impl Fanout {
    /// Runs the measurement. Leaves nothing on the board, except after an error, until the session is closed.
    ///
    /// # Errors
    /// When the engine ends or refuses, or does not deliver each change exactly once.
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
    /// Registrations so far, including the warm-up; also the id of the last one.
    number: u64,
    /// Measured registrations.
    done: u64,
    /// Functions on the board, by provider.
    held: Vec<Vec<String>>,
    /// Number of the last registration delivered to each connection.
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

    /// Discards the measurements so far.
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

    /// Removes the registered functions, so that neither the board nor its workers grow without end.
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
