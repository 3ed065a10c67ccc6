//! The output of the demo: numbered acts, a line for each change, the board, the summary, and pauses for reading.
//! Measures nothing.

use std::thread;
use std::time::{Duration, Instant};

use super::watchers::{Push, Sign};
use crate::cli::failure::Failure;
use crate::cli::output::{Colour, Output, Paint};
use crate::cli::text;

/// Changes of one step shown individually.
const CHANGES_SHOWN: usize = 3;

/// Width of a function's name, without sign and indentation.
const NAME_COLUMNS: usize = 30;

/// Pause after an act.
const PAUSE: Duration = Duration::from_millis(650);

/// The output of the demo.
pub(super) struct Screen {
    out: Output,
    fast: bool,
    acts: usize,
    pushes: usize,
    /// Times from a call to the last watcher, of the changes that began with one.
    latencies: Vec<Duration>,
}

impl Screen {
    pub(super) fn new(fast: bool) -> Self {
        Self {
            out: Output::stdout(),
            fast,
            acts: 0,
            pushes: 0,
            latencies: Vec::new(),
        }
    }

    pub(super) fn paint(&self) -> Paint {
        self.out.paint()
    }

    /// Prints a line as it is.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.out.line(text)?;
        self.out.flush()
    }

    /// Begins an act: announces what happens next.
    pub(super) fn act(&mut self, text: &str) -> Result<(), Failure> {
        if self.acts > 0 {
            self.pause();
        }
        self.acts += 1;
        let number = self
            .paint()
            .text(Colour::Bold, format_args!("{:>2}", self.acts));
        self.line(&format!("\n{number}  {text}"))
    }

    /// Prints a remark on the act.
    pub(super) fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&format!("    {text}"))
    }

    /// Shows a change that has reached all watchers. `counts`: the time since `began` is that of the change alone.
    pub(super) fn pushed(
        &mut self,
        changes: &[Sign],
        began: Instant,
        push: Push,
        counts: bool,
    ) -> Result<(), Failure> {
        let paint = self.paint();
        let time = push.last.saturating_duration_since(began);
        self.pushes += 1;
        if counts {
            self.latencies.push(time);
        }
        let time = paint.text(Colour::Bold, text::duration(time));
        let place = match push.workers {
            5 => "all 5 boards".to_owned(),
            some => format!("the other {some} boards"),
        };
        let shown = match changes.len() {
            few if few <= CHANGES_SHOWN + 1 => few,
            _ => CHANGES_SHOWN,
        };
        let mut lines: Vec<String> = Vec::new();
        for (sign, name) in &changes[..shown] {
            let colour = match sign {
                '+' => Colour::Green,
                '-' => Colour::Red,
                _ => Colour::Yellow,
            };
            let sign = paint.text(colour, sign);
            lines.push(format!("{sign} {}", text::padded(name, NAME_COLUMNS)));
        }
        if shown < changes.len() {
            let more = format!("and {} more, in the same step", changes.len() - shown);
            lines.push(format!("  {}", text::padded(&more, NAME_COLUMNS)));
        }
        let last = lines.len().saturating_sub(1);
        for (i, line) in lines.iter().enumerate() {
            if i < last {
                self.remark(line.trim_end())?;
            } else {
                self.remark(&format!("{line} on {place} after {time}"))?;
            }
        }
        Ok(())
    }

    /// The number of changes shown.
    pub(super) fn pushes(&self) -> usize {
        self.pushes
    }

    pub(super) fn latencies(&self) -> &[Duration] {
        &self.latencies
    }

    pub(super) fn pause(&self) {
        if !self.fast {
            // To let people read; nothing is waited for.
            thread::sleep(PAUSE);
        }
    }
}
