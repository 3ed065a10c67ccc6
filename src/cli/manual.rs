//! The manual page in the macros of man(7), made from the same lists as the help. Knows no command by name.

use std::fmt::Write;

use super::command::Command;
use super::exit::Exit;
use super::help::ENVIRONMENT;
use super::options::{Flag, Group};

/// The page about all commands.
pub(super) fn of_program(commands: &[&Command]) -> String {
    let mut page = Page(String::new());
    page.macro_line(concat!(
        ".TH CALLBOARD 1 \"\" \"callboard ",
        env!("CARGO_PKG_VERSION"),
        "\" \"User Commands\""
    ));
    page.section("NAME");
    page.macro_line("callboard \\- a live function board for fleets of workers");
    page.section("SYNOPSIS");
    page.macro_line("\\fBcallboard\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]");
    page.section("DESCRIPTION");
    page.text(
        "Each worker keeps one connection to the engine. Over it, the worker publishes its functions, sees \
         those of all others, receives every change as it happens, and calls any function by name. There \
         is no second service and no polling: the connection is the registration.",
    );
    page.paragraph();
    page.text("`callboard serve` is the engine; the other commands connect to one.");
    page.section("COMMANDS");
    for command in commands {
        page.command(command);
    }
    page.section("ENVIRONMENT");
    for (name, text) in ENVIRONMENT {
        page.item(&format!("\\fB{}\\fR", escaped(name)), text);
    }
    page.section("EXIT STATUS");
    for exit in Exit::ALL {
        page.item(&format!("\\fB{}\\fR", exit.code()), exit.meaning());
    }
    page.section("FILES");
    for (file, text) in [
        (
            "/etc/default/callboard",
            "options of the engine that systemd runs",
        ),
        (
            "callboard.service, callboard.socket",
            "the units; `systemctl edit` changes them",
        ),
        (
            "/usr/share/doc/callboard/docs",
            "the protocol, the limits, the engine's costs, how to operate it",
        ),
    ] {
        page.item(&format!("\\fI{}\\fR", escaped(file)), text);
    }
    page.0
}

struct Page(String);

impl Page {
    /// A line of roff.
    fn macro_line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.macro_line(&format!(".SH {title}"));
    }

    fn paragraph(&mut self) {
        self.macro_line(".PP");
    }

    /// A line of text.
    fn text(&mut self, text: &str) {
        let text = escaped(text);
        // At the start of a line, these two would begin a macro.
        if text.starts_with(['.', '\'']) {
            self.0.push_str("\\&");
        }
        self.macro_line(&text);
    }

    fn item(&mut self, head: &str, text: &str) {
        self.macro_line(".TP");
        self.macro_line(head);
        self.text(text);
    }

    fn command(&mut self, command: &Command) {
        self.macro_line(&format!(".SS {}", escaped(command.name)));
        let mut usage = format!("\\fBcallboard {}\\fR [\\fIOPTIONS\\fR]", command.name);
        if !command.arguments.is_empty() {
            let _ = write!(usage, " {}", escaped(command.arguments));
        }
        self.macro_line(&usage);
        for paragraph in command.about.split("\n\n") {
            self.paragraph();
            if paragraph.starts_with(' ') {
                self.macro_line(".nf");
                for line in paragraph.lines() {
                    self.text(line);
                }
                self.macro_line(".fi");
            } else {
                self.text(paragraph);
            }
        }
        for flag in (command.flags)() {
            if flag.group != Group::Hidden {
                self.flag(&flag);
            }
        }
        self.item("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Print a short help.");
        for (example, effect) in command.examples {
            self.paragraph();
            self.macro_line(".nf");
            self.text(&format!("    {example}"));
            self.macro_line(".fi");
            self.macro_line(".RS 8");
            self.text(effect);
            self.macro_line(".RE");
        }
        let exits = command.exits.iter().map(|exit| exit.code().to_string());
        let exits: Vec<String> = exits.collect();
        self.paragraph();
        self.text(&format!("Exit status: {}.", exits.join(", ")));
    }

    fn flag(&mut self, flag: &Flag) {
        let mut head = format!("\\fB{}\\fR", escaped(&format!("--{}", flag.long)));
        if let Some(value) = flag.value {
            let _ = write!(head, " \\fI{}\\fR", escaped(value));
        }
        self.item(&head, &flag.told());
    }
}

/// Escapes the characters with a meaning in roff.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::super::COMMANDS;
    use super::*;

    #[test]
    fn the_page_that_is_packed_is_this_one() {
        assert!(
            of_program(COMMANDS) == include_str!("../../deploy/callboard.1"),
            "cargo run -- help --man > deploy/callboard.1"
        );
    }

    #[test]
    fn every_command_and_every_flag_has_its_place() {
        let page = of_program(COMMANDS);
        for command in COMMANDS {
            let (_, about) = page
                .split_once(&format!("\n.SS {}\n", command.name))
                .expect(command.name);
            let about = about.split("\n.S").next().expect("text");
            for flag in (command.flags)() {
                let head = format!("\n\\fB{}\\fR", escaped(&format!("--{}", flag.long)));
                assert_eq!(about.contains(&head), flag.group != Group::Hidden, "{head}");
            }
        }
    }

    #[test]
    fn roff_has_nothing_to_say_against_it() {
        let started = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut groff) = started else {
            eprintln!("not checked: there is no groff");
            return;
        };
        let mut stdin = groff.stdin.take().expect("a pipe");
        let page = of_program(COMMANDS);
        stdin.write_all(page.as_bytes()).expect("groff reads it");
        drop(stdin);
        let said = groff.wait_with_output().expect("groff ends");
        assert!(said.status.success());
        assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    }
}
