//! `join`: how long it takes from the connecting of a worker until it has the whole board: one after the other, on a
//! board that stands still.

use std::time::Instant;

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::Session;
use super::{BenchError, ResourceUse, StopCondition, Summary, TimeHistogram};
use crate::protocol::{Changes, Resync, Snapshot, Synced, Welcome};

/// Joins before those that are measured: the first has the engine encode the pages of the board.
const WARM_UP: u64 = 3;

/// Functions of one worker of the board.
const EACH: usize = 10_000;

/// What the names of the board have in common.
pub(super) const BOARD: &str = "board";

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub struct Join {
    /// Functions on the board.
    pub functions: usize,
    /// Bytes of metadata of each.
    pub payload: usize,
    /// How many joins, or for how long.
    pub stop_condition: StopCondition,
}

/// What came of it. Times are in microseconds, from just before the connection is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JoinReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// How they joined: `single`, one after the other.
    pub pattern: &'static str,
    /// As asked for.
    pub functions: usize,
    /// As asked for.
    pub payload: usize,
    /// Joins measured.
    pub joins: u64,
    /// Entries of the board that they were told: each of them each, or the measurement fails.
    pub entries: u64,
    /// What it took, the leaving included.
    #[serde(flatten)]
    pub resource_use: ResourceUse,
    /// Until the engine said WELCOME.
    pub welcome_us: Summary,
    /// Until the board was there: SYNCED.
    pub synced_us: Summary,
    /// It was stopped before its end.
    pub stopped: bool,
}

impl Join {
    /// Measures.
    ///
    /// # Errors
    /// When the engine ends, refuses, or gives a newcomer anything else than the board.
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

/// What a newcomer was told of the board that stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    entries: u64,
    pub(super) synced: bool,
}

impl Arrival {
    /// Takes a frame; at SYNCED, the board must be there.
    pub(super) fn take(
        &mut self,
        kind: u64,
        body: &[u8],
        entry_counter: &mut EntryCounter,
        functions: usize,
    ) -> Result<(), BenchError> {
        match kind {
            // It begins, or begins anew.
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

/// Connections that provide a board of so many functions.
pub(super) fn stand(
    session: &mut Session,
    functions: usize,
    payload: usize,
) -> Result<Vec<usize>, BenchError> {
    let providers = session.join(functions.div_ceil(EACH), false, |_| Ok(()))?;
    registration::fill(session, &providers, BOARD, functions, &filling(payload))?;
    Ok(providers)
}
