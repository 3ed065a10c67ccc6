//! Calls and events from the command line: the real binary, with small shell scripts as functions.
//! Every wait is for a line, an end or a file, with a deadline.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::running::{Engine, Running, finished};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine, and functions made of scripts.
struct Board {
    engine: Engine,
    folder: TempDir,
}

impl Board {
    fn new() -> Self {
        Self {
            engine: Engine::start(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A script as a function; `$0` is the test's folder. Returns once it is on the board.
    fn script(&self, name: &str, flags: &[&str], script: &str) -> Running {
        let folder = self.folder.path().to_str().expect("UTF-8");
        let arguments = [
            &["expose", name],
            flags,
            &["--", "sh", "-c", script, folder],
        ]
        .concat();
        let mut exposed = self.engine.start_cli(&arguments);
        exposed.line("1 function on the board");
        exposed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn call(&self, arguments: &[&str]) -> (i32, String, String) {
        self.engine.run(&[&["call"], arguments].concat())
    }
}

/// Waits until a script has written a line to a file. Returns it.
fn written(path: &Path) -> String {
    let mut text = String::new();
    until("the file", || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text.trim().to_owned()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A process that is a zombie counts as ended.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_program_is_a_function_json_in_json_out() {
    let board = Board::new();
    let _echo = board.script("echo", &[], "cat");
    for json in [
        r#"{"a":[1,-2,2.5,null,"größe"],"b":{"bin":"00ff"}}"#,
        "18446744073709551615",
        "\"text\"",
    ] {
        let called = board.call(&["echo", json]);
        assert_eq!(called, (0, format!("{json}\n"), String::new()));
    }
    // Nothing is null; -- keeps a number from being a flag.
    assert_eq!(
        board.call(&["echo"]),
        (0, "null\n".to_owned(), String::new())
    );
    assert_eq!(board.call(&["echo", "--", "-1"]).1, "-1\n");
    // From standard input, large.
    let large = json!(vec!["x".repeat(100); 5000]).to_string();
    let mut piped = board.engine.start_cli(&["call", "echo", "-"]);
    piped.feed(large.as_bytes());
    assert_eq!(piped.next_line(), large);
    assert_eq!(piped.wait(), 0);
}

#[test]
fn a_program_is_told_the_caller_and_the_function() {
    let board = Board::new();
    let script = r#"echo "[\"$CALLBOARD_FUNCTION\",\"$CALLBOARD_CALLER\",$CALLBOARD_CALLER_ID,$CALLBOARD_TIMEOUT_MS]""#;
    let _told = board.script("who::am_i", &[], script);
    let (code, shown, stderr) = board.call(&["who::am_i", "--timeout", "10s"]);
    assert_eq!((code, &*stderr), (0, ""));
    let told: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(told[0], "who::am_i");
    assert!(
        told[1]
            .as_str()
            .is_some_and(|name| name.starts_with("call@")),
        "{told}"
    );
    assert!(told[2].is_u64(), "{told}");
    assert!(
        told[3]
            .as_u64()
            .is_some_and(|left| (1..=10_000).contains(&left)),
        "{told}"
    );
}

#[test]
fn a_programs_failure_is_the_functions_own_with_exit_code_6() {
    let board = Board::new();
    let _fails = board.script("fails", &[], "printf 'no\\033[31m paper\\n' >&2; exit 3");
    let (code, stdout, stderr) = board.call(&["fails"]);
    assert_eq!((code, &*stdout), (6, ""), "{stderr}");
    assert!(
        stderr.contains("command_failed: exit code 3: no\\u{1b}[31m paper"),
        "{stderr}"
    );
    let _babbles = board.script("babbles", &[], "echo this is no JSON");
    let (code, stdout, stderr) = board.call(&["babbles"]);
    assert_eq!((code, &*stdout), (6, ""), "{stderr}");
    assert!(stderr.contains("command_output: "), "{stderr}");
    let mut missing = board
        .engine
        .start_cli(&["expose", "missing", "--", "/no/such/program"]);
    missing.line("1 function");
    let (code, _, stderr) = board.call(&["missing"]);
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("command_missing: "), "{stderr}");
}

#[test]
fn the_engines_errors_are_told_apart_with_exit_code_7() {
    let board = Board::new();
    let (code, stdout, stderr) = board.call(&["no::such"]);
    assert_eq!((code, &*stdout), (7, ""), "{stderr}");
    assert!(
        stderr.starts_with("callboard call: no_such_function: "),
        "{stderr}"
    );
    assert!(
        stderr.contains("was not executed") && stderr.contains("--wait"),
        "{stderr}"
    );
    let mut held = board.engine.start_cli(&["expose", "held"]);
    held.line("1 function");
    let (code, stdout, _) = board.call(&["held", "--timeout", "10s"]);
    assert_ne!(code, 0);
    assert_eq!(stdout, "");
}

#[test]
fn a_deadline_kills_what_runs_and_all_it_started() {
    let board = Board::new();
    let script = "sleep 600 & echo $! > $0/child; echo $$ > $0/shell; wait";
    let _sleeps = board.script("sleeps", &[], script);
    let (code, stdout, stderr) = board.call(&["sleeps", "--timeout", "1s"]);
    assert_eq!((code, &*stdout), (7, ""), "{stderr}");
    assert!(stderr.contains("deadline_exceeded: "), "{stderr}");
    assert!(stderr.contains("may have been executed"), "{stderr}");
    for file in ["shell", "child"] {
        let pid = written(&board.file(file));
        until("it is dead", || !is_alive(&pid));
    }
}

#[test]
fn a_caller_that_goes_away_ends_what_it_asked_for() {
    let board = Board::new();
    let _sleeps = board.script("sleeps", &[], "echo $$ > $0/shell; exec sleep 600");
    let mut caller = board.engine.start_cli(&["call", "sleeps"]);
    let pid = written(&board.file("shell"));
    assert!(is_alive(&pid));
    caller.kill();
    until("it is dead", || !is_alive(&pid));
}

#[test]
fn a_call_that_waits_is_served_once_a_provider_comes() {
    let board = Board::new();
    let mut waits = board.engine.start_cli(&["call", "later", "[1]", "--wait"]);
    until("it is parked", || {
        let (_, stats, _) = board.engine.run(&["stats", "--json"]);
        let stats: Value = serde_json::from_str(&stats).expect("JSON");
        stats["parked"] == 1
    });
    let _later = board.script("later", &[], "cat");
    assert_eq!(waits.next_line(), "[1]");
    assert_eq!(waits.wait(), 0);
}

#[test]
fn so_many_jobs_run_at_once_and_no_more() {
    let board = Board::new();
    // Runs until there is a file `go`.
    let script = "echo $$ > $0/$CALLBOARD_CALLER_ID.ran; while [ ! -e $0/go ]; do sleep 0.02; done";
    let _job = board.script("job", &["--jobs", "1"], script);
    let mut first = board.engine.start_cli(&["call", "job"]);
    let ran = || {
        std::fs::read_dir(board.folder.path())
            .expect("a folder")
            .count()
    };
    until("the first runs", || ran() == 1);
    let (code, _, stderr) = board.call(&["job"]);
    assert_eq!(code, 7, "{stderr}");
    assert!(stderr.contains("overloaded: "), "{stderr}");
    let (_, table, _) = board.engine.run(&["workers"]);
    assert!(table.contains("1/1"), "{table}");
    let (_, line, _) = board.engine.run(&["functions", "job", "--json"]);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["in_flight"], &line["capacity"]),
        (&json!(1), &json!(1))
    );
    let mut waits = board.engine.start_cli(&["call", "job", "--wait"]);
    std::fs::write(board.file("go"), "").expect("a file");
    assert_eq!(first.wait(), 0);
    assert_eq!(waits.wait(), 0);
}

#[test]
fn a_stopped_expose_finishes_what_runs() {
    let board = Board::new();
    let script = "echo $$ > $0/ran; while [ ! -e $0/go ]; do sleep 0.02; done; echo 7";
    let mut job = board.script("job", &[], script);
    let mut caller = board.engine.start_cli(&["call", "job"]);
    written(&board.file("ran"));
    job.signal("TERM");
    until("it left the board", || {
        board.engine.run(&["functions", "--json"]).1.is_empty()
    });
    std::fs::write(board.file("go"), "").expect("a file");
    assert_eq!(caller.next_line(), "7");
    assert_eq!(job.rest(), "", "what we end ourselves is no news");
    assert_eq!((caller.wait(), job.wait()), (0, 0));
}

#[test]
fn a_second_signal_ends_what_still_runs() {
    let board = Board::new();
    let mut job = board.script("job", &[], "echo $$ > $0/ran; exec sleep 600");
    let mut caller = board.engine.start_cli(&["call", "job"]);
    let pid = written(&board.file("ran"));
    job.signal("TERM");
    until("it left the board", || {
        board.engine.run(&["functions", "--json"]).1.is_empty()
    });
    assert!(is_alive(&pid));
    job.signal("TERM");
    assert_eq!(job.wait(), 0);
    until("it is dead", || !is_alive(&pid));
    assert_ne!(caller.wait(), 0);
}

#[test]
fn an_event_reaches_what_is_bound_to_it() {
    let board = Board::new();
    assert_eq!(
        board.engine.run(&["emit", "user.created"]).1,
        "cast to 0 functions\n"
    );
    let script = r#"echo "$CALLBOARD_EVENT $(cat)" > $0/told"#;
    let _mail = board.script("mail::welcome", &[], script);
    let arguments = [
        "bind",
        "user.created",
        "mail::welcome",
        "--id",
        "a",
        "--config",
        "[1]",
    ];
    let mut binding = board.engine.start_cli(&arguments);
    binding.line("mail::welcome bound to user.created");
    let (code, shown, _) = board.engine.run(&["emit", "user.created", r#"{"id":7}"#]);
    assert_eq!((code, &*shown), (0, "cast to 1 function\n"));
    assert_eq!(written(&board.file("told")), r#"user.created {"id":7}"#);
    let (_, bindings, _) = board.call(&["engine::bindings::list"]);
    let bindings: Value = serde_json::from_str(&bindings).expect("JSON");
    let bound = &bindings["entries"][0];
    assert_eq!(
        (&bound["event"], &bound["id"]),
        (&json!("user.created"), &json!("a"))
    );

    binding.signal("INT");
    assert_eq!(binding.wait(), 0);
    let (_, shown, _) = board.engine.run(&["emit", "user.created", "--json"]);
    assert_eq!(shown, "{\"matched\":0}\n");

    let (code, shown, stderr) = board.engine.run(&["cast", "mail::welcome", "\"cast\""]);
    assert_eq!((code, &*shown, &*stderr), (0, "", ""));
    until("the cast", || written(&board.file("told")) == "\"cast\"");
    // An empty list is no error.
    assert_eq!(board.engine.run(&["cast", "no::such"]).0, 0);
}

#[test]
fn the_engine_shows_what_it_counts() {
    let board = Board::new();
    let _echo = board.script("echo", &[], "cat");
    assert_eq!(board.call(&["echo", "1"]).0, 0);
    let (code, stats, _) = board.engine.run(&["stats", "--json"]);
    assert_eq!(code, 0);
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(stats["endings"]["result"], 1);
    assert_eq!(
        (&stats["functions"], &stats["workers"]),
        (&json!(1), &json!(1))
    );
    let (code, table, _) = board.engine.run(&["stats"]);
    assert_eq!(code, 0);
    assert!(table.starts_with("COUNTER"), "{table}");
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("endings: result ")),
        "{table}"
    );
}

#[test]
fn a_call_that_is_interrupted_dies_of_the_signal_and_is_cancelled() {
    let board = Board::new();
    let script = r#"echo $$ > "$0/pid"; exec sleep 600"#;
    let _slow = board.script("slow", &[], script);
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let mut call = board.engine.start_cli(&["call", "slow"]);
        call.feed(b"");
        let pid = written(&board.file("pid"));
        call.signal(signal);
        assert_eq!(call.killed_by(), number);
        assert_eq!(call.all_errors(), "");
        until("the program's end", || !is_alive(&pid));
        std::fs::remove_file(board.file("pid")).expect("removed");
    }
}

#[test]
fn a_name_that_no_function_can_have_is_wrong_use() {
    let long = "x".repeat(256);
    for name in ["", "a b", "gr\u{fc}n", &long] {
        for command in ["call", "cast", "emit"] {
            // Nothing is sent: there is no engine.
            let (code, _, stderr) = finished(&[command, name, "--connect", "127.0.0.1:1"]);
            assert_eq!(code, 2, "{command} {name:?}: {stderr}");
        }
    }
}

#[test]
fn a_standby_answers_while_the_first_one_is_gone_and_the_lists_show_its_tier() {
    let board = Board::new();
    let _standby = board.script(
        "f",
        &["--name", "standby", "--tier", "1"],
        "echo '\"standby\"'",
    );
    let answer = || board.call(&["f", "--wait"]).1;
    assert_eq!(answer(), "\"standby\"\n");
    let mut first = board.script("f", &["--name", "first"], "echo '\"first\"'");
    assert_eq!(answer(), "\"first\"\n");
    let (_, workers, _) = board.engine.run(&["workers"]);
    assert!(workers.contains("standby (tier 1) "), "{workers}");
    assert!(workers.contains("first  "), "{workers}");
    let (_, functions, _) = board.engine.run(&["functions"]);
    assert!(functions.contains("standby (tier 1), first"), "{functions}");
    let (_, workers, _) = board.engine.run(&["workers", "--json"]);
    let tier = |line: &str| {
        let worker: Value = serde_json::from_str(line).expect("JSON");
        (worker["name"].to_string(), worker["tier"].as_u64())
    };
    let tiers: Vec<_> = workers.lines().map(tier).collect();
    let expected = [
        ("\"standby\"".to_owned(), Some(1)),
        ("\"first\"".to_owned(), Some(0)),
    ];
    assert_eq!(tiers, expected);
    first.kill();
    until("the standby answers", || answer() == "\"standby\"\n");
}
