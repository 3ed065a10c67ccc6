//! A stage of the tests: one program, which tests it has, and how a run of some of them ends. Stops a program at its
//! first failure.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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

/// How many tests may fail once and not again before a failure counts all the same.
const DOUBTS: usize = 3;

/// How much processor time a test may take without a mutant.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// The signals of the kernel and of `timeout` for a program that took too much time.
const TIME_IS_UP: [i32; 2] = [Signal::XCPU.as_raw(), Signal::KILL.as_raw()];

/// A program may wait for so many times the processor time that it may take: others use the machine, too.
const PATIENCE: u32 = 30;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Passed,
    /// A test failed.
    Failed(String),
    /// The program took more time than it may.
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
}

impl Stage {
    /// The names of all tests. Those that are ignored are among them.
    pub(crate) fn tests(&self) -> io::Result<Vec<String>> {
        let skipped = SKIPPED.iter().flat_map(|it| ["--skip", it]);
        let listed = Command::new(&self.program)
            .arg("--list")
            .args(skipped)
            .current_dir(&self.tree)
            .output()?;
        let names = String::from_utf8_lossy(&listed.stdout);
        let names = names.lines().filter_map(|it| it.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs these tests with this variable set, for at most so much processor time. A failure that a second run of its
    /// test does not repeat is no failure.
    pub(crate) fn run(&self, tests: &[&str], most: Duration, variable: (&str, &str)) -> Ending {
        let mut open = tests.to_vec();
        // Without a name, all would run.
        while !open.is_empty() {
            let ending = self.start(&open, most, variable);
            let Ending::Failed(test) = &ending else {
                return ending;
            };
            let doubts = tests.len() - open.len();
            if !CONFIRMED.contains(&&*self.name) || doubts == DOUBTS {
                return ending;
            }
            match self.start(&[test], most, variable) {
                Ending::Passed => open.retain(|it| it != test),
                _ => return ending,
            }
        }
        Ending::Passed
    }

    fn start(&self, tests: &[&str], most: Duration, (variable, value): (&str, &str)) -> Ending {
        let seconds = most.as_secs().max(1);
        let patience = (most * PATIENCE).as_secs().max(1).to_string();
        // `timeout` ends the program also if this one is ended before.
        let line = format!(
            "ulimit -c 0; ulimit -v {MEMORY_KIB}; ulimit -S -t {seconds}; exec timeout -s KILL \"$0\" \"$@\""
        );
        let started = Command::new("sh")
            .args(["-c", &line, &patience])
            .arg(&self.program)
            .arg("--exact")
            .args(tests)
            .current_dir(&self.tree)
            .env("CARGO_MANIFEST_DIR", &self.tree)
            .env("RUST_BACKTRACE", "0")
            // No seed is ended before its program.
            .env("CALLBOARD_SEED_SECONDS", &patience)
            .env(variable, value)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => watch(child),
            Err(error) => panic!("{} cannot be started: {error}", self.program.display()),
        }
    }
}

/// Waits for the end of a program or for its first failed test.
fn watch(mut child: Child) -> Ending {
    let lines = lines_of(&mut child);
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
        None if status.signal().is_some_and(|it| TIME_IS_UP.contains(&it)) => Ending::Hung,
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
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(name.strip_suffix(" - should panic").unwrap_or(name))
}

/// How much processor time tests may take that take so long without a mutant.
pub(crate) fn most_for(clean: Duration) -> Duration {
    (clean * 5).max(Duration::from_secs(5))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stage whose program is this shell script.
    pub(crate) fn script(name: &str, text: &str) -> (tempfile::TempDir, Stage) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let stage = Stage {
            name: name.to_owned(),
            program,
            tree: folder.path().to_owned(),
        };
        (folder, stage)
    }

    /// How the tests `a`, `b`, `c`, `d` and `e` of a script end.
    fn ending(name: &str, text: &str) -> Ending {
        let (_folder, stage) = script(name, text);
        let tests = ["a", "b", "c", "d", "e"];
        stage.run(&tests, LONGEST, ("CALLBOARD_MUTANT", "x"))
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
    fn a_program_that_hangs_is_ended_whether_it_waits_or_not() {
        for text in ["while :; do :; done", "while :; do sleep 1; done"] {
            let (_folder, stage) = script("core", text);
            let most = Duration::from_millis(100);
            let ending = stage.run(&["a"], most, ("CALLBOARD_MUTANT", "x"));
            assert_eq!(ending, Ending::Hung, "{text}");
        }
    }

    #[test]
    fn a_seed_may_take_as_long_as_its_program() {
        let (_folder, stage) = script("core", "[ \"$CALLBOARD_SEED_SECONDS\" = 90 ]");
        let most = Duration::from_secs(3);
        let ending = stage.run(&["a"], most, ("CALLBOARD_MUTANT", "x"));
        assert_eq!(ending, Ending::Passed);
    }

    #[test]
    fn the_tests_are_those_of_the_list_without_the_skipped() {
        let (_folder, stage) = script(
            "core",
            "[ \"$1\" = --list ] && case \"$*\" in *'--skip sizing::'*) ;; *) exit 1;; esac\n\
             echo 'a::b: test'; echo 'c: benchmark'; echo 'd: test'; echo '2 tests, 1 benchmark'",
        );
        assert_eq!(stage.tests().expect("a program"), ["a::b", "d"]);
    }

    #[test]
    fn a_failure_over_sockets_counts_if_its_test_fails_twice() {
        let once = "case \"$*\" in *'a b'*) echo 'test a ... FAILED'; exit 101;; esac";
        assert_eq!(ending("sockets", once), Ending::Passed);
        assert_eq!(ending("core", once), Ending::Failed("a".to_owned()));
        let twice = "echo 'test a ... FAILED'; exit 101";
        assert_eq!(ending("sockets", twice), Ending::Failed("a".to_owned()));
        // The first of many fails, whichever it is.
        let always_another = "[ $# -gt 2 ] && echo \"test $2 ... FAILED\" && exit 101; exit 0";
        let fourth = Ending::Failed("d".to_owned());
        assert_eq!(ending("sockets", always_another), fourth);
    }

    #[test]
    fn no_test_is_run_when_all_have_failed_once() {
        let (_folder, stage) = script(
            "sockets",
            "[ -e failed ] && exit 0; : > failed; echo 'test a ... FAILED'; exit 101",
        );
        let second = Duration::from_secs(1);
        let ending = stage.run(&["a"], second, ("CALLBOARD_MUTANT", "x"));
        assert_eq!(ending, Ending::Passed);
    }

    #[test]
    fn a_failed_test_is_told_from_other_lines() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(
            failed_test("test a::b - should panic ... FAILED"),
            Some("a::b")
        );
        assert_eq!(failed_test("test a::b ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 1 passed"), None);
    }
}
