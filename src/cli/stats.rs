//! `callboard stats`: prints the engine's statistics once.

use serde_json::Value;

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::json;
use super::options::{Flag, Options};
use super::output::Output;
use super::table::Table;
use super::target::{self, Target};
use super::text;

/// The engine's function for that.
const FUNCTION: &str = "engine::stats";

pub(super) const COMMAND: Command = Command {
    name: "stats",
    arguments: "",
    summary: "show the engine's statistics",
    about: "Prints the engine's counters since its start and its current gauges, and ends: connections, \
        functions, frames and bytes in and out, changes, snapshots by reason, calls by outcome, what was \
        dropped and refused, connections closed by code, the duration of turns of its loop, bytes held. They \
        cover the whole engine with all namespaces. docs/COUNTERS.md explains each, and what to do about \
        it.\n\nWith --json, one object on one line, as returned by the function engine::stats.",
    flags,
    examples: &[
        ("callboard stats", "all of it, as a table"),
        (
            "callboard stats --json | jq .endings",
            "how calls ended, by outcome",
        ),
    ],
    exits: Exit::OF_A_REQUEST,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![Flag::switch("json", "One JSON object.")];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    options.no_arguments()?;
    let stats = Target::read(options)?.ask(COMMAND.name, FUNCTION, Vec::new())?;
    let stats = json::from_messagepack(&stats);
    let mut out = Output::stdout();
    if options.has("json") {
        out.json(&stats)?;
    } else {
        let mut table = Table::new(["COUNTER", "VALUE"]).right(1);
        rows(&mut table, "", &stats);
        table.print(&mut out, "")?;
    }
    out.flush()
}

/// Adds a row for each number; those in a nested map are prefixed with its name.
fn rows(table: &mut Table<2>, name: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let key = text::visible(key);
                let name = match name {
                    "" => key.into_owned(),
                    name => format!("{name}: {key}"),
                };
                rows(table, &name, member);
            }
        }
        Value::Number(number) => {
            let shown = match number.as_u64() {
                Some(number) => text::grouped(number as usize),
                None => number.to_string(),
            };
            table.row([name.to_owned(), shown]);
        }
        other => table.row([name.to_owned(), json::to_text(other)]),
    }
}
