//! What a person sees while a measurement runs: one line of standard error that is written over, or a line a second
//! where standard error is no terminal.

use std::io::{self, IsTerminal, Write};

use callboard::bench::Progress;

use super::kind::Kind;
use crate::cli::text;

/// See the top of this file.
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
        // When nobody reads stderr there is nobody to show it to.
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{line}")
        };
    }

    /// Takes the line away, before results are shown in its place.
    pub(super) fn clear() {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
        }
    }
}
