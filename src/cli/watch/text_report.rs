//! Output of `watch` for people: a heading, the board, then a line for each change. Large boards and steps are
//! summarised.

use std::collections::BTreeMap;
use std::time::Instant;

use callboard::worker::{Cause, Change, ConnectionInfo, Entry, Loss, Snapshot, Step, WorkerInfo};

use super::providers::Providers;
use super::reporter::{ChangeKind, Reporter, ShownChange, change_kind};
use crate::cli::clock::time_of_day;
use crate::cli::failure::Failure;
use crate::cli::output::{Colour, Output};
use crate::cli::text;

/// A board with more functions is summarised by prefix.
const BOARD_SHOWN: usize = 30;

/// The most prefixes in a summary.
const PREFIXES_SHOWN: usize = 6;

/// Changes of a step shown individually.
const CHANGES_SHOWN: usize = 10;

/// The most providers of a function shown by name.
const NAMES_SHOWN: usize = 3;

/// Width of a function's name; a longer one shifts the rest of its line.
const NAME_COLUMNS: usize = 34;

/// Reports for people.
pub(super) struct TextReport {
    out: Output,
    with_workers: bool,
    /// When the engine was lost, while it is.
    gone: Option<Instant>,
}

impl TextReport {
    pub(super) fn new(out: Output, with_workers: bool) -> Self {
        Self {
            out,
            with_workers,
            gone: None,
        }
    }

    /// Prints a line with the time, a coloured sign and a text.
    fn event(&mut self, sign: char, text: &str) -> Result<(), Failure> {
        let paint = self.out.paint();
        let time = paint.text(Colour::Dim, time_of_day());
        let sign = match sign {
            '+' => paint.text(Colour::Green, sign),
            '-' => paint.text(Colour::Red, sign),
            '~' => paint.text(Colour::Yellow, sign),
            _ => paint.text(Colour::Cyan, sign),
        };
        self.out.line(format_args!("{time} {sign} {text}"))
    }

    fn named(&self, name: &str, who: &str, note: &str) -> String {
        let name = text::padded(&text::visible(name), NAME_COLUMNS);
        let who = self.out.paint().text(Colour::Dim, who);
        format!("{name} {who}{note}").trim_end().to_owned()
    }

    /// Shows changes of one kind; only the first ones if there are many.
    fn some(
        &mut self,
        changes: &[&ShownChange<'_>],
        what: &str,
        revision: u64,
    ) -> Result<(), Failure> {
        // One line beyond the limit takes no more space than the line that would say so.
        let shown = match changes.len() {
            few if few <= CHANGES_SHOWN + 1 => few,
            _ => CHANGES_SHOWN,
        };
        for change in &changes[..shown] {
            self.change(change)?;
        }
        if shown < changes.len() {
            let line = format!(
                "and {} more {what} at once: {} in revision {revision}",
                text::grouped(changes.len() - shown),
                tally(changes),
            );
            self.event('…', &line)?;
        }
        Ok(())
    }

    fn change(&mut self, shown: &ShownChange<'_>) -> Result<(), Failure> {
        let who = text::shortened(shown.workers.iter().map(String::as_str), NAMES_SHOWN);
        match shown.change {
            Change::Added(entry) => {
                let line = self.named(entry.name(), &who, "");
                self.event('+', &line)
            }
            Change::Removed(entry) => {
                let line = self.named(entry.name(), &who, "");
                self.event('-', &line)
            }
            Change::Updated { old, new } => {
                let note = format!("  changed: {}", difference(old, new));
                let line = self.named(new.name(), &who, &note);
                self.event('~', &line)
            }
            Change::WorkerJoined(worker) => {
                let line = self.worker(worker, "joins with", worker.functions().len());
                self.event('+', &line)
            }
            Change::WorkerLeft(worker) => {
                let line = self.worker(worker, "leaves with", worker.functions().len());
                self.event('-', &line)
            }
            Change::WorkerUpdated { old, new, .. } if old.id() != new.id() => {
                let line = self.worker(new, "is back with", new.functions().len());
                self.event('~', &line)
            }
            Change::WorkerUpdated {
                new,
                added,
                removed,
                ..
            } => {
                let line = self.worker(new, "has", new.functions().len());
                let line = format!("{line}: {} more, {} fewer", added.len(), removed.len());
                self.event('~', &line)
            }
            Change::BindingAdded(_) | Change::BindingRemoved(_) | Change::BindingUpdated { .. } => {
                Ok(())
            }
        }
    }

    fn worker(&self, worker: &WorkerInfo, does: &str, functions: usize) -> String {
        let name = self
            .out
            .paint()
            .text(Colour::Cyan, text::visible(worker.name()));
        let functions = text::count(functions, "function");
        format!("worker {} {name} {does} {functions}", worker.id())
    }

    fn list(&mut self, board: &Snapshot, providers: &Providers) -> Result<(), Failure> {
        for entry in &board.functions {
            let names = providers.names(entry.name());
            let who = text::shortened(names.iter().map(String::as_str), NAMES_SHOWN);
            let note = if entry.is_stale() { "  (stale)" } else { "" };
            let line = self.named(entry.name(), &who, note);
            self.out.line(format_args!("  {line}"))?;
        }
        Ok(())
    }

    /// The number of functions per service, the largest first.
    fn summary(&mut self, board: &Snapshot) -> Result<(), Failure> {
        let mut services: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &board.functions {
            let name = entry.name();
            let service = name.find("::").map_or(name, |at| &name[..at + 2]);
            *services.entry(service).or_default() += 1;
        }
        let mut services: Vec<(&str, usize)> = services.into_iter().collect();
        // Stable: equal ones stay in alphabetical order.
        services.sort_by_key(|(_, functions)| std::cmp::Reverse(*functions));
        for (service, functions) in services.iter().take(PREFIXES_SHOWN) {
            let line = self.named(service, &text::count(*functions, "function"), "");
            self.out.line(format_args!("  {line}"))?;
        }
        if let Some(others) = services
            .get(PREFIXES_SHOWN..)
            .filter(|rest| !rest.is_empty())
        {
            let functions = others.iter().map(|(_, functions)| functions).sum();
            let line = format!(
                "  and {} of {}; `callboard functions` lists them all",
                text::count(functions, "function"),
                text::count(others.len(), "other service"),
            );
            self.out.line(line)?;
        }
        Ok(())
    }
}

impl Reporter for TextReport {
    fn connected(&mut self, connection: &ConnectionInfo) -> Result<(), Failure> {
        let engine = text::visible(&connection.engine).into_owned();
        let Some(gone) = self.gone.take() else {
            let heading = format!("engine \"{engine}\" at {}", connection.address);
            let heading = self.out.paint().text(Colour::Bold, heading);
            return self.out.line(heading);
        };
        let after = text::duration(gone.elapsed());
        let address = &connection.address;
        self.event(
            '!',
            &format!("engine \"{engine}\" is back at {address} after {after}"),
        )?;
        if connection.settling.is_zero() {
            return Ok(());
        }
        let time = text::duration(connection.settling);
        self.event(
            '!',
            &format!("it has just started; its workers have {time} to return"),
        )
    }

