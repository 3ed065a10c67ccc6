//! `callboard drain`: shuts an engine down like SIGTERM.

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::Options;
use super::output::Output;
use super::target::{self, Target};

/// The engine's function for that.
const FUNCTION: &str = "engine::drain";

pub(super) const COMMAND: Command = Command {
    name: "drain",
    arguments: "",
    summary: "shut an engine down, like SIGTERM",
    about: "Shuts the engine down: every worker is told when to reconnect, calls in flight may end within \
        --grace, then the process exits with 0. This ends the whole engine with all its namespaces. Its \
        service manager decides whether it starts again: with `Restart=on-failure` it stays down.\n\nIt \
        requires the right `admin` for engine::drain. Without credentials, only root and the user who runs \
        the engine may do it, over a Unix socket.",
    flags: target::flags,
    examples: &[(
        "callboard drain --connect unix:/run/callboard.sock",
        "the engine that listens there",
    )],
    exits: Exit::OF_A_REQUEST,
    run,
};

fn run(options: &Options) -> Result<(), Failure> {
    options.no_arguments()?;
    Target::read(options)?.ask(COMMAND.name, FUNCTION, Vec::new())?;
    let mut out = Output::stdout();
    out.line("the engine drains")?;
    out.flush()
}
