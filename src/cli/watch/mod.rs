//! `callboard watch`: shows the board, then each change as it happens. Follows the stream of changes and the
//! providers; its two reporters format the output.

mod json_lines;
mod providers;
mod reporter;
mod text_report;

use callboard::worker::{Board, Change, Notice, Status, Step, Watch};

use super::command::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};
use super::output::Output;
use super::signals::{self, Stop};
use super::target::{self, Target};
use json_lines::JsonLines;
use providers::Providers;
use reporter::{ChangeKind, Reporter, ShownChange, change_kind};
use text_report::TextReport;

pub(super) const COMMAND: Command = Command {
    name: "watch",
    arguments: "[PREFIX]",
    summary: "show the board, then each change as it happens",
    about: "Prints the board, then its changes as they happen:\n\n  + a function was added    - it was \
        removed    ~ its entry changed\n\nwith the time (UTC) and the providers. With PREFIX, only functions \
        whose names begin with it. Of a change to many functions at once, the first ten are shown.\n\nIt ends \
        only by Ctrl-C, SIGTERM or a closed pipe, with exit code 0. When the engine is lost, it reports that, \
        reconnects by itself, and shows what has changed in between. Only the first connection must succeed \
        within --timeout.\n\nWith --json, one object per line, at once. A line has either `change`: added, \
        removed or updated, with name, description, exclusive, request, response, metadata, workers, stale \
        and revision; or `status`: connected, synced, settled, disconnected, missed. The first board is \
        printed as added with \"snapshot\": true, then status synced. Changes of workers (--workers) have \
        \"section\": \"workers\", those of functions \"functions\".",
    flags,
    examples: &[
        ("callboard watch", "the whole board"),
        (
            "callboard watch orders:: --workers",
            "one service; also each worker that joins, leaves or changes",
        ),
        (
            "callboard watch --json | jq -r 'select(.change == \"removed\") | .name'",
            "the names of removed functions",
        ),
    ],
    exits: Exit::OF_A_CONNECTION,
    run,
};

fn flags() -> Vec<Flag> {
    let mut flags = vec![
        Flag::switch("json", "One JSON object per line."),
        Flag::switch("workers", "Also show workers that join, leave or change."),
    ];
    flags.extend(target::flags());
    flags
}

fn run(options: &Options) -> Result<(), Failure> {
    let prefix = options.one_argument()?.unwrap_or_default();
    let target = Target::read(options)?;
    let with_workers = options.has("workers");
    // All workers, because the providers of a function are shown with it.
    let watch = Watch::functions([prefix]).workers([""]);
    let worker = target.look(COMMAND.name, watch)?;
    let out = Output::stdout();
    let mut reporter: Box<dyn Reporter> = if options.has("json") {
        Box::new(JsonLines::new(out, with_workers))
    } else {
        Box::new(TextReport::new(out, with_workers))
    };

    let (snapshot, changes) = worker.board_and_changes();
    let (board, status) = (worker.board(), worker.status());
    // Before the first line, because writing it may block on a slow reader.
    let stop = Stop::on_signal(worker, signals::PATIENCE, || {})?;
    if let Status::Connected(connection) = status {
        reporter.connected(&connection)?;
    }
    let mut follower = Follower {
        board,
        providers: Providers::of(&snapshot),
        read_again: 0,
        with_workers,
        reporter,
    };
    follower.reporter.board(&snapshot, &follower.providers)?;
    follower.reporter.flush()?;
    drop(snapshot);

    for notice in changes {
        if let Notice::Ended(end) = notice {
            return stop.finish_after(end);
        }
        if matches!(notice, Notice::Disconnected(_)) && stop.is_given() {
            continue;
        }
        follower.notice(&notice)?;
        follower.reporter.flush()?;
    }
    stop.finish()
}

/// The state of following the board.
struct Follower {
    board: Board,
    providers: Providers,
    /// Revision of the board that was read after notices were missed: it contains the changes up to there.
    read_again: u64,
    with_workers: bool,
    reporter: Box<dyn Reporter>,
}

impl Follower {
    fn notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        match notice {
            Notice::Step(step) => self.step(step),
            Notice::Connected(connection) => {
                self.read_again = 0;
                self.reporter.connected(connection)
            }
            Notice::Synced { revision } => self.reporter.synced(*revision),
            Notice::Disconnected(loss) => self.reporter.disconnected(loss),
            Notice::Missed => {
                let board = self.board.snapshot();
                self.providers = Providers::of(&board);
                self.read_again = board.revision;
                self.reporter.missed()?;
                self.reporter.board(&board, &self.providers)
            }
            // A watch provides nothing, and the caller handles the end.
            Notice::NotRestored { .. } | Notice::Restored { .. } | Notice::Ended(_) => Ok(()),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Failure> {
        if step.from < step.to && step.to <= self.read_again {
            return Ok(());
        }
        // Providers of removed functions are known before this step, those of added ones after it.
        let removed = step
            .changes
            .iter()
            .filter(|change| change_kind(change) == ChangeKind::Removed);
        let removed: Vec<ShownChange<'_>> = removed.map(|change| self.shown(change)).collect();
        for change in &step.changes {
            self.providers.apply(change);
        }
        let of_sort = |wanted| {
            let changes = step.changes.iter();
            changes.filter(move |change| change_kind(change) == wanted)
        };
        // A worker that joins or leaves explains the changes of functions.
        let mut shown: Vec<ShownChange<'_>> = Vec::new();
        if self.with_workers {
            shown.extend(of_sort(ChangeKind::Worker).map(|change| self.shown(change)));
        }
        shown.extend(removed);
        shown.extend(of_sort(ChangeKind::Present).map(|change| self.shown(change)));
        if shown.is_empty() {
            return Ok(());
        }
        self.reporter.step(step, &shown)
    }

    fn shown<'a>(&self, change: &'a Change) -> ShownChange<'a> {
        let workers = match change {
            Change::Added(entry) | Change::Removed(entry) | Change::Updated { new: entry, .. } => {
                self.providers.names(entry.name())
            }
            _ => Vec::new(),
        };
        ShownChange { change, workers }
    }
}
