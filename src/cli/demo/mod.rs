//! `callboard demo`: an engine and a few workers that come and go, in one command. What happens is in
//! `play`; who watches and measures in `audience`; how it looks in `stage`.

mod audience;
mod cable;
mod calls;
mod play;
mod reports;
mod stage;

use std::fmt;
use std::io;

use callboard::worker::CallError;

use super::exit::{Exit, Failure};
use super::logging;
use super::options::{self, Command, Flag, Group, Options};
use stage::Stage;

/// Between the program and the process that it starts.
const REPORTS_FLAG: &str = "as-reports";

pub(super) const COMMAND: Command = Command {
    name: "demo",
    arguments: "",
    summary: "an engine and a few workers coming and going, in one command",
    about: "Starts an engine on a free port of this host and several workers, each with a TCP \
            connection of its own, one of them in a process of its own. They join, register, \
            unregister, crash, lose their connection and return, and calls go to whoever is there. \
            Each change is shown with the time from the call that caused it until the last worker had it on its board.\n\n\
            It ends by itself after some seconds, and checks what it showed: exit code 1 if a \
            worker was told anything else than what happened, or if a board is wrong at the end.",
    flags,
    examples: &[
        ("callboard demo", "with pauses to read along"),
        (
            "callboard demo --fast",
            "without, as a check that all works on this host",
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
            "Be the worker with a process of its own.",
        )
        .group(Group::Hidden),
    ]
}

fn run(options: &Options) -> Result<(), Failure> {
    options.no_arguments()?;
    logging::start(None, "off");
    match options.parsed(REPORTS_FLAG, options::address)? {
        Some(engine) => reports::run(engine),
        None => play::run(Stage::new(options.has("fast"))),
    }
}

/// What the demo must not show.
#[derive(Debug)]
pub(super) enum DemoError {
    /// A worker was not told in time.
    Silence {
        worker: &'static str,
        awaited: &'static str,
    },
    /// A worker was told something else than what happened.
    OtherNews {
        worker: &'static str,
        wanted: String,
        told: String,
    },
    /// A call that should come to a result did not.
    Call(CallError),
    /// A call was answered by somebody else than it should be.
    OtherAnswer { wanted: String, answered: String },
    /// A worker's board at the end differs from a newcomer's.
    WrongBoard { worker: &'static str },
    /// The worker's process, the cable or a thread could not be had.
    System(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { worker, awaited } => {
                write!(f, "{worker} was not told of {awaited} in time")
            }
            Self::OtherNews {
                worker,
                wanted,
                told,
            } => write!(
                f,
                "{worker} should be told `{wanted}`, and was told `{told}`"
            ),
            Self::Call(error) => write!(f, "a call failed: {error}"),
            Self::OtherAnswer { wanted, answered } => {
                write!(f, "`{wanted}` should answer, and it was `{answered}`")
            }
            Self::WrongBoard { worker } => {
                write!(f, "the board of {worker} is not that of a newcomer")
            }
            Self::System(error) => write!(f, "the system refuses what the demo needs: {error}"),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Call(error) => Some(error),
            _ => None,
        }
    }
}
