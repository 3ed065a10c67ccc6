//! `callboard call`: one call, its result on standard output.

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
    summary: "call a function and print its result",
    about: "Calls the function with the JSON as its argument (-: read from standard input; none: null) and \
        prints the result as one line of JSON. The engine routes the call to a provider. Functions of the \
        engine itself, such as engine::stats, are called like any other.\n\n--timeout covers connecting, \
        waiting and running. Without --wait, a function without a provider is an error at once.",
    flags,
    examples: &[
        (
            "callboard call orders::create '{\"item\": 7}'",
            "one call; the result as JSON",
        ),
        (
            "callboard call reports::build --wait --timeout 1m < /dev/null",
            "waits until a worker provides it",
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
            "How long to wait for the engine and the answer: 500ms, 5s, 1m.",
        )
        .default("30s"),
        Flag::switch(
            "wait",
            "Wait instead of failing if the function has no provider, or all are busy.",
        ),
        Flag::switch(
            "idempotent",
            "It may run twice: if its provider dies, the engine retries with another.",
        ),
        Flag::value("worker", "ID", "Only this worker may run it."),
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
    let target = Target::read_waiting(options, target::CALL_TIMEOUT)?;
    let builder = target.builder(own_name(COMMAND.name), Watch::nothing());
    let worker = builder.connect(target.left())?;
    let mut how = CallOptions::new().timeout(target.left());
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
