//! docs/TUTORIAL.md, run: every command of the page in its order, on the hosts that it names, with what is printed
//! compared with what the page shows. Once on two hosts made of namespaces (root is needed for that; without it the
//! test says so loudly), and once with both on this host. Stood in for: systemd (`systemctl` and `journalctl`, see
//! `systemd.rs`), and `scp`, which copies without a network. All else is the real thing.

mod page;
mod place;
mod systemd;
mod unit;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use page::{How, Step, difference};
use place::Place;
use systemd::Manager;

const PAGE: &str = include_str!("../../../docs/TUTORIAL.md");
const UNIT: &str = include_str!("../../../deploy/callboard.service");

/// No step takes longer on a slow machine; only a failing test ever waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a shell remembers from one block to the next: variables and the mask for new files.
const REMEMBER: &str = "[ ! -f /run/shell ] || . /run/shell
trap 'code=$?; { export -p; umask -p; } >/run/shell; exit $code' EXIT
set -e
";

struct Host {
    name: &'static str,
    place: Arc<Place>,
    systemd: Manager,
}

impl Host {
    fn new(name: &'static str, place: Place) -> Self {
        let place = Arc::new(place);
        // What the reader has from the build and from the repository.
        let install = r#"install -m 0755 "$0" callboard && printf '%s' "$1" >callboard.service"#;
        let put = place
            .command("sh")
            .args(["-c", install, env!("CARGO_BIN_EXE_callboard"), UNIT])
            .status();
        assert!(put.expect("a shell").success());
        Self {
            name,
            systemd: Manager::new(place.clone()),
            place,
        }
    }
}

/// A terminal in which something goes on.
struct Terminal {
    place: Arc<Place>,
    process: Child,
    lines: Receiver<String>,
}

impl Terminal {
    fn open(place: &Arc<Place>, commands: &str) -> Self {
        let script = format!("exec 2>&1\n{commands}");
        let mut process = place
            .command("bash")
            .args(["-c", &place.local(&script)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let stdout = process.stdout.take().expect("piped");
        let (told, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            place: place.clone(),
            process,
            lines,
        }
    }

    /// Reads on until it has printed what is shown.
    fn prints(&self, shown: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut printed = String::new();
        while let Some(why) = difference(shown, &printed) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    printed += &self.place.on_the_page(&line);
                    printed.push('\n');
                }
                Err(error) => panic!("a terminal, {error}: {why}"),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell, and what it runs.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

struct Tutorial {
    hosts: [Host; 2],
    terminals: BTreeMap<String, Terminal>,
}

impl Tutorial {
    fn new([board, shop]: [Place; 2]) -> Self {
        Self {
            hosts: [Host::new("board", board), Host::new("shop", shop)],
            terminals: BTreeMap::new(),
        }
    }

    fn named(&self, name: &str) -> Vec<usize> {
        let named = (0..2).filter(|&at| name == "both" || self.hosts[at].name == name);
        let named: Vec<usize> = named.collect();
        assert!(!named.is_empty(), "no host `{name}`");
        named
    }

    /// The whole page. Returns how many commands were run.
    fn run(&mut self) -> usize {
        let mut commands_run = 0;
        for step in page::steps(PAGE) {
            match step {
                Step::Write { host, path, text } => {
                    for at in self.named(&host) {
                        let executable = text.starts_with("#!");
                        let mode = if executable { "0755" } else { "0644" };
                        self.hosts[at].place.write(&path, &text, mode);
                    }
                }
                Step::Open {
                    host,
                    commands,
                    terminal,
                } => {
                    let at = self.named(&host)[0];
                    let open = Terminal::open(&self.hosts[at].place, &commands);
                    self.terminals.insert(terminal, open);
                    commands_run += commands.lines().count();
                }
                Step::Read { terminal, shown } => self.terminals[&terminal].prints(&shown),
                Step::Run {
                    host,
                    commands,
                    how,
                } => {
                    for at in self.named(&host) {
                        self.block(at, &commands, &how);
                    }
                    commands_run += commands.lines().count();
                }
            }
        }
        commands_run
    }

    /// A block of commands, once or until it prints what is shown.
    fn block(&mut self, at: usize, commands: &str, how: &How) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (printed, code) = self.commands(at, commands);
            let shown = how.shown.as_deref().unwrap_or("");
            let why = match difference(shown, &printed) {
                _ if code != how.exits => Some(format!("exit code {code}:\n{printed}")),
                // A block without shown output may print anything, and must not fail.
                Some(_) if how.shown.is_none() => None,
                why => why,
            };
            let Some(why) = why else { return };
            let late = Instant::now() >= deadline;
            assert!(
                how.again && !late,
                "on {}:\n{commands}\n{why}",
                self.hosts[at].name
            );
        }
    }

    /// Runs commands up to the first that fails. Returns what they print, and the code of the last.
    fn commands(&mut self, at: usize, commands: &str) -> (String, i32) {
        let mut printed = String::new();
        let mut script = String::new();
        for line in commands.lines().chain([""]) {
            let played = ["systemctl ", "scp "].iter().any(|it| line.starts_with(it));
            if !played && !line.is_empty() {
                script += line;
                script.push('\n');
                continue;
            }
            if !script.is_empty() {
                let (said, code) = self.hosts[at].place.shell(&format!("{REMEMBER}{script}"));
                printed += &said;
                script.clear();
                if code != 0 {
                    return (printed, code);
                }
            }
            if line.starts_with("systemctl ") {
                printed += &self.hosts[at].systemd.obey(line);
            } else if line.starts_with("scp ") {
                self.copy(at, line);
            }
        }
        (printed, 0)
    }

    /// `scp FILE… root@HOST:FOLDER/`
    fn copy(&self, at: usize, line: &str) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let (to, files) = words.split_last().expect("where to");
        let (host, folder) = to.split_once(':').expect("HOST:FOLDER");
        let to = self.named(host.trim_start_matches("root@"))[0];
        for file in files {
            let text = self.hosts[at].place.read(&format!("/root/{file}"));
            let text = text.unwrap_or_else(|| panic!("no {file}"));
            let name = file.rsplit('/').next().unwrap_or(file);
            self.hosts[to]
                .place
                .write(&format!("{folder}{name}"), &text, "0600");
        }
    }
}

fn run(places: [Place; 2]) {
    let commands = Tutorial::new(places).run();
    assert!(commands > 40, "only {commands}: is the page read wrongly?");
}

#[test]
fn the_tutorial_works_on_two_hosts() {
    match place::apart() {
        Ok(places) => run(places),
        Err(why) => crate::hosts::say_loudly(&format!(
            "docs/TUTORIAL.md was not run on two hosts, only with both on this one: no namespaces: {why}"
        )),
    }
}

#[test]
fn the_tutorial_works_with_both_hosts_on_this_one() {
    run(place::here());
}

#[test]
fn no_command_of_the_page_is_left_out() {
    let fenced = PAGE.lines().filter(|line| line.starts_with("```")).count();
    let shown = page::steps(PAGE)
        .iter()
        .filter(|step| matches!(step, Step::Run { how, .. } if how.shown.is_some()))
        .count();
    // Each block has two marks and is a step, or what a step prints.
    assert_eq!(fenced, 2 * (page::steps(PAGE).len() + shown));
    // A command outside of blocks would not be run.
    let mut outside = true;
    for line in PAGE.lines() {
        outside ^= line.starts_with("```");
        if !outside {
            continue;
        }
        assert!(!line.starts_with("    callboard "), "{line}");
        assert!(!line.starts_with("    systemctl "), "{line}");
    }
}
