//! `join` with the pattern `storm`: many workers join a board at once, as after a restart of the engine, and each
//! registers a function once it has the board. So the board changes while it is sent, and each worker receives the
//! functions of all others.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::engine_process::EngineProcess;
use super::entry_counter::EntryCounter;
use super::error::BenchError;
use super::join::{Arrival, BOARD, stand};
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::resource_use::ResourceUse;
use super::session::Session;
use super::time_histogram::{Summary, TimeHistogram};
use crate::protocol::{Changes, Failure, Message, Outcome, Synced, Welcome};

/// The most connections without WELCOME at once: the kernel's backlog holds a few thousand, and delays further ones
/// by a second.
const UNWELCOMED: usize = 1_024;

/// Connections made between two polls.
const STRIDE: usize = 32;

/// How often the engine's memory is read.
const WEIGHED_EVERY: Duration = Duration::from_millis(100);

/// Group of the joining workers' functions.
const GROUP: &str = "storm";

/// A load of simultaneous joins.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Functions on the board before the measurement.
    pub functions: usize,
    /// Workers that join.
    pub workers: usize,
    /// Size of each function's metadata, in bytes.
    pub payload: usize,
}

/// The results. Times are in microseconds, for each worker from just before its connection is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StormReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// The pattern: `storm`, all at once.
    pub pattern: &'static str,
    /// As requested.
    pub functions: usize,
    /// As requested.
    pub payload: usize,
    /// Workers that joined, received the board and registered a function.
    pub joins: u64,
    /// Entries of the board delivered to them.
    pub entries: u64,
    /// Time and resources used, until each worker had the functions of all others.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Joins per second.
    pub joins_per_second: f64,
    /// Seconds until the last worker had the board.
    pub synced_seconds: f64,
    /// Until WELCOME.
    pub welcome_us: Summary,
    /// Until the board was complete: SYNCED.
    pub synced_us: Summary,
    /// Until its own function was on the board.
    pub registered_us: Summary,
    /// The peak growth of the engine's memory in bytes; read ten times a second.
    pub engine_memory_growth: Option<u64>,
    /// The growth of the engine's memory in bytes once all had joined.
    pub engine_memory_kept: Option<u64>,
}

impl Storm {
    /// Runs the measurement. If it is stopped, there is nothing to report.
    ///
    /// # Errors
    /// When the engine ends or refuses, or delivers anything but the board.
    pub fn run(&self, session: &mut Session) -> Result<StormReport, BenchError> {
        session.make_room(self.workers)?;
        let board = stand(session, self.functions, self.payload)?;
        let before = session.sample()?;
        let mut joiners = Joiners::new(self, session, before.memory);
        let began = Instant::now();
        let mut synced_seconds = 0.0;
        while joiners.at_end < joiners.all.len() || joiners.all.len() < self.workers {
            joiners.connect(session, self.workers)?;
            joiners.turn(session, self)?;
            joiners.weigh(session.process());
            if joiners.synced.count() < self.workers as u64 {
                synced_seconds = began.elapsed().as_secs_f64();
            }
            session.report_progress("joined", joiners.synced.count());
        }
        let after = session.sample()?;
        joiners.heaviest = joiners.heaviest.max(after.memory);
        let keys: Vec<usize> = joiners.all.iter().map(|it| it.key).collect();
        session.leave(&keys);
        session.leave(&board);

        let resource_use = ResourceUse::between(&before, &after);
        let growth = |memory: Option<u64>| memory.zip(before.memory);
        let growth = |memory| growth(memory).map(|(now, then)| now.saturating_sub(then));
        Ok(StormReport {
            header: session.header("join"),
            pattern: "storm",
            functions: self.functions,
            payload: self.payload,
            joins: keys.len() as u64,
            entries: (keys.len() * self.functions) as u64,
            joins_per_second: resource_use.per_second(keys.len() as u64),
            resource_use,
            synced_seconds,
            welcome_us: joiners.welcome.summary(),
            synced_us: joiners.synced.summary(),
            registered_us: joiners.registered.summary(),
            engine_memory_growth: growth(joiners.heaviest),
            engine_memory_kept: growth(after.memory),
        })
    }
}

