//! A command of `callboard` as data: what the help shows and what runs.

use super::exit::Exit;
use super::failure::Failure;
use super::options::{Flag, Options};

/// One command of `callboard`.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What follows the name in the usage line, flags aside.
    pub(super) arguments: &'static str,
    /// One line for the list of commands.
    pub(super) summary: &'static str,
    /// Paragraphs; lines that start with a space stay as they are.
    pub(super) about: &'static str,
    pub(super) flags: fn() -> Vec<Flag>,
    /// A command line and what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// The exit codes that it can end with.
    pub(super) exits: &'static [Exit],
    pub(super) run: fn(&Options) -> Result<(), Failure>,
}
