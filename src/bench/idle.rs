//! `idle`: the memory of idle connections in the engine's process, before and after they received a change.
//! Excludes the kernel's socket buffers.

use serde::Serialize;

use super::engine_process::EngineProcess;
use super::entry_counter::EntryCounter;
use super::error::BenchError;
use super::registration::{self, filling};
use super::report_header::ReportHeader;
use super::session::{Session, end_of};
use crate::protocol::Changes;

/// Group of the functions' names.
const GROUP: &str = "idle";

/// A load of idle connections.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Connections, each watching all functions.
    pub connections: usize,
    /// Size of the metadata of the function they receive, in bytes.
    pub payload: usize,
}

/// The results. Memory is in bytes: `Anonymous` of the process, heap and stacks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdleReport {
    /// The measurement, and the engine that it was made on.
    #[serde(flatten)]
    pub header: ReportHeader,
    /// As requested.
    pub connections: usize,
    /// As requested.
    pub payload: usize,
    /// Memory before the connections were made.
    pub engine_memory_before: u64,
    /// Memory with all of them.
    pub engine_memory_joined: u64,
    /// Memory after all received a function that was added and removed.
    pub engine_memory_told: u64,
    /// Growth per connection.
    pub bytes_per_connection: f64,
    /// Growth per connection, after the change.
    pub bytes_per_connection_told: f64,
    /// Entries delivered: two to each connection, or the measurement fails.
    pub entries: u64,
    /// Whether it was stopped early.
    pub stopped: bool,
}

impl Idle {
    /// Runs the measurement.
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
        // What the engine sets up for the first connections is not counted.
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

    /// Adds and removes a function that this many watchers receive. Returns the number of entries.
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
