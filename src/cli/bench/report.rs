//! Formats a report: a line of JSON for programs, lines of text and a table of times for people.

use callboard::bench::{
    CallReport, ChurnReport, FanoutReport, IdleReport, JoinReport, Pattern, ReportHeader,
    ResourceUse, StormReport, Summary,
};
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::output::{Colour, Output};
use crate::cli::table::Table;
use crate::cli::text;

/// The report of a measurement.
#[derive(Debug)]
pub(super) enum Report {
    Fanout(Box<FanoutReport>),
    Churn(Box<ChurnReport>),
    Join(Box<JoinReport>),
    Storm(Box<StormReport>),
    Call(Box<CallReport>),
    Idle(Box<IdleReport>),
}

impl Report {
    pub(super) fn to_json(&self) -> Value {
        let value = match self {
            Self::Fanout(report) => serde_json::to_value(report),
            Self::Churn(report) => serde_json::to_value(report),
            Self::Join(report) => serde_json::to_value(report),
            Self::Storm(report) => serde_json::to_value(report),
            Self::Call(report) => serde_json::to_value(report),
            Self::Idle(report) => serde_json::to_value(report),
        };
        // Numbers, texts and maps with text keys always have a JSON form.
        value.unwrap_or_default()
    }

    pub(super) fn write(&self, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Fanout(report) => fanout(report, out),
            Self::Churn(report) => churn(report, out),
            Self::Join(report) => join(report, out),
            Self::Storm(report) => storm(report, out),
            Self::Call(report) => call(report, out),
            Self::Idle(report) => idle(report, out),
        }
    }
}

fn fanout(report: &FanoutReport, out: &mut Output) -> Result<(), Failure> {
    let mut what = format!(
        "one registration at a time, {} of metadata, to {}",
        text::count(report.payload, "byte"),
        watchers(report.watchers, report.stalled),
    );
    if report.functions > 0 {
        what.push_str(", on a board of ");
        what.push_str(&text::count(report.functions, "function"));
    }
    heading(&report.header, &what, out)?;
    times(
        "TO THE",
        &[
            ("first watcher", &report.first_us),
            ("median watcher", &report.median_us),
            ("last watcher", &report.last_us),
            ("the registering worker", &report.answer_us),
        ],
        out,
    )?;
    delivered(
        report.changes,
        &report.resource_use,
        report.changes_per_second,
        report.entries_per_second,
        out,
    )?;
    cost(
        &report.header,
        &report.resource_use,
        report.entries_per_engine_cpu_second.map(entries),
        out,
    )?;
    foreign(report.foreign_entries, out)?;
    end(&report.resource_use, report.stopped, out)
}

fn watchers(watchers: usize, stalled: usize) -> String {
    let watchers = text::count(watchers, "watcher");
    match stalled {
        0 => watchers,
        some => format!("{watchers} and {} that do not read", text::grouped(some)),
    }
}

/// The number of changes and deliveries.
fn delivered(
    changes: u64,
    resource_use: &ResourceUse,
    changes_per_second: f64,
    entries_per_second: f64,
    out: &mut Output,
) -> Result<(), Failure> {
    out.line(format_args!(
        "{} in {}: {} per second, {} delivered per second",
        text::count(changes as usize, "change"),
        seconds(resource_use.seconds),
        rate(changes_per_second),
        entries(entries_per_second),
    ))
}

fn churn(report: &ChurnReport, out: &mut Output) -> Result<(), Failure> {
    let workers = text::count(report.workers, "worker");
    let pipeline = text::grouped(report.pipeline.unwrap_or(1));
    let changes = match report.pattern {
        Pattern::Distinct => {
            format!(
                "distinct functions added and removed, {pipeline} in flight on each of {workers}"
            )
        }
        Pattern::Toggle => format!("one function added and removed, {pipeline} changes in flight"),
        Pattern::Single => {
            format!(
                "distinct functions added and removed, one change at a time, by {workers} in turn"
            )
        }
    };
    let what = format!(
        "{changes}, {} of metadata, to {}",
        text::count(report.payload, "byte"),
        watchers(report.watchers, report.stalled),
    );
    heading(&report.header, &what, out)?;
    times("", &[("until the answer", &report.answer_us)], out)?;
    delivered(
        report.changes,
        &report.resource_use,
        report.changes_per_second,
        report.entries_per_second,
        out,
    )?;
    let per_cpu = report
        .changes_per_engine_cpu_second
        .zip(report.entries_per_engine_cpu_second);
    let per_cpu = per_cpu
        .map(|(changes, delivered)| format!("{} changes, {}", rate(changes), entries(delivered)));
    cost(&report.header, &report.resource_use, per_cpu, out)?;
    foreign(report.foreign_entries, out)?;
    end(&report.resource_use, report.stopped, out)
}

