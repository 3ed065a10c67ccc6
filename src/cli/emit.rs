//! `callboard emit`: emits one event to everything bound to it.

use callboard::worker::{CallOptions, Watch};
use serde_json::json;

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};
use super::output::Output;
use super::payload;
use super::target::{self, Target, own_name};
use super::text;

pub(super) const COMMAND: Command = Command {
    name: "emit",
    arguments: "EVENT [JSON|-]",
    summary: "emit an event to every function bound to it",
    about: "Casts the event to every function currently bound to it, with the JSON as its argument (-: read \
        from standard input; none: null), and prints their number. It is no error if there are none. The \
        functions run without being waited for.",
    flags,
    examples: &[
        (
            "callboard emit user.created '{\"id\": 7}'",
            "notifies every bound function",
        ),
        (
            "callboard emit cache.stale --json",
            "prints {\"matched\":2}",
        ),
    ],
    exits: Exit::OF_A_REQUEST,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![Flag::switch("json", "One JSON object.")];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let [event, json] = options.few_arguments(1, ["EVENT", "JSON"])?;
    let event = event.unwrap_or_default();
    target::event_name(event)?;
    let payload = payload::from_argument(json)?;
    let target = Target::read(options)?;
    let builder = target.builder(own_name(COMMAND.name), Watch::nothing());
    let worker = builder.connect(target.left())?;
    let how = CallOptions::new().timeout(target.left());
    let matched = worker.client().emit_raw(event, payload, &how)?;
    worker.close();
    let mut out = Output::stdout();
    if options.has("json") {
        out.json(&json!({ "matched": matched }))?;
    } else {
        let functions = text::count(matched as usize, "function");
        out.line(format_args!("cast to {functions}"))?;
    }
    out.flush()
}