    fn board(&mut self, board: &Snapshot, providers: &Providers) -> Result<(), Failure> {
        let mut line = format!("revision {}", board.revision);
        if board.functions.is_empty() {
            line.push_str(": no functions yet");
        } else {
            let functions = text::count(board.functions.len(), "function");
            line = format!("{line}: {functions}");
        }
        if self.with_workers {
            let workers = text::count(providers.workers(), "worker");
            line = format!("{line}, {workers}");
        }
        self.out.line(line)?;
        if board.functions.len() <= BOARD_SHOWN {
            self.list(board, providers)?;
        } else {
            self.summary(board)?;
        }
        let hint = self
            .out
            .paint()
            .text(Colour::Dim, "watching; times are UTC, Ctrl-C ends");
        self.out.line(hint)
    }

    fn step(&mut self, step: &Step, changes: &[ShownChange<'_>]) -> Result<(), Failure> {
        match &step.cause {
            Cause::Pushed => {}
            Cause::Settled => {
                self.event('!', "the time has passed; these did not return:")?;
            }
            Cause::Replaced { .. } => {
                self.event('!', "changed since the connection was lost:")?;
            }
        }
        let is_worker = |shown: &&ShownChange<'_>| change_kind(shown.change) == ChangeKind::Worker;
        let (workers, functions): (Vec<_>, Vec<_>) = changes.iter().partition(is_worker);
        self.some(&workers, "workers", step.to)?;
        self.some(&functions, "functions", step.to)
    }

    fn synced(&mut self, revision: u64) -> Result<(), Failure> {
        self.event('!', &format!("up to date, revision {revision}"))
    }

    fn disconnected(&mut self, loss: &Loss) -> Result<(), Failure> {
        self.gone.get_or_insert_with(Instant::now);
        let reason = loss.to_string();
        let line = format!("lost: {}; reconnecting", text::visible(&reason));
        self.event('!', &line)
    }

    fn missed(&mut self) -> Result<(), Failure> {
        self.event(
            '!',
            "this terminal was too slow, changes were missed; the current board:",
        )
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }
}

/// The differences between two entries of a function.
fn difference(old: &Entry, new: &Entry) -> String {
    let (before, after) = (old.function(), new.function());
    let mut parts = Vec::new();
    if before.text() != after.text() {
        parts.push("description");
    }
    if before.raw_request() != after.raw_request() {
        parts.push("request");
    }
    if before.raw_response() != after.raw_response() {
        parts.push("response");
    }
    if before.raw_metadata() != after.raw_metadata() {
        parts.push("metadata");
    }
    if before.is_exclusive() != after.is_exclusive() {
        parts.push("exclusive");
    }
    if parts.is_empty() && old.is_stale() != new.is_stale() {
        parts.push(if new.is_stale() { "stale" } else { "confirmed" });
    }
    if parts.is_empty() {
        parts.push("its first provider");
    }
    parts.join(", ")
}

/// The number of changes by kind: `+9,990 -3`.
fn tally(changes: &[&ShownChange<'_>]) -> String {
    let (mut added, mut removed, mut updated) = (0, 0, 0);
    for shown in changes {
        match shown.change {
            Change::Added(_) | Change::WorkerJoined(_) | Change::BindingAdded(_) => added += 1,
            Change::Removed(_) | Change::WorkerLeft(_) | Change::BindingRemoved(_) => removed += 1,
            _ => updated += 1,
        }
    }
    let parts = [('+', added), ('-', removed), ('~', updated)];
    let parts = parts.iter().filter(|(_, number)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(sign, number)| format!("{sign}{}", text::grouped(*number)))
        .collect();
    parts.join(" ")
}
