//! The command line: finds the command, parses its options, runs it and returns its exit code. Each command is in
//! the file of its name.

mod bench;
mod bind;
mod call;
mod cast;
mod clock;
mod command;
mod demo;
mod departures;
mod drain;
mod emit;
mod exit;
mod expose;
mod failure;
mod foreground;
mod functions;
mod help;
mod json;
mod json_record;
mod kick;
mod logging;
mod manual;
mod messagepack;
mod options;
mod output;
mod pages;
mod payload;
mod port_file;
mod program;
mod program_handler;
mod serve;
mod signals;
mod stats;
mod systemd_journal;
mod table;
mod target;
mod text;
mod token;
mod usage_error;
mod watch;
mod worker_load;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use command::Command;
use failure::Failure;
use options::Options;
use output::Output;
use usage_error::UsageError;

/// Every command, in the order of the help.
const COMMANDS: &[&Command] = &[
    &serve::COMMAND,
    &functions::COMMAND,
    &workers::COMMAND,
    &watch::COMMAND,
    &call::COMMAND,
    &cast::COMMAND,
    &emit::COMMAND,
    &bind::COMMAND,
    &expose::COMMAND,
    &stats::COMMAND,
    &bench::COMMAND,
    &kick::COMMAND,
    &drain::COMMAND,
    &token::COMMAND,
    &demo::COMMAND,
];

/// Runs the program with its arguments, without its own name.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let first = arguments.next();
    let first = first.as_ref().map(|first| first.to_string_lossy());
    let (name, result) = match first.as_deref() {
        None => ("", Err(UsageError::NoCommand.into())),
        Some("-h" | "--help") => ("", show(&help::of_program(COMMANDS))),
        Some("-V" | "--version") => (
            "",
            show(concat!("callboard ", env!("CARGO_PKG_VERSION"), "\n")),
        ),
        Some("help") => ("", show_help_of(arguments.next().as_ref())),
        Some(option) if option.starts_with('-') => {
            ("", Err(UsageError::UnknownOption(option.to_owned()).into()))
        }
        Some(name) => match find(name) {
            Some(command) => (command.name, run_command(command, arguments)),
            None => ("", Err(unknown(name).into())),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(name),
    }
}

fn run_command(
    command: &'static Command,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(), Failure> {
    match Options::read(&(command.flags)(), arguments)? {
        Some(options) => (command.run)(&options),
        None => show(&help::of_command(command)),
    }
}

fn show_help_of(command: Option<&OsString>) -> Result<(), Failure> {
    let Some(name) = command else {
        return show(&help::of_program(COMMANDS));
    };
    let name = name.to_string_lossy();
    if name == "--man" {
        return show(&manual::of_program(COMMANDS));
    }
    match find(&name) {
        Some(command) => show(&help::of_command(command)),
        None => Err(unknown(&name).into()),
    }
}

fn show(text: &str) -> Result<(), Failure> {
    let mut out = Output::stdout();
    out.write(text)?;
    out.flush()
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .copied()
        .find(|command| command.name == name)
}

fn unknown(name: &str) -> UsageError {
    let meant = match name {
        "server" | "start" | "run" | "engine" => Some("serve"),
        "list" | "ls" | "function" | "fn" => Some("functions"),
        "worker" | "ps" => Some("workers"),
        "register" | "provide" => Some("expose"),
        "invoke" | "request" | "req" => Some("call"),
        "send" => Some("cast"),
        "publish" | "pub" | "event" => Some("emit"),
        "on" | "subscribe" | "sub" => Some("bind"),
        "benchmark" | "perf" | "measure" => Some("bench"),
        "info" | "status" | "metrics" => Some("stats"),
        "stop" | "shutdown" => Some("drain"),
        "disconnect" | "remove" => Some("kick"),
        "credentials" | "login" => Some("token"),
        // A prefix of a command's name.
        _ => COMMANDS
            .iter()
            .map(|command| command.name)
            .find(|command| !name.is_empty() && command.starts_with(name)),
    };
    UsageError::UnknownCommand(name.to_owned(), meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_into_80_columns_and_names_every_flag() {
        for command in COMMANDS {
            let help = help::of_command(command);
            for line in help.lines() {
                assert!(text::width(line) <= 80, "{}: {line}", command.name);
            }
            for flag in (command.flags)() {
                let shown = help.contains(&format!("--{}", flag.long));
                assert_eq!(shown, flag.group != options::Group::Hidden, "{}", flag.long);
            }
        }
        for line in help::of_program(COMMANDS).lines() {
            assert!(text::width(line) <= 80, "{line}");
        }
    }

    #[test]
    fn a_near_miss_is_told_what_may_be_meant() {
        assert!(unknown("func").to_string().contains("`functions`"));
        assert!(unknown("ls").to_string().contains("`functions`"));
        assert!(!unknown("xyz").to_string().contains("mean"));
        assert!(!unknown("").to_string().contains("mean"));
    }
}
