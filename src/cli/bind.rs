//! `callboard bind`: binds a function to an event while the command runs.

use callboard::protocol::{check_event_name, check_function_name, check_worker_name};
use callboard::worker::{Binding, Watch};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::foreground;
use super::options::{Flag, Options};
use super::payload;
use super::signals::{self, Stop};
use super::target::{self, Target, own_name};
use super::text;
use super::usage_error::{UsageError, ValueError};

pub(super) const COMMAND: Command = Command {
    name: "bind",
    arguments: "EVENT FUNCTION",
    summary: "bind a function to an event while the command runs",
    about: "Each emitted event is then cast to the function. The function need not exist yet. If several \
        workers make the same binding, the event is delivered once, to one provider; with --all, to every \
        provider. The binding is removed when the command ends, in whatever way, and restored after a restart \
        of the engine.\n\nAn event source with schedules or routes reads them from --config: it sees the \
        bindings on the board.",
    flags,
    examples: &[
        (
            "callboard bind user.created mail::welcome",
            "every new user gets a letter",
        ),
        (
            "callboard bind every report::daily --config '{\"seconds\": 86400}'",
            "an event source named `every` can read the interval",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::value(
            "id",
            "ID",
            "Distinguishes several bindings of one function to one event.",
        ),
        Flag::value(
            "config",
            "JSON",
            "Configuration for the event source, shown on the board.",
        ),
        Flag::switch("all", "Deliver to every provider instead of one."),
        Flag::value("name", "WORKER", "Name of this worker on the board.").default("bind@HOST"),
    ];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let [event, function] = options.few_arguments(2, ["EVENT", "FUNCTION"])?;
    let (event, function) = (event.unwrap_or_default(), function.unwrap_or_default());
    target::event_name(event)?;
    check_function_name(function).map_err(|error| UsageError::Name(function.to_owned(), error))?;
    let id = options.parsed("id", |text| match check_event_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::Name(error)),
    })?;
    let config = options.parsed("config", |text| {
        payload::from_text(text).map_err(ValueError::Payload)
    })?;
    let name = options.parsed("name", |text| match check_worker_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::Name(error)),
    })?;
    let name = name.unwrap_or_else(|| own_name(COMMAND.name));
    let target = Target::read(options)?;

    let worker = target
        .builder(name.clone(), Watch::nothing())
        .connect(target.left())?;
    let changes = worker.changes();
    let mut binding = Binding::new(event, function)
        .with_id(id.unwrap_or_default())
        .with_config_bytes(config.unwrap_or_default());
    if options.has("all") {
        binding = binding.deliver_to_all();
    }
    let registered = worker.bind([binding])?;
    let stop = Stop::on_signal(worker, signals::PATIENCE, || {})?;
    let first = format!(
        "{} bound to {} by \"{}\", revision {}",
        text::visible(function),
        text::visible(event),
        text::visible(&name),
        registered.revision,
    );
    foreground::run_until_stopped(changes, stop, &first)
}
