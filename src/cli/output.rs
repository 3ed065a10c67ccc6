//! Standard output: buffered, with colours on a terminal. Escapes nothing: text chosen by peers must go through
//! `text::visible` or `json::write_line` first.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use super::failure::Failure;
use super::json;

/// Receives the results of a command.
pub(super) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    paint: Paint,
}

/// Applies colours, if they are enabled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    on: bool,
}

/// The colours used; the terminal chooses their look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

impl Paint {
    /// Wraps the text in a colour.
    pub(super) fn text(self, colour: Colour, text: impl fmt::Display) -> String {
        if self.on {
            format!("\x1b[{}m{text}\x1b[0m", colour.code())
        } else {
            text.to_string()
        }
    }
}

impl Output {
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let on = stdout.is_terminal() && wanted && able;
        Self {
            out: BufWriter::with_capacity(64 * 1024, stdout.lock()),
            paint: Paint { on },
        }
    }

    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::Output)
    }

    pub(super) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    pub(super) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        json::write_line(&mut self.out, value).map_err(Failure::Output)
    }

    /// Writes the buffer out. Must be called at the end too: a drop would lose errors.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }
}
