//! A stage of the tests: one program, how long it may take, and how it ends. Stops a program at its first failure.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Left out of all stages. The first notices each change to what is written, and a mutant has to be noticed by a
/// promise that it breaks; the second measures memory, which the switches take, too; the others set up networks of their
/// own, which a killed test would leave behind.
const SKIPPED: [&str; 4] = [
    "what_is_written_on_all_wires_is_what_was_recorded",
    "sizing::",
    "tutorial::",
    "network::",
];

/// The address space of a program and of each of its children, in KiB: a mutant must not eat the machine.
const MEMORY_KIB: u64 = 16 << 20;

/// How often the end of a program is looked for while it writes nothing.
const LOOK: Duration = Duration::from_millis(100);

/// The stages, cheapest first; `lib` has the unit tests. The rules read sources and run nothing, so they are none.
pub(crate) const TARGETS: [&str; 5] = ["lib", "core", "simulation", "sockets", "pressure"];

/// Stages over real sockets: a busy machine may fail one of their tests, so a failure there is confirmed.
const CONFIRMED: [&str; 2] = ["sockets", "pressure"];

/// How often a test may fail without a second failure before the stage is noticed all the same.
const DOUBTS: usize = 3;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Passed,
    /// A test failed.
    Failed(String),
    /// The program ran longer than it may.
    Hung,
    /// The program ended with an error before a test failed.
    Died,
}

#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Where it runs.
    pub(crate) tree: PathBuf,
    pub(crate) most: Duration,
}

impl Stage {
    /// Runs the tests with this variable set. A failure that a second run of its test does not repeat is no failure.
    pub(crate) fn run(&self, variable: (&str, &str)) -> Ending {
        let mut skipped: Vec<String> = Vec::new();
        loop {
            let mut arguments: Vec<&str> = skipped.iter().flat_map(|it| ["--skip", it]).collect();
            arguments.extend(SKIPPED.iter().flat_map(|it| ["--skip", it]));
            let ending = self.start(&arguments, variable);
            let Ending::Failed(test) = &ending else {
                return ending;
            };
            if !CONFIRMED.contains(&&*self.name) || skipped.len() == DOUBTS {
                return ending;
            }
            match self.start(&["--exact", test], variable) {
                Ending::Passed => skipped.push(test.clone()),
                _ => return ending,
            }
        }
    }

    fn start(&self, arguments: &[&str], (variable, value): (&str, &str)) -> Ending {
        // `timeout` ends the program also if this one is ended before.
        let line =
            format!("ulimit -c 0; ulimit -v {MEMORY_KIB}; exec timeout -s KILL \"$0\" \"$@\"");
        let started = Command::new("sh")
            .args(["-c", &line, &self.most.as_secs().max(1).to_string()])
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.tree)
            .env("CARGO_MANIFEST_DIR", &self.tree)
            .env("RUST_BACKTRACE", "0")
            .env(variable, value)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => watch(child, self.most),
            Err(error) => panic!("{} cannot be started: {error}", self.program.display()),
        }
    }
}

/// Waits for the end of a program or for its first failed test.
fn watch(mut child: Child, most: Duration) -> Ending {
    let lines = lines_of(&mut child);
    let began = Instant::now();
    let ending = loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                if let Some(test) = failed_test(&line) {
                    break Some(Ending::Failed(test.to_owned()));
                }
            }
            // A child of the program may hold its output open.
            Err(RecvTimeoutError::Timeout) if matches!(child.try_wait(), Ok(None)) => {}
            Err(_) => break None,
        }
    };
    let group = Pid::from_child(&child);
    if ending.is_some() {
        // It is gone already if it ended in the meantime.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().expect("it was started and not waited for");
    // What the program started and did not end itself.
    let _ = kill_process_group(group, Signal::KILL);
    match ending {
        Some(ending) => ending,
        None if status.success() => Ending::Passed,
        None if began.elapsed() >= most => Ending::Hung,
        None => Ending::Died,
    }
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let output = child.stdout.take().expect("it is piped");
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The test that a line of a test program says has failed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// How long a stage may take that takes so long without a mutant. A machine that others use may need more.
pub(crate) fn most_for(clean: Duration) -> Duration {
    (clean * 5).max(Duration::from_secs(60))
}

/// A stage for a program, with the time that the run without a mutant may take.
pub(crate) fn stage(name: &str, program: &Path, tree: &Path) -> Stage {
    Stage {
        name: name.to_owned(),
        program: program.to_owned(),
        tree: tree.to_owned(),
        most: Duration::from_secs(1_200),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stage whose program is this shell script.
    fn script(name: &str, text: &str) -> (tempfile::TempDir, Stage) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("program");
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let stage = stage(name, &file, folder.path());
        (folder, stage)
    }

    fn ending(name: &str, text: &str) -> Ending {
        let (_folder, stage) = script(name, text);
        stage.run(("CALLBOARD_MUTANT", "x"))
    }

    #[test]
    fn a_program_ends_as_it_says() {
        assert_eq!(ending("core", "echo 'test a ... ok'"), Ending::Passed);
        assert_eq!(ending("core", "exit 101"), Ending::Died);
        assert_eq!(ending("core", "kill -ABRT $$"), Ending::Died);
        let name = ending(
            "core",
            "[ \"$CALLBOARD_MUTANT\" = x ] && pwd | grep -q / && exit 0; exit 1",
        );
        assert_eq!(name, Ending::Passed);
    }

    #[test]
    fn the_first_failure_ends_a_program_that_would_go_on() {
        let failed = ending(
            "core",
            "echo 'test a::b ... FAILED'\nwhile :; do sleep 1; done",
        );
        assert_eq!(failed, Ending::Failed("a::b".to_owned()));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let (_folder, mut stage) = script("core", "while :; do sleep 1; done");
        stage.most = Duration::from_secs(1);
        assert_eq!(stage.run(("CALLBOARD_MUTANT", "x")), Ending::Hung);
    }

    #[test]
    fn a_failure_over_sockets_counts_if_its_test_fails_twice() {
        // A single test is asked for by its name alone.
        let alone = "case \"$*\" in *'--exact'*) ";
        let once = format!(
            "{alone} exit 0;; *'--skip a'*) exit 0;; esac; echo 'test a ... FAILED'; exit 101"
        );
        assert_eq!(ending("sockets", &once), Ending::Passed);
        let twice = "echo 'test a ... FAILED'; exit 101";
        assert_eq!(ending("sockets", twice), Ending::Failed("a".to_owned()));
        assert_eq!(ending("core", &once), Ending::Failed("a".to_owned()));
        let always_another =
            format!("{alone} exit 0;; esac; echo \"test $$ ... FAILED\"; exit 101");
        assert!(matches!(
            ending("sockets", &always_another),
            Ending::Failed(_)
        ));
    }

    #[test]
    fn a_failed_test_is_told_from_other_lines() {
        assert_eq!(
            failed_test("test a::b - should panic ... FAILED"),
            Some("a::b - should panic")
        );
        assert_eq!(failed_test("test a::b ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 1 passed"), None);
    }
}
