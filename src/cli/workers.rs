//! `callboard workers`: prints the workers on the board once.

use std::collections::HashMap;

use callboard::worker::{Watch, WorkerInfo};

use super::command::Command;
use super::departures;
use super::exit::Exit;
use super::failure::Failure;
use super::json;
use super::json_record;
use super::options::{Flag, Options};
use super::output::Output;
use super::table::Table;
use super::target::{self, Target};
use super::text;
use super::worker_load::{self, WorkerLoad};

/// The most functions of a worker shown by name.
const NAMES_SHOWN: usize = 3;

/// Width of the metadata column.
const METADATA_SHOWN: usize = 40;

pub(super) const COMMAND: Command = Command {
    name: "workers",
    arguments: "[PREFIX]",
    summary: "list the workers on the board",
    about: "Prints the workers that currently provide functions, by id, and ends. With PREFIX, only those \
        whose names begin with it. Workers that only watch are not listed. An id is unique until the engine \
        restarts; names need not be unique.\n\nIN FLIGHT shows its calls in flight and its capacity.\n\nWith \
        --json, one object per line: name, id, metadata, functions, stale, in_flight, capacity, tier, peer. \
        metadata is null if there is none; values that are not MessagePack are shown as {\"bin\": \"hex\"}.\n\nWith \
        --gone, the workers that provided or bound something and left instead, the last one first: how long ago, why, \
        after how long, with which functions, and from where. WHY is the code of the GOODBYE, or `drain`, `eof` (the \
        peer closed the connection) or `reset` (the connection broke). As JSON: name, worker, code, ago_ms, stayed_ms, \
        functions, bindings, first, peer.",
    flags,
    examples: &[
        ("callboard workers", "all of them, as a table"),
        (
            "callboard workers --json | jq -r '[.id, .name, (.functions | length)] | @tsv'",
            "the fields that a script needs",
        ),
        (
            "callboard workers --gone",
            "which worker left, when and why",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::switch("json", "One JSON object per line."),
        Flag::switch("gone", "The workers that left, and why."),
    ];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let prefix = options.one_argument()?.unwrap_or_default();
    let target = Target::read(options)?;
    if options.has("gone") {
        let worker = target.look(COMMAND.name, Watch::nothing())?;
        let mut out = Output::stdout();
        departures::print(&target, &worker, prefix, options.has("json"), &mut out)?;
        out.flush()?;
        worker.close();
        return Ok(());
    }
    let watch = Watch::nothing().workers([prefix]);
    let worker = target.look(COMMAND.name, watch)?;
    let workers = worker.board().workers();
    let loads = worker_load::by_worker(&target, &worker);
    let mut out = Output::stdout();
    if options.has("json") {
        for info in &workers {
            let load = loads.get(&info.id());
            let object = json_record::object(|object| {
                json_record::worker(object, info);
                worker_load::record(object, load);
                object.insert("tier".to_owned(), load.map(|load| load.tier).into());
                let peer = load.map(|load| &*load.peer).filter(|peer| !peer.is_empty());
                object.insert("peer".to_owned(), peer.into());
            });
            out.json(&object)?;
        }
    } else if workers.is_empty() {
        out.line(nothing(prefix))?;
    } else {
        print(&mut out, &workers, &loads)?;
    }
    out.flush()?;
    worker.close();
    Ok(())
}

fn nothing(prefix: &str) -> String {
    match prefix {
        "" => "No worker provides a function.".to_owned(),
        prefix => format!(
            "No worker that provides a function has a name that begins with `{}`.",
            text::visible(prefix)
        ),
    }
}

fn print(
    out: &mut Output,
    workers: &[WorkerInfo],
    loads: &HashMap<u64, WorkerLoad>,
) -> Result<(), Failure> {
    let heading = ["ID", "NAME", "IN FLIGHT", "FUNCTIONS", "WHICH", "METADATA"];
    let mut table = Table::new(heading).right(0).right(2).right(3);
    for worker in workers {
        let mut name = text::visible(worker.name()).into_owned();
        let load = loads.get(&worker.id());
        name.push_str(&load.map_or_else(String::new, WorkerLoad::tier_shown));
        if worker.is_stale() {
            name.push_str(" (stale)");
        }
        let metadata = match json::from_messagepack(worker.raw_metadata()) {
            serde_json::Value::Null => String::new(),
            value => json::to_text(&value),
        };
        table.row([
            worker.id().to_string(),
            name,
            load.map_or_else(String::new, WorkerLoad::shown),
            text::grouped(worker.functions().len()),
            text::shortened(worker.functions(), NAMES_SHOWN),
            text::cut(&metadata, METADATA_SHOWN).into_owned(),
        ]);
    }
    table.print(out, "")
}