fn board(functions: usize, payload: usize) -> String {
    format!(
        "a board of {} with {} of metadata each",
        text::count(functions, "function"),
        text::count(payload, "byte"),
    )
}

fn join(report: &JoinReport, out: &mut Output) -> Result<(), Failure> {
    let board = board(report.functions, report.payload);
    heading(
        &report.header,
        &format!("one after the other, {board}"),
        out,
    )?;
    times(
        "UNTIL",
        &[
            ("WELCOME", &report.welcome_us),
            ("the board is there", &report.synced_us),
        ],
        out,
    )?;
    out.line(format_args!(
        "{} in {}, including their leaving",
        text::count(report.joins as usize, "join"),
        seconds(report.resource_use.seconds),
    ))?;
    let per_cpu = report.resource_use.per_cpu_second(report.joins);
    let per_cpu = per_cpu.map(|joins| format!("{} joins", rate(joins)));
    cost(&report.header, &report.resource_use, per_cpu, out)?;
    end(&report.resource_use, report.stopped, out)
}

fn storm(report: &StormReport, out: &mut Output) -> Result<(), Failure> {
    let what = format!(
        "{} at once, each of which registers a function, {}",
        text::count(report.joins as usize, "worker"),
        board(report.functions, report.payload),
    );
    heading(&report.header, &what, out)?;
    times(
        "UNTIL",
        &[
            ("WELCOME", &report.welcome_us),
            ("the board is there", &report.synced_us),
            ("its function is too", &report.registered_us),
        ],
        out,
    )?;
    out.line(format_args!(
        "all had the board after {}, and each other's functions after {}: {} joins per second",
        seconds(report.synced_seconds),
        seconds(report.resource_use.seconds),
        rate(report.joins_per_second),
    ))?;
    if let (Some(growth), Some(kept)) = (report.engine_memory_growth, report.engine_memory_kept) {
        out.line(format_args!(
            "the engine's memory grew by {} at its peak, and by {} in the end",
            kibibytes(growth),
            kibibytes(kept),
        ))?;
    }
    let per_cpu = report.resource_use.per_cpu_second(report.joins);
    let per_cpu = per_cpu.map(|joins| format!("{} joins", rate(joins)));
    cost(&report.header, &report.resource_use, per_cpu, out)?;
    end(&report.resource_use, false, out)
}

fn idle(report: &IdleReport, out: &mut Output) -> Result<(), Failure> {
    let what = format!(
        "{} that watch and are idle",
        text::count(report.connections, "connection")
    );
    heading(&report.header, &what, out)?;
    let mut table = Table::new(["ENGINE'S MEMORY", "", "PER CONNECTION"])
        .right(1)
        .right(2);
    let each = |bytes: f64| format!("{bytes:.0} bytes");
    let mut row = |when: &str, memory, each| table.row([when.to_owned(), kibibytes(memory), each]);
    row("before", report.engine_memory_before, String::new());
    row(
        "with all of them",
        report.engine_memory_joined,
        each(report.bytes_per_connection),
    );
    row(
        "after all received a change",
        report.engine_memory_told,
        each(report.bytes_per_connection_told),
    );
    show(&table, out)?;
    out.line(
        "the kernel's socket buffers are not included. An engine that was busy before reuses memory from then: \
         measure a fresh one\n",
    )
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", text::grouped((bytes / 1024) as usize))
}

fn call(report: &CallReport, out: &mut Output) -> Result<(), Failure> {
    let measurement = match (report.rate, report.in_flight) {
        (Some(wanted), _) => format!("{} calls per second", text::grouped(wanted as usize)),
        (None, each) => format!(
            "{} in flight",
            text::count(each.unwrap_or_default(), "call")
        ),
    };
    let each = match report.rate {
        None if report.connections > 1 => " each",
        _ => "",
    };
    let what = format!(
        "{measurement} on {}{each}, {} each way, {}",
        text::count(report.connections, "connection"),
        text::count(report.payload, "byte"),
        text::count(report.providers, "provider"),
    );
    heading(&report.header, &what, out)?;
    match report.rate {
        None => times("", &[("round trip", &report.latency_us)], out)?,
        Some(_) => times(
            "",
            &[
                ("from when it was due", &report.latency_us),
                ("from when it was made", &report.service_us),
            ],
            out,
        )?,
    }
    out.line(format_args!(
        "{} in {}: {} per second",
        text::count(report.calls as usize, "call"),
        seconds(report.resource_use.seconds),
        rate(report.calls_per_second),
    ))?;
    for (code, count) in &report.failures {
        out.line(format_args!(
            "{} of them failed: {}",
            text::grouped(*count as usize),
            text::visible(code)
        ))?;
    }
    let per_cpu = report.calls_per_engine_cpu_second;
    cost(
        &report.header,
        &report.resource_use,
        per_cpu.map(|it| format!("{} calls", rate(it))),
        out,
    )?;
    end(&report.resource_use, report.stopped, out)
}

