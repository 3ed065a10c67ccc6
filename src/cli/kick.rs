//! `callboard kick`: kicks a worker.

use serde_json::{Value, json};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::json;
use super::options::Options;
use super::output::Output;
use super::payload::{self, PayloadError};
use super::target::{self, Target};
use super::usage_error::{UsageError, ValueError};

/// The engine's function for that.
const FUNCTION: &str = "engine::workers::kick";

pub(super) const COMMAND: Command = Command {
    name: "kick",
    arguments: "WORKER",
    summary: "kick a worker",
    about: "Closes the connection of the worker with this id, as `callboard workers` shows it, or of all \
        workers with this name. Their functions leave the board at once. A worker made with this library does \
        not reconnect by itself, but may be started again. To keep it out, remove its token from the \
        credentials file.\n\nIt requires the right `admin` for engine::workers::kick. Without credentials, \
        only root and the user who runs the engine may do it, over a Unix socket.",
    flags: target::flags,
    examples: &[
        ("callboard kick 17", "the worker with this id"),
        ("callboard kick orders-3", "all workers with this name"),
    ],
    exits: Exit::OF_A_REQUEST,
    run,
};

fn run(options: &Options) -> Result<(), Failure> {
    let [worker] = options.few_arguments(1, ["WORKER"])?;
    let worker = worker.unwrap_or_default();
    // For a worker whose name is a number, call the engine's function directly.
    let target = match worker.parse::<u64>() {
        Ok(id) => json!({"worker": id}),
        Err(_) => json!({"name": worker}),
    };
    let payload = payload::from_text(&target.to_string());
    let payload = payload.map_err(|error: PayloadError| UsageError::Value {
        place: "WORKER".to_owned(),
        value: worker.to_owned(),
        error: ValueError::Payload(error),
    })?;
    let answer = Target::read(options)?.ask(COMMAND.name, FUNCTION, payload)?;
    let answer = json::from_messagepack(&answer);
    let kicked = answer.get("kicked").and_then(Value::as_u64).unwrap_or(0);
    if kicked == 0 {
        return Err(Failure::NoWorker(worker.to_owned()));
    }
    let mut out = Output::stdout();
    let many = if kicked == 1 { "" } else { "s" };
    out.line(format!("{kicked} worker{many} kicked"))?;
    out.flush()
}
