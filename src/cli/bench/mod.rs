//! `callboard bench`: measures a running engine. Parses the command line, lets `callboard::bench` measure, and
//! prints the report; measures nothing itself.

mod kind;
mod plan;
mod progress_line;
mod report;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use callboard::bench::{BenchError, HelloConfig, Session, SessionConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};
use super::output::Output;
use super::target::{self, Target};
use super::usage_error::UsageError;
use kind::Kind;
use plan::Plan;
use progress_line::ProgressLine;

/// The namespace if there is neither a token nor a flag; it is used by benches only.
const NAMESPACE: &str = "bench";

pub(super) const COMMAND: Command = Command {
    name: "bench",
    arguments: "KIND",
    summary: "measure a running engine",
    about: kind::ABOUT,
    flags,
    examples: &[
        (
            "callboard bench fanout",
            "one registration to 1,000 watchers: the first, the median, the last",
        ),
        (
            "callboard bench call --in-flight 64 --payload 1024",
            "calls of 1 KiB, 64 at a time",
        ),
        (
            "callboard bench call --rate 20000 --json",
            "20,000 calls per second, whether answers arrive or not",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = plan::flags();
    flags.extend(target::flags().into_iter().map(|flag| match flag.long {
        "namespace" => Flag {
            text: "The namespace to measure in; only names of the bench are used there. Without it, that of \
                the token, or `bench`.",
            ..flag
        },
        "timeout" => Flag {
            text: "How long to wait for an answer of the engine: 500ms, 5s, 1m.",
            ..flag
        },
        _ => flag,
    }));
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let [kind] = options.few_arguments(1, ["KIND"])?;
    let kind = Kind::read(kind.unwrap_or_default())?;
    let plan = Plan::read(kind, options)?;
    let target = Target::read(options)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one exits; its connections and functions end with the process.
        flag::register_conditional_shutdown(signal, Exit::Done.code().into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(Failure::System)?;
    }
    let progress_line = ProgressLine::new(kind);
    let mut session = Session::open(session_config(target, &plan)?, stop, move |progress| {
        progress_line.show(progress);
    })?;
    let mut out = Output::stdout();
    let result = plan.measure(&mut session, &mut |report| {
        ProgressLine::clear();
        if options.has("json") {
            out.json(&report.to_json())?;
        } else {
            report.write(&mut out)?;
        }
        out.flush()
    });
    ProgressLine::clear();
    // Clean up, but do not wait for an engine that does not answer.
    if !matches!(result, Err(Failure::Bench(BenchError::Silent(_)))) {
        session.close();
    }
    result
}

fn session_config(target: Target, plan: &Plan) -> Result<SessionConfig, UsageError> {
    let token = target.token.map(|token| token.read()).transpose();
    let token = token.map_err(UsageError::Token)?;
    let namespace = target.namespace.unwrap_or_else(|| match token {
        // The namespace of the token.
        Some(_) => String::new(),
        None => NAMESPACE.to_owned(),
    });
    Ok(SessionConfig {
        addresses: target.addresses,
        hello: HelloConfig {
            name: target::own_name(COMMAND.name),
            namespace,
            token,
        },
        timeout: target.timeout,
        process: plan.process,
    })
}
