//! Frames that change the board, and the setup of a board before a measurement. Waits for the answers; measures
//! nothing.

use super::error::BenchError;
use super::session::{Session, end_of};
use crate::protocol::{Bin, Definition, Register, Text, Unregister};

/// Functions per REGISTER.
const BATCH: usize = 1_000;

/// The byte that fills payloads and metadata.
const FILLING: u8 = 0x5a;

/// This many filler bytes.
pub(super) fn filling(bytes: usize) -> Vec<u8> {
    vec![FILLING; bytes]
}

/// REGISTER of these functions, each with this metadata.
pub(super) fn register(id: u64, names: &[String], metadata: &[u8]) -> Vec<u8> {
    let definition = |name| Definition {
        name: Text(name),
        metadata: Bin(metadata),
        ..Definition::default()
    };
    let register = Register {
        id,
        functions: names.iter().map(|name| definition(name)).collect(),
        ..Register::default()
    };
    register.to_frame()
}

/// UNREGISTER of these functions.
pub(super) fn unregister(id: u64, names: &[String]) -> Vec<u8> {
    let unregister = Unregister {
        id,
        names: names.iter().map(|name| Text(name)).collect(),
        ..Unregister::default()
    };
    unregister.to_frame()
}

/// Registers this many functions, distributed over these connections.
pub(super) fn fill(
    session: &mut Session,
    workers: &[usize],
    group: &str,
    functions: usize,
    metadata: &[u8],
) -> Result<(), BenchError> {
    let numbers: Vec<u64> = (0..functions as u64).collect();
    // The frame must stay below the engine's limit, whatever the metadata.
    let batch = BATCH.min((512 * 1024 / (metadata.len() + 64)).max(1));
    let mut done = 0;
    for (turn, numbers) in numbers.chunks(batch).enumerate() {
        let names: Vec<String> = numbers
            .iter()
            .map(|&number| session.function_names().name(group, number))
            .collect();
        let worker = workers[turn % workers.len()];
        session.send(worker, &register(1, &names, metadata))?;
        let mut ended = false;
        while !ended {
            session.turn_or_stop(|received| {
                ended |= received.peer == worker && end_of(&received)?.is_some();
                Ok(())
            })?;
        }
        done += names.len() as u64;
        session.report_progress("registered", done);
    }
    Ok(())
}
