//! `callboard call`: one call, its result on standard output.

use std::time::Instant;

use callboard::worker::{CallOptions, Watch};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::json;
use super::options::{self, Flag, Options};
use super::output::Output;
use super::payload;
use super::target::{self, Target, own_name};

pub(super) const COMMAND: Command = Command {
    name: "call",
    arguments: "NAME [JSON|-]",
    summary: "call a function, and print its result",
    about: "Calls the function with the JSON as its argument (-: read from standard input; none: \
            null) and prints the result as one line of JSON. Who provides the function, and where, \
            the engine knows. The engine's own functions, such as engine::stats, are called like \
            any other.\n\n\
            --timeout is for all of it: connecting, waiting and running. Without --wait a function \
            that nobody provides is an error at once.",
    flags,
    examples: &[
        (
            "callboard call orders::create '{\"item\": 7}'",
            "one call; the result as JSON",
        ),
        (
            "callboard call reports::build --wait --timeout 1m < /dev/null",
            "waits until somebody provides it",
        ),
        (
            "jq -n '[1,2]' | callboard call math::sum -",
            "the argument from a pipe",
        ),
    ],
    exits: &[
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NoEngine,
        Exit::Refused,
        Exit::Function,
        Exit::Unanswered,
    ],
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::value(
            "timeout",
            "TIME",
            "When to give up, on the engine and on the answer: 500ms, 5s, 1m.",
        )
        .default("30s"),
        Flag::switch(
            "wait",
            "If nobody provides the function, or all are busy, wait instead of failing.",
        ),
        Flag::switch(
            "idempotent",
            "It may run twice: when its provider dies, the engine asks the next.",
        ),
        Flag::value("worker", "ID", "This worker, no other."),
    ];
    flags.extend(
        target::flags()
            .into_iter()
            .filter(|it| it.long != "timeout"),
    );
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let [name, json] = options.few_arguments(1, ["NAME", "JSON"])?;
    let name = name.unwrap_or_default();
    target::callable_name(name)?;
    let worker_id = options.parsed("worker", options::number)?;
    let payload = payload::from_argument(json)?;
    let began = Instant::now();
    let target = Target::read_waiting(options, target::CALL_TIMEOUT)?;
    let builder = target.builder(own_name(COMMAND.name), Watch::nothing());
    let worker = builder.connect(target.timeout)?;
    let left = target.timeout.saturating_sub(began.elapsed());
    let mut how = CallOptions::new().timeout(left);
    if options.has("wait") {
        how = how.wait();
    }
    if options.has("idempotent") {
        how = how.idempotent();
    }
    if let Some(id) = worker_id {
        how = how.worker(id);
    }
    let result = worker.client().call_raw(name, payload, &how)?;
    worker.close();
    let mut out = Output::stdout();
    out.json(&json::from_messagepack(&result))?;
    out.flush()
}
