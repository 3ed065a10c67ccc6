//! `callboard cast`: a call without an answer.

use callboard::worker::Watch;

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::Options;
use super::payload;
use super::target::{self, Target, own_name};

pub(super) const COMMAND: Command = Command {
    name: "cast",
    arguments: "NAME [JSON|-]",
    summary: "call a function without waiting for an answer",
    about: "Calls the function with the JSON as its argument (-: read from standard input; none: null) and \
        ends as soon as the call is sent. There is no answer: if the function has no provider, or all are \
        busy, the engine drops the cast and counts it.",
    flags: target::flags,
    examples: &[
        (
            "callboard cast mail::send '{\"to\": \"me\"}'",
            "continues at once",
        ),
        ("date | jq -R . | callboard cast log::line -", "from a pipe"),
    ],
    exits: Exit::OF_A_REQUEST,
    run,
};

fn run(options: &Options) -> Result<(), Failure> {
    let [name, json] = options.few_arguments(1, ["NAME", "JSON"])?;
    let name = name.unwrap_or_default();
    target::callable_name(name)?;
    let payload = payload::from_argument(json)?;
    let target = Target::read(options)?;
    let builder = target.builder(own_name(COMMAND.name), Watch::nothing());
    let worker = builder.connect(target.left())?;
    worker.client().cast_raw(name, &payload, &[])?;
    // GOODBYE follows it.
    worker.close();
    Ok(())
}