fn heading(header: &ReportHeader, what: &str, out: &mut Output) -> Result<(), Failure> {
    let line = format!("{}: {what}", header.bench);
    out.line(out.paint().text(Colour::Bold, line))?;
    let engine = text::visible(&header.engine).into_owned();
    out.line(format_args!(
        "engine \"{engine}\" at {}, board \"{}\"\n",
        header.address, header.namespace
    ))
}

/// Prints a table of times, one row each.
fn times(title: &str, rows: &[(&str, &Summary)], out: &mut Output) -> Result<(), Failure> {
    let heading = [title, "P50", "P90", "P99", "P99.9", "MAX"];
    let mut table = (1..6).fold(Table::new(heading), Table::right);
    for (name, summary) in rows {
        let parts = [
            summary.p50,
            summary.p90,
            summary.p99,
            summary.p999,
            summary.max,
        ];
        let mut cells = [(); 6].map(|()| String::new());
        (*name).clone_into(&mut cells[0]);
        for (cell, part) in cells[1..].iter_mut().zip(parts) {
            *cell = microseconds(part);
        }
        table.row(cells);
    }
    show(&table, out)
}

fn show<const N: usize>(table: &Table<N>, out: &mut Output) -> Result<(), Failure> {
    table.print(out, "  ")?;
    out.line("")
}

/// Prints the resource use of the engine.
fn cost(
    header: &ReportHeader,
    resource_use: &ResourceUse,
    per_cpu_second: Option<String>,
    out: &mut Output,
) -> Result<(), Failure> {
    match (resource_use.engine_cpu_seconds, per_cpu_second, header.engine_pid) {
        (Some(used), Some(per_second), Some(pid)) => out.line(format_args!(
            "the engine's process ({pid}) used {} of processor time: {per_second} per second of it",
            seconds(used),
        ))?,
        _ => out.line(
            "the engine's processor time is unknown: its process is on another machine or was not found; \
             --engine-pid names it",
        )?,
    }
    match &resource_use.engine_work {
        Some(work) => out.line(format_args!(
            "the engine counted {}, {}, {} read, {} written, {}",
            text::count(work.revisions as usize, "revision"),
            text::count(work.encodings as usize, "encoding"),
            text::count(work.frames_in as usize, "frame"),
            text::count(work.frames_out as usize, "frame"),
            text::count(work.turns as usize, "turn"),
        )),
        None => out.line("the engine does not tell its statistics"),
    }
}

/// Notes that other workers changed the board, which makes the result less reliable.
fn foreign(entries: u64, out: &mut Output) -> Result<(), Failure> {
    match entries {
        0 => Ok(()),
        some => out.line(format_args!(
            "other workers changed this board in the meantime: watchers also received {}",
            text::grouped(some as usize)
        )),
    }
}

fn end(resource_use: &ResourceUse, stopped: bool, out: &mut Output) -> Result<(), Failure> {
    if resource_use.budget_met.is_some_and(|met| met > 0) {
        let warning = "a connection used up its budget of changes and was slowed down: this is not the \
            engine's limit. `callboard serve --changes-per-second 0` lifts the budget; more --workers have \
            more of it";
        out.line(out.paint().text(Colour::Yellow, warning))?;
    }
    if resource_use.is_bound_by_load() {
        let warning =
            "this program was busy all the time: it, and not the engine, may be the bottleneck";
        out.line(out.paint().text(Colour::Yellow, warning))?;
    }
    if stopped {
        out.line("stopped early")?;
    }
    out.line("")
}

fn microseconds(time: f64) -> String {
    match time {
        us if us < 1_000.0 => format!("{us:.1} us"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

fn seconds(time: f64) -> String {
    format!("{time:.2} s")
}

/// A rate with its significant digits.
fn rate(number: f64) -> String {
    match format!("{number:.0}").parse() {
        Ok(many) if many >= 100 => text::grouped(many),
        _ => format!("{number:.1}"),
    }
}

fn entries(number: f64) -> String {
    format!("{} entries", rate(number))
}
