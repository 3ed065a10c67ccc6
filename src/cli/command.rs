//! A command of `callboard` as data: its help and its function.

use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};

/// One command of `callboard`.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// The arguments in the usage line, without flags.
    pub(super) arguments: &'static str,
    /// One line in the list of commands.
    pub(super) summary: &'static str,
    /// Paragraphs; lines that begin with a space are not wrapped.
    pub(super) about: &'static str,
    pub(super) flags: fn() -> Vec<Flag>,
    /// Command lines, each with what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// Its possible exit codes.
    pub(super) exits: &'static [Exit],
    pub(super) run: fn(&Options) -> Result<(), Failure>,
}
