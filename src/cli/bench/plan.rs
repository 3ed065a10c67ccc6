//! What to measure: the flags, which kinds take them, and their defaults.

use std::time::Duration;

use callboard::bench::{
    CallLoad, Churn, EngineProcess, Fanout, Idle, Join, Pattern, Session, StopCondition, Storm,
};

use super::kind::Kind;
use super::report::Report;
use crate::cli::failure::Failure;
use crate::cli::options::{Flag, Options};
use crate::cli::usage_error::{UsageError, ValueError};

/// The most connections; more than an engine accepts.
const MOST_CONNECTIONS: usize = 100_000;

/// The largest payload or metadata; the engine's own limits are lower.
const MOST_PAYLOAD: usize = 1 << 24;

/// The most functions on a board before the measurement.
const MOST_FUNCTIONS: usize = 1_000_000;

/// The default duration of a measurement, in seconds.
const SECONDS: usize = 3;

/// Each flag with the kinds that take it.
const FLAGS: &[(&str, &[Kind])] = &[
    ("watchers", &[Kind::Fanout, Kind::Churn]),
    ("stalled", &[Kind::Fanout, Kind::Churn]),
    ("workers", &[Kind::Fanout, Kind::Churn, Kind::Join]),
    ("functions", &[Kind::Fanout, Kind::Join]),
    ("pattern", &[Kind::Churn, Kind::Join]),
    ("pipeline", &[Kind::Churn]),
    ("connections", &[Kind::Call, Kind::Idle]),
    ("providers", &[Kind::Call]),
    ("in-flight", &[Kind::Call]),
    ("rate", &[Kind::Call]),
    (
        "seconds",
        &[Kind::Fanout, Kind::Churn, Kind::Join, Kind::Call],
    ),
    (
        "count",
        &[Kind::Fanout, Kind::Churn, Kind::Join, Kind::Call],
    ),
];

pub(super) fn flags() -> Vec<Flag> {
    vec![
        Flag::value(
            "watchers",
            "N",
            "fanout, churn: connections that watch each change.",
        )
        .default("1000"),
        Flag::value(
            "stalled",
            "N",
            "fanout, churn: further connections that watch but do not read.",
        )
        .default("0"),
        Flag::value(
            "workers",
            "N",
            "fanout, churn: connections that change the board. join: those that join at once.",
        )
        .default("32; join: 1000"),
        Flag::value(
            "functions",
            "N",
            "fanout, join: functions on the board before the measurement.",
        )
        .default("0; join: 10000"),
        Flag::value(
            "pattern",
            "NAME",
            "churn: distinct, toggle (one function is added and removed) or single (each change waits for the \
             answer to the previous one). join: single (one after the other) or storm (all at once). \
             Without it, all of them.",
        ),
        Flag::value(
            "pipeline",
            "N",
            "churn: changes in flight on each connection that makes them.",
        )
        .default("16; toggle: 255"),
        Flag::value(
            "connections",
            "N",
            "call: connections that call. idle: idle connections.",
        )
        .default("1; idle: 1000"),
        Flag::value(
            "providers",
            "N",
            "call: connections that provide the function.",
        )
        .default("1"),
        Flag::value(
            "in-flight",
            "N",
            "call: calls at a time on each connection. Without it, 1 and then 64.",
        ),
        Flag::value(
            "rate",
            "N",
            "call: calls per second over all connections, whether answers arrive or not; times count from when \
             a call was due.",
        ),
        Flag::value(
            "payload",
            "BYTES",
            "call: size of the argument and of the result. Otherwise: of each function's metadata.",
        )
        .default("64"),
        Flag::value("seconds", "N", "Duration of each measurement.").default(SECONDS.to_string()),
        Flag::value(
            "count",
            "N",
            "Number of changes, joins or calls after which it ends, if that comes first.",
        ),
        Flag::value(
            "engine-pid",
            "PID",
            "The engine's process, to read its processor time and memory. Without it, it is searched for on \
             this machine.",
        ),
        Flag::switch("json", "One JSON object for each measurement, on one line."),
    ]
}

/// The measurements to make.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) process: Option<EngineProcess>,
    measurements: Vec<Measurement>,
}

/// One measurement.
#[derive(Debug)]
enum Measurement {
    Fanout(Fanout),
    Churn(Churn),
    Join(Join),
    Storm(Storm),
    Call(CallLoad),
    Idle(Idle),
}

impl Plan {
    pub(super) fn read(kind: Kind, options: &Options) -> Result<Self, UsageError> {
        for (flag, kinds) in FLAGS {
            if options.has(flag) && !kinds.contains(&kind) {
                return Err(UsageError::NotForKind(flag, kind.name()));
            }
        }
        let measurements = match kind {
            Kind::Fanout => fanout(options),
            Kind::Churn => churn(options),
            Kind::Join => join(options),
            Kind::Call => call(options),
            Kind::Idle => idle(options),
        };
        Ok(Self {
            process: process(options)?,
            measurements: measurements?,
        })
    }

    /// Makes the measurements one after the other; shows each report as soon as it is there.
    pub(super) fn measure(
        &self,
        session: &mut Session,
        show: &mut dyn FnMut(Report) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for measurement in &self.measurements {
            let report = match measurement {
                Measurement::Fanout(fanout) => Report::Fanout(Box::new(fanout.run(session)?)),
                Measurement::Churn(churn) => Report::Churn(Box::new(churn.run(session)?)),
                Measurement::Join(join) => Report::Join(Box::new(join.run(session)?)),
                Measurement::Storm(storm) => Report::Storm(Box::new(storm.run(session)?)),
                Measurement::Call(call) => Report::Call(Box::new(call.run(session)?)),
                Measurement::Idle(idle) => Report::Idle(Box::new(idle.run(session)?)),
            };
            show(report)?;
            if session.is_stopped() {
                break;
            }
        }
        Ok(())
    }
}

