//! `callboard functions`: prints the board once.

use std::collections::HashMap;

use callboard::worker::{Snapshot, Watch, WorkerInfo};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::json_record;
use super::options::{Flag, Options};
use super::output::{Colour, Output};
use super::table::Table;
use super::target::{self, Target};
use super::text;
use super::worker_load::{self, WorkerLoad};

/// The most providers of a function shown by name.
const NAMES_SHOWN: usize = 3;

pub(super) const COMMAND: Command = Command {
    name: "functions",
    arguments: "[PREFIX]",
    summary: "list the functions on the board and their providers",
    about: "Prints the current board, sorted by name, and ends. With PREFIX, only the functions whose names \
        begin with it.\n\nIN FLIGHT shows the calls in flight at its providers, and their capacity.\n\nWith \
        --json, one object per line: name, description, exclusive, request, response, metadata, workers, \
        stale, in_flight, capacity. request, response and metadata are null if there are none; values that \
        are not MessagePack are shown as {\"bin\": \"hex\"}.",
    flags,
    examples: &[
        ("callboard functions", "all of them, as a table"),
        ("callboard functions orders::", "those of one service"),
        (
            "callboard functions --json | jq -r .name",
            "the names, for a script",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![Flag::switch("json", "One JSON object per line.")];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let prefix = options.one_argument()?.unwrap_or_default();
    let target = Target::read(options)?;
    let watch = Watch::functions([prefix]).workers([""]);
    let worker = target.look(COMMAND.name, watch)?;
    let board = worker.board().snapshot();
    let loads = worker_load::by_worker(&target, &worker);
    let mut out = Output::stdout();
    let providers = providers(&board);
    if options.has("json") {
        for entry in &board.functions {
            let who = providers.get(entry.name()).map_or(&[][..], Vec::as_slice);
            let names = who.iter().map(|worker| worker.name());
            let busy = busy(who, &loads);
            let object = json_record::object(|object| {
                json_record::function(object, entry, names);
                worker_load::record(object, busy.as_ref());
            });
            out.json(&object)?;
        }
    } else if board.functions.is_empty() {
        out.line(nothing(prefix))?;
    } else {
        print(&mut out, &board, &providers, &loads)?;
    }
    out.flush()?;
    worker.close();
    Ok(())
}

fn nothing(prefix: &str) -> String {
    match prefix {
        "" => "The board is empty: no worker provides a function.".to_owned(),
        prefix => format!(
            "No function's name begins with `{}`.",
            text::visible(prefix)
        ),
    }
}

/// The providers of each function, oldest first.
fn providers(board: &Snapshot) -> HashMap<&str, Vec<&WorkerInfo>> {
    let mut providers: HashMap<&str, Vec<&WorkerInfo>> = HashMap::new();
    for worker in &board.workers {
        for function in worker.functions() {
            providers.entry(function).or_default().push(worker);
        }
    }
    providers
}

/// The name of a provider, with its tier.
fn named(worker: &WorkerInfo, loads: &HashMap<u64, WorkerLoad>) -> String {
    let load = loads.get(&worker.id());
    let tier = load.map_or_else(String::new, WorkerLoad::tier_shown);
    format!("{}{tier}", worker.name())
}

/// The combined calls in flight of a function's providers; `None` if the engine does not tell.
fn busy(who: &[&WorkerInfo], loads: &HashMap<u64, WorkerLoad>) -> Option<WorkerLoad> {
    WorkerLoad::sum(who.iter().map(|worker| loads.get(&worker.id())))
}

fn print(
    out: &mut Output,
    board: &Snapshot,
    providers: &HashMap<&str, Vec<&WorkerInfo>>,
    loads: &HashMap<u64, WorkerLoad>,
) -> Result<(), Failure> {
    let heading = ["NAME", "PROVIDED BY", "IN FLIGHT", "DESCRIPTION"];
    let mut table = Table::new(heading).right(2);
    for entry in &board.functions {
        let workers = providers.get(entry.name()).map_or(&[][..], Vec::as_slice);
        let names: Vec<String> = workers.iter().map(|it| named(it, loads)).collect();
        let mut who = text::shortened(names.iter().map(String::as_str), NAMES_SHOWN);
        if entry.is_exclusive() {
            who.push_str(" (exclusive)");
        }
        if entry.is_stale() {
            who.push_str(" (stale)");
        }
        table.row([
            text::visible(entry.name()).into_owned(),
            who,
            busy(workers, loads)
                .as_ref()
                .map_or_else(String::new, WorkerLoad::shown),
            text::visible(entry.description()).into_owned(),
        ]);
    }
    table.print(out, "")?;
    let paint = out.paint();
    let providing = board
        .workers
        .iter()
        .filter(|worker| provides_any(worker, board));
    out.line(paint.text(
        Colour::Dim,
        format_args!(
            "{} by {}, revision {}",
            text::count(board.functions.len(), "function"),
            text::count(providing.count(), "worker"),
            board.revision
        ),
    ))
}

/// Whether a worker provides one of the shown functions.
fn provides_any(worker: &WorkerInfo, board: &Snapshot) -> bool {
    let listed = |name: &str| {
        board
            .functions
            .binary_search_by(|entry| entry.name().cmp(name))
    };
    worker.functions().any(|name| listed(name).is_ok())
}
