//! The text of `--help`, made from the lists of commands and flags, in 80 columns. Knows no command by name.

use std::fmt::Write;

use super::command::Command;
use super::exit::Exit;
use super::options::{Flag, Group};
use super::text;

/// Columns of a line.
const COLUMNS: usize = 80;

/// Column at which the texts of flags begin.
const INDENT: usize = 26;

/// Environment variables of all commands.
pub(super) const ENVIRONMENT: [(&str, &str); 5] = [
    (
        "CALLBOARD_ADDR",
        "the engine's address, without --connect (127.0.0.1:4747)",
    ),
    (
        "CALLBOARD_TOKEN",
        "the token to present, if the engine requires one",
    ),
    (
        "CALLBOARD_TOKEN_FILE",
        "the file with the token, without --token-file",
    ),
    ("NO_COLOR", "no colours if it is set to anything"),
    (
        "RUST_LOG",
        "what to log, e.g. debug (serve: info; others: off)",
    ),
];

/// The help of the program.
pub(super) fn of_program(commands: &[&Command]) -> String {
    let mut out = String::from(
        "Callboard: a live function board for fleets of workers. Each worker keeps one\nconnection to the \
         engine. Over it, the worker publishes its functions, sees\nthose of all others, and receives \
         every change as it happens.\n\nUsage: callboard COMMAND [OPTIONS]\n\nCommands:\n",
    );
    for command in commands {
        line(
            &mut out,
            &format!("  {:<11}{}", command.name, command.summary),
        );
    }
    out.push_str(
        "\nOptions:\n  -h, --help      this text; `callboard COMMAND --help` explains a command\n  \
         -V, --version   the version\n\nEnvironment:\n",
    );
    for (name, text) in ENVIRONMENT {
        line(&mut out, &format!("  {name:<21} {text}"));
    }
    out.push_str(
        "\nFirst steps:\n  callboard demo                       an engine and workers, coming and going\n  \
         callboard serve                      an engine for this host\n  callboard \
         watch                      in a second terminal: see the board\n  callboard expose echo -- \
         cat         in a third: a program as a function\n  callboard call echo '{\"a\":1}'        call \
         it, from anywhere\n",
    );
    exit_codes(&mut out, Exit::ALL);
    out
}

/// The help of one command.
pub(super) fn of_command(command: &Command) -> String {
    let mut out = format!("callboard {}: {}\n\n", command.name, command.summary);
    let usage = format!(
        "Usage: callboard {} [OPTIONS] {}",
        command.name, command.arguments
    );
    line(&mut out, usage.trim_end());
    for paragraph in command.about.split("\n\n") {
        out.push('\n');
        if paragraph.starts_with(' ') {
            line(&mut out, paragraph);
        } else {
            wrap(&mut out, paragraph, 0, 0);
        }
    }
    let flags = (command.flags)();
    for (group, title) in [
        (Group::Options, "Options"),
        (Group::Engine, "The engine to connect to"),
        (Group::Limits, "Limits (docs/LIMITS.md)"),
    ] {
        let mut of_group = flags.iter().filter(|flag| flag.group == group).peekable();
        if of_group.peek().is_none() && group != Group::Options {
            continue;
        }
        line(&mut out, &format!("\n{title}:"));
        for flag in of_group {
            describe(&mut out, flag);
        }
        if group == Group::Options {
            line(&mut out, &format!("{:<INDENT$}this text", "  -h, --help"));
        }
    }
    line(&mut out, "\nExamples:");
    for (example, effect) in command.examples {
        line(&mut out, &format!("  {example}"));
        out.push_str("      ");
        wrap(&mut out, effect, 6, 6);
    }
    exit_codes(&mut out, command.exits);
    out
}

fn exit_codes(out: &mut String, exits: &[Exit]) {
    line(out, "\nExit codes:");
    for exit in exits {
        line(out, &format!("  {}  {}", exit.code(), exit.meaning()));
    }
}

fn describe(out: &mut String, flag: &Flag) {
    let mut head = format!("  --{}", flag.long);
    if let Some(value) = flag.value {
        let _ = write!(head, " {value}");
    }
    let column = text::width(&head);
    out.push_str(&head);
    if column + 2 > INDENT {
        out.push('\n');
        out.push_str(&" ".repeat(INDENT));
    } else {
        out.push_str(&" ".repeat(INDENT - column));
    }
    wrap(out, &flag.told(), INDENT, INDENT);
}

/// Appends words from column `at`, with the following lines indented.
fn wrap(out: &mut String, words: &str, at: usize, indent: usize) {
    let mut column = at;
    for (i, word) in words.split_whitespace().enumerate() {
        let width = text::width(word);
        if i > 0 && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
