//! `callboard expose`: registers names while the command runs, and runs a program for each call. `program` runs it;
//! `program_handler` turns its outcome into a result or a failure.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use callboard::protocol::{check_function_name, check_worker_name};
use callboard::worker::{Function, Service, Watch};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::foreground;
use super::options::{self, Flag, Options};
use super::program::Program;
use super::program_handler;
use super::signals::{self, Stop};
use super::target::{self, Target, own_name};
use super::text;
use super::usage_error::{UsageError, ValueError};

/// After a signal, how long calls may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes that a program may print; no payload is larger.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// The most concurrent runs; each costs a process and a few threads.
const MAX_JOBS: usize = 10_000;

pub(super) const COMMAND: Command = Command {
    name: "expose",
    arguments: "NAME... [-- COMMAND...]",
    summary: "register any program as a function",
    about: "Registers the names, all or none, as one change of the board, and keeps them there until Ctrl-C or \
        SIGTERM; then they leave together. However it ends, even by kill -9, they leave. After a restart of \
        the engine, it reconnects and registers them again.\n\nNAME is 1 to 255 bytes of visible ASCII, by \
        convention service::function. With - instead, names are read from standard input, one per \
        line.\n\nEach call starts COMMAND: it reads the argument as JSON from standard input and prints the \
        result as JSON. A non-zero exit code is a failure, reported with the end of standard error. When the \
        caller cancels or the deadline passes, COMMAND and its child processes are killed. Its environment \
        has CALLBOARD_FUNCTION, CALLBOARD_CALLER, CALLBOARD_CALLER_ID, CALLBOARD_TIMEOUT_MS and \
        CALLBOARD_EVENT. After the first signal, running calls have 10 s to end.\n\nWithout COMMAND the names \
        are only held: calls to them fail.",
    flags,
    examples: &[
        (
            "callboard expose echo -- cat",
            "one function; `callboard call echo '{\"a\":1}'` calls it",
        ),
        (
            "callboard expose disk::free --jobs 1 -- ./disk-free.sh",
            "a shell script as a function, one run at a time",
        ),
        (
            "seq -f 'load::f%g' 10000 | callboard expose - --name load",
            "ten thousand functions in one change",
        ),
        (
            "callboard expose jobs::leader --exclusive",
            "fails with exit code 4 while another worker provides it",
        ),
        (
            "callboard expose orders::create --tier 1 -- ./orders-standby",
            "gets calls while the providers of tier 0 are gone or full",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::value("name", "WORKER", "Name of this worker on the board.").default("expose@HOST"),
        Flag::value(
            "description",
            "TEXT",
            "Description of the functions, for people.",
        ),
        Flag::switch("exclusive", "Be the only provider, or fail."),
        Flag::value(
            "tier",
            "N",
            "Get calls only while no provider of a lower tier has room.",
        )
        .default("the lowest allowed"),
        Flag::value("jobs", "N", "Runs of COMMAND at once.").default("the processors"),
    ];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let name = options.parsed("name", |text| match check_worker_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::Name(error)),
    })?;
    let name = name.unwrap_or_else(|| own_name(COMMAND.name));
    let jobs = options.parsed("jobs", jobs)?;
    let tier = options.parsed("tier", options::number)?;
    let command = options.behind_dashes().to_vec();
    if command.is_empty() && jobs.is_some() {
        return Err(UsageError::NoCommandFor("jobs").into());
    }
    let functions = functions(options)?;
    let names: Vec<String> = functions.keys().cloned().collect();
    // Its timeout begins here, when standard input is read.
    let target = Target::read(options)?;

    let mut builder = target.builder(name.clone(), Watch::nothing());
    if let Some(tier) = tier {
        builder = builder.tier(tier);
    }
    if !command.is_empty() {
        let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
        // The engine routes further calls elsewhere or refuses them, instead of queueing them here.
        builder = builder.threads(jobs).capacity(jobs).drain_timeout(PATIENCE);
    }
    let worker = builder.connect(target.left())?;
    let changes = worker.changes();
    let program = Arc::new(Program::new(command, MAX_OUTPUT));
    let services = functions
        .into_values()
        .map(|function| service(function, &program));
    let registered = worker.register(services)?;

    let (patience, ended) = (patience(&program), Arc::clone(&program));
    let stop = Stop::on_signal(worker, patience, move || ended.end())?;
    let first = format!(
        "{} on the board as \"{}\", revision {}: {}",
        text::count(names.len(), "function"),
        text::visible(&name),
        registered.revision,
        text::shortened(names.iter().map(String::as_str), 3),
    );
    foreground::run_until_stopped(changes, stop, &first)
}

/// A function with its program. Without a program, the library answers that there is no handler.
fn service(function: Function, program: &Arc<Program>) -> Service {
    if program.is_none() {
        return function.into();
    }
    let program = Arc::clone(program);
    function
        .raw_handler(move |call, argument| program_handler::handle_call(&program, call, argument))
}

fn patience(program: &Program) -> Duration {
    if program.is_none() {
        signals::PATIENCE
    } else {
        PATIENCE + signals::PATIENCE
    }
}

fn jobs(text: &str) -> Result<usize, ValueError> {
    match options::number(text)?.try_into() {
        Ok(jobs @ 1..=MAX_JOBS) => Ok(jobs),
        _ => Err(ValueError::Range(1, MAX_JOBS)),
    }
}

/// The functions to register, by name; duplicates count once.
fn functions(options: &Options) -> Result<BTreeMap<String, Function>, Failure> {
    let arguments = options.arguments();
    let names = match arguments {
        [only] if only == "-" => read_names()?,
        _ => arguments.to_vec(),
    };
    if names.is_empty() {
        return Err(UsageError::NoNames.into());
    }
    let description = options.value("description").unwrap_or_default();
    let mut functions = BTreeMap::new();
    for name in names {
        if let Err(error) = check_function_name(&name) {
            return Err(UsageError::Name(name, error).into());
        }
        let mut function = Function::new(&*name).description(&*description);
        if options.has("exclusive") {
            function = function.exclusive();
        }
        functions.insert(name, function);
    }
    Ok(functions)
}

/// One name per line; empty lines and surrounding spaces are ignored.
fn read_names() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(Failure::Input)?;
        let name = line.trim();
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
