//! The workers that left lately, requested from the engine, as `callboard workers --gone` prints them.

use std::time::Duration;

use callboard::worker::Worker;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::output::Output;
use super::pages;
use super::table::Table;
use super::target::Target;
use super::text;

/// The engine's function for that.
const FUNCTION: &str = "engine::workers::departures";

/// The most functions of a worker shown by name.
const NAMES_SHOWN: usize = 3;

/// A worker that left. Printed as JSON with these keys.
#[derive(Debug, Deserialize, Serialize)]
struct Departure {
    name: String,
    worker: u64,
    code: String,
    ago_ms: u64,
    stayed_ms: u64,
    functions: u64,
    bindings: u64,
    first: Vec<String>,
    peer: String,
}

/// Prints those whose names begin with `prefix`, the last one first.
pub(super) fn print(
    target: &Target,
    worker: &Worker,
    prefix: &str,
    is_json: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut departures: Vec<Departure> = Vec::new();
    pages::collect((target, worker), FUNCTION, prefix, &mut departures)?;
    if is_json {
        for departure in &departures {
            let object = serde_json::to_value(departure).expect("text keys");
            out.json(&object)?;
        }
        return Ok(());
    }
    if departures.is_empty() {
        return out
            .line("No worker that provided something has left, as far as the engine remembers.");
    }
    let heading = ["AGO", "NAME", "WHY", "AFTER", "FUNCTIONS", "WHICH", "FROM"];
    let mut table = Table::new(heading).right(0).right(3).right(4);
    for departure in departures {
        let count = usize::try_from(departure.functions).unwrap_or(usize::MAX);
        let known = departure.first.iter().map(String::as_str);
        table.row([
            lasted(departure.ago_ms),
            text::visible(&departure.name).into_owned(),
            text::visible(&departure.code).into_owned(),
            lasted(departure.stayed_ms),
            text::grouped(count),
            text::first_of(known, NAMES_SHOWN, count),
            text::visible(&departure.peer).into_owned(),
        ]);
    }
    table.print(out, "")
}

fn lasted(milliseconds: u64) -> String {
    text::long_duration(Duration::from_millis(milliseconds))
}