/// A joining worker.
#[derive(Debug, Clone, Copy)]
struct Joiner {
    key: usize,
    began: Instant,
    arrival: Arrival,
    revision: u64,
}

struct Joiners {
    all: Vec<Joiner>,
    /// Index into `all` by connection.
    by_key: Vec<usize>,
    entry_counter: EntryCounter,
    metadata: Vec<u8>,
    names: Vec<String>,
    welcome: TimeHistogram,
    synced: TimeHistogram,
    registered: TimeHistogram,
    /// The revision with all functions on the board, once it is known.
    last_revision: u64,
    /// Workers that have reached it.
    at_end: usize,
    heaviest: Option<u64>,
    next_weighed: Instant,
}

impl Joiners {
    fn new(storm: &Storm, session: &Session, memory: Option<u64>) -> Self {
        let names =
            (0..storm.workers as u64).map(|number| session.function_names().name(GROUP, number));
        Self {
            all: Vec::with_capacity(storm.workers),
            by_key: Vec::new(),
            entry_counter: EntryCounter::new(session.function_names().group(BOARD)),
            metadata: filling(storm.payload),
            names: names.collect(),
            welcome: TimeHistogram::default(),
            synced: TimeHistogram::default(),
            registered: TimeHistogram::default(),
            last_revision: 0,
            at_end: 0,
            heaviest: memory,
            next_weighed: Instant::now(),
        }
    }

    /// Starts some more of them.
    fn connect(&mut self, session: &mut Session, workers: usize) -> Result<(), BenchError> {
        if session.is_stopped() {
            return Err(BenchError::Stopped);
        }
        for _ in 0..STRIDE {
            let unwelcomed = self.all.len() - self.welcome.count() as usize;
            if self.all.len() == workers || unwelcomed >= UNWELCOMED {
                break;
            }
            let began = Instant::now();
            let key = session.connect(true)?;
            if self.by_key.len() <= key {
                self.by_key.resize(key + 1, usize::MAX);
            }
            self.by_key[key] = self.all.len();
            self.all.push(Joiner {
                key,
                began,
                arrival: Arrival::default(),
                revision: 0,
            });
        }
        Ok(())
    }

    fn turn(&mut self, session: &mut Session, storm: &Storm) -> Result<(), BenchError> {
        let wait = self.all.len() == storm.workers;
        session.turn_waiting(wait, |received| {
            let at = self.by_key.get(received.peer).copied();
            let Some(joiner) = at.and_then(|at| self.all.get_mut(at)) else {
                return Ok(());
            };
            let took = received.at.saturating_duration_since(joiner.began);
            if !joiner.arrival.synced {
                let (kind, body) = (received.kind, received.body);
                joiner
                    .arrival
                    .take(kind, body, &mut self.entry_counter, storm.functions)?;
            }
            match received.kind {
                Welcome::KIND => self.welcome.add(took),
                Synced::KIND => {
                    self.synced.add(took);
                    joiner.revision = received.number;
                    let name = &self.names[at.unwrap_or_default()];
                    let name = std::slice::from_ref(name);
                    let frame = registration::register(1, name, &self.metadata);
                    received.reply.extend_from_slice(&frame);
                }
                Changes::KIND if joiner.arrival.synced => {
                    let revision = self.entry_counter.count(received.body)?.revision;
                    joiner.revision = joiner.revision.max(revision);
                }
                Outcome::KIND => {
                    self.registered.add(took);
                    if let Ok(Message::Outcome(outcome)) = Message::decode(received.body) {
                        let revision = outcome.ext.revision.unwrap_or_default();
                        self.last_revision = self.last_revision.max(revision);
                    }
                }
                Failure::KIND => return Err(BenchError::unexpected(received.body)),
                _ => {}
            }
            Ok(())
        })?;
        if self.registered.count() == storm.workers as u64 {
            let end = self.last_revision;
            self.at_end = self.all.iter().filter(|it| it.revision >= end).count();
        }
        Ok(())
    }

    fn weigh(&mut self, process: Option<EngineProcess>) {
        let now = Instant::now();
        if now < self.next_weighed {
            return;
        }
        self.next_weighed = now + WEIGHED_EVERY;
        let memory = process.and_then(EngineProcess::memory);
        self.heaviest = self.heaviest.max(memory);
    }
}
