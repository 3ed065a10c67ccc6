//! `join`, the other half: many workers that join a board at once, as after an engine's restart, and each of them
//! registers a function as soon as it has the board. So the board changes while it is handed out, and everybody is
//! told of everybody.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::join::{Arrival, BOARD, stand};
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::Session;
use super::{BenchError, EngineProcess, ResourceUse, Summary, TimeHistogram};
use crate::protocol::{Changes, Failure, Message, Outcome, Synced, Welcome};

/// Connections without WELCOME at once, at the most: the kernel keeps a few thousand that nobody has accepted yet,
/// and puts off further ones by a second.
const UNWELCOMED: usize = 1_024;

/// Connections made between two looks at what came.
const STRIDE: usize = 32;

/// How often the engine's memory is looked at.
const WEIGHED_EVERY: Duration = Duration::from_millis(100);

/// What the names of the newcomers' functions have in common.
const GROUP: &str = "storm";

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Functions on the board beforehand.
    pub functions: usize,
    /// Workers that join.
    pub workers: usize,
    /// Bytes of metadata of each function.
    pub payload: usize,
}

/// What came of it. Times are in microseconds, each worker's from just before its connection is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StormReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// How they joined: `storm`, all at once.
    pub pattern: &'static str,
    /// As asked for.
    pub functions: usize,
    /// As asked for.
    pub payload: usize,
    /// Workers that joined, each of which has the board and registered a function.
    pub joins: u64,
    /// Entries of the board that they were told.
    pub entries: u64,
    /// What it took, until each had been told of all the others' functions.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Joins in a second.
    pub joins_per_second: f64,
    /// Seconds until the last had the board.
    pub synced_seconds: f64,
    /// Until the engine said WELCOME.
    pub welcome_us: Summary,
    /// Until the board was there: SYNCED.
    pub synced_us: Summary,
    /// Until its own function was on the board.
    pub registered_us: Summary,
    /// Bytes by which the engine's process grew, at its largest; looked at ten times a second.
    pub engine_memory_growth: Option<u64>,
    /// Bytes by which it was larger when all were there.
    pub engine_memory_kept: Option<u64>,
}

impl Storm {
    /// Measures. If it is stopped there is nothing to report.
    ///
    /// # Errors
    /// When the engine ends, refuses, or gives a newcomer anything else than the board.
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

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Joiner {
    key: usize,
    began: Instant,
    arrival: Arrival,
    revision: u64,
}

struct Joiners {
    all: Vec<Joiner>,
    /// Who has this connection, as an index into `all`.
    by_key: Vec<usize>,
    entry_counter: EntryCounter,
    metadata: Vec<u8>,
    names: Vec<String>,
    welcome: TimeHistogram,
    synced: TimeHistogram,
    registered: TimeHistogram,
    /// The revision at which all functions are on the board, once it is known.
    last_revision: u64,
    /// Those that are at that revision.
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

    /// Some more of them begin.
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
