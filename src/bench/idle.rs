//! `idle`: what connections that do nothing weigh in the memory of the engine's process: before they have been told
//! anything, and after. What the kernel holds for their sockets is not in it.

use serde::Serialize;

use super::entry_counter::EntryCounter;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::{Session, end_of};
use super::{BenchError, EngineProcess};
use crate::protocol::Changes;

/// What the names of the functions have in common.
const GROUP: &str = "idle";

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Connections, each of which watches all functions.
    pub connections: usize,
    /// Bytes of metadata of the function that they are told of.
    pub payload: usize,
}

/// What came of it. Memory is in bytes: `Anonymous` of the process, heap and stacks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdleReport {
    /// Where it was measured.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As asked for.
    pub connections: usize,
    /// As asked for.
    pub payload: usize,
    /// Before they came.
    pub engine_memory_before: u64,
    /// With all of them.
    pub engine_memory_joined: u64,
    /// After all were told of a function that came and went.
    pub engine_memory_told: u64,
    /// A connection's part of the growth.
    pub bytes_per_connection: f64,
    /// The same, after all were told.
    pub bytes_per_connection_told: f64,
    /// Entries that they were told: each of them two, or the measurement fails.
    pub entries: u64,
    /// It was stopped before its end.
    pub stopped: bool,
}

impl Idle {
    /// Measures.
    ///
    /// # Errors
    /// When the memory of the engine's process cannot be read, or when the engine ends or refuses.
    pub fn run(&self, session: &mut Session) -> Result<IdleReport, BenchError> {
        let process = session.process();
        let memory = || {
            process
                .and_then(EngineProcess::memory)
                .ok_or(BenchError::NoProcess)
        };
        memory()?;
        session.make_room(self.connections + 2)?;
        // What the first ones make the engine set up is not a connection's weight.
        let mut first = session.join(1, false, |_| Ok(()))?;
        first.extend(session.join(1, true, |_| Ok(()))?);
        self.change(session, first[0], 1)?;
        let before = memory()?;
        let connection_set = session.join(self.connections, true, |_| Ok(()))?;
        let joined = memory()?;
        let entries = self.change(session, first[0], self.connections + 1)?;
        let told = memory()?;
        session.leave(&connection_set);
        session.leave(&first);
        let each = |now: u64| (now as f64 - before as f64) / self.connections as f64;
        Ok(IdleReport {
            header: session.header("idle"),
            connections: self.connections,
            payload: self.payload,
            engine_memory_before: before,
            engine_memory_joined: joined,
            engine_memory_told: told,
            bytes_per_connection: each(joined),
            bytes_per_connection_told: each(told),
            entries,
            stopped: session.is_stopped(),
        })
    }

    /// A function comes and goes, and so many watchers are told. Returns the entries.
    fn change(
        &self,
        session: &mut Session,
        worker: usize,
        watchers: usize,
    ) -> Result<u64, BenchError> {
        let mut entry_counter = EntryCounter::new(session.function_names().group(GROUP));
        let name = [session.function_names().name(GROUP, 0)];
        let mut entries = 0;
        for (round, frame) in [
            registration::register(1, &name, &filling(self.payload)),
            registration::unregister(1, &name),
        ]
        .iter()
        .enumerate()
        {
            session.send(worker, frame)?;
            let mut answered = false;
            while !answered || entries < (round as u64 + 1) * watchers as u64 {
                session.turn_or_stop(|received| {
                    if received.kind == Changes::KIND {
                        entries += entry_counter.count(received.body)?.own;
                    } else {
                        answered |= end_of(&received)?.is_some();
                    }
                    Ok(())
                })?;
            }
        }
        Ok(entries)
    }
}
