//! `callboard demo`: an engine and a few workers that come and go, in one command. `script` has the events,
//! `watchers` the workers that watch and measure, `screen` the output.

mod calls;
mod error;
mod proxy;
mod reports;
mod screen;
mod script;
mod watchers;

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::logging;
use super::options::{self, Flag, Group, Options};
use reports::REPORTS_FLAG;
use screen::Screen;

pub(super) const COMMAND: Command = Command {
    name: reports::DEMO,
    arguments: "",
    summary: "an engine and a few workers coming and going, in one command",
    about: "Starts an engine on a free port of this host and several workers, each with a TCP connection of \
        its own, one of them in a process of its own. They join, register, unregister, crash, lose their \
        connection and return, and calls go to the available providers. Each change is shown with the time \
        from the call that caused it until the last worker had it on its board.\n\nIt ends by itself after \
        some seconds, and verifies what it showed: exit code 1 if a worker was notified of anything other \
        than what happened, or if a board is wrong at the end.",
    flags,
    examples: &[
        ("callboard demo", "with pauses for reading"),
        (
            "callboard demo --fast",
            "without pauses, to check that everything works on this host",
        ),
    ],
    exits: &[Exit::Done, Exit::Failed, Exit::Usage],
    run,
};

fn flags() -> Vec<Flag> {
    vec![
        Flag::switch("fast", "No pauses."),
        Flag::value(
            REPORTS_FLAG,
            "ADDR",
            "Run as the worker in a process of its own.",
        )
        .group(Group::Hidden),
    ]
}

fn run(options: &Options) -> Result<(), Failure> {
    options.no_arguments()?;
    logging::start(None, "off");
    match options.parsed(REPORTS_FLAG, options::address)? {
        Some(engine) => reports::run(engine),
        None => script::run(Screen::new(options.has("fast"))),
    }
}
