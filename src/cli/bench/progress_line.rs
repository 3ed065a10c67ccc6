//! Shows the progress of a measurement on standard error: one line that is overwritten, or a line per second if it
//! is no terminal.

use std::io::{self, IsTerminal, Write};

use callboard::bench::Progress;

use super::kind::Kind;
use crate::cli::text;

/// The line that shows the progress of a measurement.
pub(super) struct ProgressLine {
    kind: Kind,
}

impl ProgressLine {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind }
    }

    pub(super) fn show(&self, progress: Progress) {
        let line = format!(
            "{}: {:.0} s, {} {}",
            self.kind.name(),
            progress.elapsed.as_secs_f64(),
            text::grouped(progress.done as usize),
            progress.what,
        );
        let mut stderr = io::stderr().lock();
        // If stderr is closed, progress cannot be shown.
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{line}")
        };
    }

    /// Clears the line, before results take its place.
    pub(super) fn clear() {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
        }
    }
}