fn fanout(options: &Options) -> Result<Vec<Measurement>, UsageError> {
    Ok(vec![Measurement::Fanout(Fanout {
        watchers: connections(options, "watchers", 1, 1_000)?,
        stalled: connections(options, "stalled", 0, 0)?,
        workers: connections(options, "workers", 1, 32)?,
        functions: functions(options, 0)?,
        payload: payload(options)?,
        stop_condition: stop_condition(options)?,
    })])
}

fn churn(options: &Options) -> Result<Vec<Measurement>, UsageError> {
    let patterns = [
        ("distinct", Pattern::Distinct),
        ("toggle", Pattern::Toggle),
        ("single", Pattern::Single),
    ];
    let churn = Churn {
        pattern: Pattern::Distinct,
        watchers: connections(options, "watchers", 0, 1_000)?,
        stalled: connections(options, "stalled", 0, 0)?,
        workers: connections(options, "workers", 1, 32)?,
        pipeline: 1,
        payload: payload(options)?,
        stop_condition: stop_condition(options)?,
    };
    let wanted = chosen(options, patterns, "distinct, toggle or single")?;
    let pipeline = given(options, "pipeline", 1, 4_096)?;
    let measurement = |pattern| {
        let usual = match pattern {
            Pattern::Toggle => 255,
            Pattern::Distinct | Pattern::Single => 16,
        };
        Measurement::Churn(Churn {
            pattern,
            pipeline: pipeline.unwrap_or(usual),
            ..churn
        })
    };
    Ok(wanted.into_iter().map(measurement).collect())
}

fn join(options: &Options) -> Result<Vec<Measurement>, UsageError> {
    let (functions, payload) = (functions(options, 10_000)?, payload(options)?);
    let single = Join {
        functions,
        payload,
        stop_condition: stop_condition(options)?,
    };
    let storm = Storm {
        functions,
        workers: connections(options, "workers", 1, 1_000)?,
        payload,
    };
    let patterns = [
        ("single", Measurement::Join(single)),
        ("storm", Measurement::Storm(storm)),
    ];
    chosen(options, patterns, "single or storm")
}

fn call(options: &Options) -> Result<Vec<Measurement>, UsageError> {
    let rate = given(options, "rate", 1, 10_000_000)?.map(|rate| rate as u64);
    let in_flight = given(options, "in-flight", 1, 8_192)?;
    if rate.is_some() && in_flight.is_some() {
        return Err(UsageError::Together("rate", "in-flight"));
    }
    let each = match (rate, in_flight) {
        (None, None) => vec![1, 64],
        (_, in_flight) => vec![in_flight.unwrap_or(1)],
    };
    let measurement = CallLoad {
        connections: connections(options, "connections", 1, 1)?,
        providers: connections(options, "providers", 1, 1)?,
        in_flight: 1,
        rate,
        payload: payload(options)?,
        stop_condition: stop_condition(options)?,
    };
    let measurement = |in_flight| {
        Measurement::Call(CallLoad {
            in_flight,
            ..measurement
        })
    };
    Ok(each.into_iter().map(measurement).collect())
}

fn idle(options: &Options) -> Result<Vec<Measurement>, UsageError> {
    Ok(vec![Measurement::Idle(Idle {
        connections: connections(options, "connections", 1, 1_000)?,
        payload: payload(options)?,
    })])
}

/// The chosen pattern, or all of them.
fn chosen<T, const N: usize>(
    options: &Options,
    patterns: [(&str, T); N],
    names: &'static str,
) -> Result<Vec<T>, UsageError> {
    let wanted = options.parsed("pattern", |text| {
        let known = patterns.iter().any(|(name, _)| *name == text);
        known
            .then(|| text.to_owned())
            .ok_or(ValueError::OneOf(names))
    })?;
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let patterns = patterns.into_iter().filter(|(name, _)| is_wanted(name));
    Ok(patterns.map(|(_, pattern)| pattern).collect())
}

fn stop_condition(options: &Options) -> Result<StopCondition, UsageError> {
    let seconds = number(options, "seconds", 1, 86_400, SECONDS)?;
    let count = given(options, "count", 1, usize::MAX)?;
    Ok(StopCondition {
        time: Some(Duration::from_secs(seconds as u64)),
        count: count.map(|count| count as u64),
    })
}

fn payload(options: &Options) -> Result<usize, UsageError> {
    number(options, "payload", 0, MOST_PAYLOAD, 64)
}

fn functions(options: &Options, default: usize) -> Result<usize, UsageError> {
    number(options, "functions", 0, MOST_FUNCTIONS, default)
}

fn connections(
    options: &Options,
    flag: &'static str,
    least: usize,
    default: usize,
) -> Result<usize, UsageError> {
    number(options, flag, least, MOST_CONNECTIONS, default)
}

fn process(options: &Options) -> Result<Option<EngineProcess>, UsageError> {
    options.parsed("engine-pid", |text| {
        let id = text.parse().map_err(|_| ValueError::Number)?;
        EngineProcess::of_id(id).map_err(|_| ValueError::Process)
    })
}

/// A number within bounds.
fn given(
    options: &Options,
    flag: &'static str,
    least: usize,
    most: usize,
) -> Result<Option<usize>, UsageError> {
    options.parsed(flag, |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(ValueError::Range(least, most)),
    })
}

/// The same, with a default.
fn number(
    options: &Options,
    flag: &'static str,
    least: usize,
    most: usize,
    default: usize,
) -> Result<usize, UsageError> {
    Ok(given(options, flag, least, most)?.unwrap_or(default))
}
