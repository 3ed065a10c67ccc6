//! `callboard expose`: names on the board for as long as the command runs. Runs nothing when they are
//! called: calls are not there yet.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use callboard::protocol::{check_function_name, check_worker_name};
use callboard::worker::{Connection, Function, Notice, Watch};

use super::engine::{self, Target, own_name};
use super::exit::{Exit, Failure};
use super::options::{Command, Flag, Options, UsageError, ValueError};
use super::output::Output;
use super::signals::Stop;
use super::text;

pub(super) const COMMAND: Command = Command {
    name: "expose",
    arguments: "NAME...",
    summary: "put functions on the board for as long as the command runs",
    about: "Registers the names, all or none, as one change of the board, and holds them there \
            until Ctrl-C or SIGTERM; then it says goodbye and they leave together. However it ends, \
            by kill -9 too, they leave. When the engine restarts, it comes back and registers them \
            again.\n\n\
            NAME is 1 to 255 bytes of visible ASCII, by convention service::function. With - in \
            place of names they are read from standard input, one a line.\n\n\
            What a caller gets is not there yet: an engine of this version answers calls with \
            `unsupported`. NAME... -- COMMAND, which will run COMMAND for each call, is refused \
            until then.",
    flags,
    examples: &[
        (
            "callboard expose hello::world --description 'Says hello'",
            "one function; `callboard functions` lists it",
        ),
        (
            "seq -f 'load::f%g' 10000 | callboard expose - --name load",
            "ten thousand functions in one change",
        ),
        (
            "callboard expose jobs::leader --exclusive",
            "fails with exit code 4 while somebody else provides it",
        ),
    ],
    exits: &[
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NoEngine,
        Exit::Refused,
    ],
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::value("name", "WORKER", "What others see as the provider.").default("expose@HOST"),
        Flag::value("description", "TEXT", "What the functions do, for people."),
        Flag::switch("exclusive", "Be the only provider, or fail."),
    ];
    flags.extend(engine::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    if !options.behind_dashes().is_empty() {
        return Err(UsageError::CommandGiven.into());
    }
    let target = Target::read(options)?;
    let name = options.parsed("name", |text| match check_worker_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::Name(error)),
    })?;
    let name = name.unwrap_or_else(|| own_name(COMMAND.name));
    let functions = functions(options)?;
    let names: Vec<String> = functions.keys().cloned().collect();

    let builder = target.builder(name.clone(), Watch::nothing());
    let worker = builder.connect(target.timeout)?;
    let changes = worker.changes();
    let registered = worker.register(functions.into_values())?;

    let mut out = Output::stdout();
    let stop = Stop::on_signal(worker)?;
    out.line(format_args!(
        "{} on the board as \"{}\", revision {}: {}",
        text::count(names.len(), "function"),
        text::visible(&name),
        registered.revision,
        text::shortened(names.iter().map(String::as_str), 3),
    ))?;
    out.flush()?;
    for notice in changes {
        match notice {
            Notice::Disconnected(loss) => {
                let reason = loss.to_string();
                out.line(format_args!(
                    "the engine is gone ({}); waiting for it",
                    text::visible(&reason)
                ))?;
            }
            Notice::Connected(connection) => out.line(back(&connection))?,
            Notice::NotRestored { name, refusal } => {
                let reason = refusal.to_string();
                out.line(format_args!(
                    "{} is not back on the board: {}",
                    text::visible(&name),
                    text::visible(&reason)
                ))?;
            }
            Notice::Ended(end) => {
                stop.finish()?;
                return match Failure::Ended(end) {
                    done if done.exit() == Exit::Done => Ok(()),
                    failure => Err(failure),
                };
            }
            Notice::Step(_) | Notice::Synced { .. } | Notice::Missed => {}
        }
        out.flush()?;
    }
    stop.finish()
}

fn back(connection: &Connection) -> String {
    let engine = text::visible(&connection.engine);
    let address = &connection.address;
    format!("the engine is back (\"{engine}\" at {address}); registering again")
}

/// The functions to register, by name; a name given twice counts once.
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

/// One name a line; empty lines and spaces around names do not count.
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
