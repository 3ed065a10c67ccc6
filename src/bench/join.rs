//! `join`: the time from connecting until a worker has the whole board, one worker after the other, on an
//! unchanging board.

use std::time::Instant;

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::error::BenchError;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::resource_use::ResourceUse;
use super::session::Session;
use super::stop_condition::StopCondition;
use super::time_histogram::{Summary, TimeHistogram};
use crate::protocol::{Changes, Resync, Snapshot, Synced, Welcome};

/// Joins of the warm-up: the first makes the engine encode the pages of the board.
const WARM_UP: u64 = 3;

/// Functions of one worker of the board.
const EACH: usize = 10_000;

/// Group of the board's names.
pub(super) const BOARD: &str = "board";

/// A load of single joins.
#[derive(Debug, Clone, Copy)]
pub struct Join {
    /// Functions on the board.
    pub functions: usize,
    /// Size of each function's metadata, in bytes.
    pub payload: usize,
    /// When to stop.
    pub stop_condition: StopCondition,
}

/// The results. Times are in microseconds, from just before the connection is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JoinReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// The pattern: `single`, one after the other.
    pub pattern: &'static str,
    /// As requested.
    pub functions: usize,
    /// As requested.
    pub payload: usize,
    /// Measured joins.
    pub joins: u64,
    /// Entries of the board delivered: all of them to each worker, or the measurement fails.
    pub entries: u64,
    /// Time and resources used, leaving included.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Until WELCOME.
    pub welcome_us: Summary,
    /// Until the board was complete: SYNCED.
    pub synced_us: Summary,
    /// Whether it was stopped early.
    pub stopped: bool,
}

impl Join {
    /// Runs the measurement.
    ///
    /// # Errors
    /// When the engine ends or refuses, or delivers anything but the board.
    pub fn run(&self, session: &mut Session) -> Result<JoinReport, BenchError> {
        let board = stand(session, self.functions, self.payload)?;
        let mut entry_counter = EntryCounter::new(session.function_names().group(BOARD));
        let (mut welcome, mut synced) = (TimeHistogram::default(), TimeHistogram::default());
        for _ in 0..WARM_UP {
            self.join(session, &mut entry_counter, &mut welcome, &mut synced)?;
        }
        (welcome, synced) = (TimeHistogram::default(), TimeHistogram::default());
        let before = session.sample()?;
        let began = Instant::now();
        while !self.stop_condition.is_met(synced.count(), began) && !session.is_stopped() {
            self.join(session, &mut entry_counter, &mut welcome, &mut synced)?;
            session.report_progress("joins", synced.count());
        }
        let after = session.sample()?;
        session.leave(&board);
        Ok(JoinReport {
            header: session.header("join"),
            pattern: "single",
            functions: self.functions,
            payload: self.payload,
            joins: synced.count(),
            entries: synced.count() * self.functions as u64,
            resource_use: ResourceUse::between(&before, &after),
            welcome_us: welcome.summary(),
            synced_us: synced.summary(),
            stopped: session.is_stopped(),
        })
    }

    fn join(
        &self,
        session: &mut Session,
        entry_counter: &mut EntryCounter,
        welcome: &mut TimeHistogram,
        synced: &mut TimeHistogram,
    ) -> Result<(), BenchError> {
        let began = Instant::now();
        let key = session.connect(true)?;
        let mut arrival = Arrival::default();
        while !arrival.synced {
            session.turn(|received| {
                let took = received.at.saturating_duration_since(began);
                match received.kind {
                    Welcome::KIND => welcome.add(took),
                    Synced::KIND => synced.add(took),
                    _ => {}
                }
                arrival.take(received.kind, received.body, entry_counter, self.functions)
            })?;
        }
        session.leave(&[key]);
        Ok(())
    }
}

/// What a joining worker received of an unchanging board.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    entries: u64,
    pub(super) synced: bool,
}

impl Arrival {
    /// Takes a frame; at SYNCED the board must be complete.
    pub(super) fn take(
        &mut self,
        kind: u64,
        body: &[u8],
        entry_counter: &mut EntryCounter,
        functions: usize,
    ) -> Result<(), BenchError> {
        match kind {
            // A snapshot begins, or begins again.
            Resync::KIND => self.entries = 0,
            Snapshot::KIND | Changes::KIND => self.entries += entry_counter.count(body)?.own,
            Synced::KIND if self.entries != functions as u64 => {
                return Err(BenchError::Miscounted {
                    what: "functions of the board that a newcomer was told",
                    wanted: functions as u64,
                    counted: self.entries,
                });
            }
            Synced::KIND => self.synced = true,
            _ => {}
        }
        Ok(())
    }
}

/// Makes connections that provide a board with this many functions.
pub(super) fn stand(
    session: &mut Session,
    functions: usize,
    payload: usize,
) -> Result<Vec<usize>, BenchError> {
    let providers = session.join(functions.div_ceil(EACH), false, |_| Ok(()))?;
    registration::fill(session, &providers, BOARD, functions, &filling(payload))?;
    Ok(providers)
}
