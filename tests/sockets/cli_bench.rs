//! `callboard bench` from outside: the real binary against a real engine, with counts so small that a run takes no
//! time. Looks at what is counted, what is left behind and how it ends; no time decides anything.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::running::{Engine, Running};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/CLI.md");

/// Longer than any test waits: what ends by a count or by a signal is not to end by its time.
const LONG: &str = "3600";

/// An engine with these flags, on a free port unless they say otherwise.
struct Limited {
    process: Running,
    address: String,
}

impl Limited {
    fn start(flags: &[&str]) -> Self {
        let mut arguments = vec!["serve"];
        if !flags.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        arguments.extend(flags);
        let mut process = Running::start(&arguments);
        let line = process.error("listening on ");
        let address = line.split("listening on ").nth(1).expect("an address");
        Self {
            address: address.to_owned(),
            process,
        }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        crate::running::finished(&[arguments, &["--connect", &self.address]].concat())
    }
}

/// The reports of a run that comes to a good end.
fn measured(engine: &Engine, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["bench"], arguments, &["--seconds", LONG, "--json"]].concat();
    reports(engine.run(&arguments))
}

fn reports((code, stdout, stderr): (i32, String, String)) -> Vec<Value> {
    assert_eq!(code, 0, "{stderr}");
    let read = |line| serde_json::from_str(line).expect("a line of JSON");
    let reports: Vec<Value> = stdout.lines().map(read).collect();
    assert!(!reports.is_empty(), "{stderr}");
    reports
}

fn count(report: &Value, key: &str) -> u64 {
    let value = report.pointer(key).expect(key);
    value.as_u64().expect(key)
}

/// The keys that the page lists for a kind, those of all kinds included.
fn documented(kind: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let work = ["all", "work", kind];
    let names = if kind == "idle" {
        &["all", kind][..]
    } else {
        &work
    };
    for name in names {
        let mark = format!("<!-- keys of bench {name} -->\n");
        let (_, table) = PAGE.split_once(&mark).expect(&mark);
        let table = table.split("\n\n").next().expect("its end");
        for line in table.lines().skip(2) {
            let cell = line.trim_matches('|').split('|').next().expect("a cell");
            keys.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    keys
}

fn assert_documented(kind: &str, report: &Value) {
    let keys: BTreeSet<String> = report
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, documented(kind), "{kind}");
}

fn assert_nothing_is_left(engine: &Engine) {
    let (code, stdout, stderr) = engine.run(&["functions", "--namespace", "bench", "--json"]);
    assert_eq!((code, &*stdout), (0, ""), "{stderr}");
    let (_, stats, _) = engine.run(&["stats", "--json"]);
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(count(&stats, "/functions"), 0);
}

#[test]
fn fanout_tells_each_watcher_each_change_once() {
    let engine = Engine::start();
    let run = [
        "fanout",
        "--watchers",
        "5",
        "--stalled",
        "2",
        "--workers",
        "3",
        "--functions",
        "25",
        "--payload",
        "100",
        "--count",
        "40",
    ];
    let [report] = &measured(&engine, &run)[..] else {
        panic!("one report");
    };
    assert_documented("fanout", report);
    assert_eq!(report["bench"], "fanout");
    assert_eq!(report["address"], engine.address);
    assert_eq!(report["namespace"], "bench");
    assert_eq!(count(report, "/engine_pid"), u64::from(engine.process.id()));
    assert_eq!(count(report, "/changes"), 40);
    assert_eq!(count(report, "/entries"), 40 * 5);
    assert_eq!(count(report, "/foreign_entries"), 0);
    for (times, wanted) in [
        ("first_us", 40),
        ("median_us", 40),
        ("last_us", 40),
        ("answer_us", 40),
        ("each_us", 200),
    ] {
        assert_eq!(count(report, &format!("/{times}/count")), wanted, "{times}");
    }
    // What the engine itself counted agrees.
    assert_eq!(count(report, "/engine_work/revisions"), 40);
    assert_eq!(count(report, "/engine_work/encodings"), 40);
    for used in ["engine_cpu_seconds", "load_cpu_seconds"] {
        assert!(report[used].as_f64().expect("known") > 0.0, "{used}");
    }
    assert_eq!(report["stopped"], false);
    assert_nothing_is_left(&engine);
}

#[test]
fn fanout_takes_its_functions_off_the_board_when_they_become_many() {
    let engine = Engine::start();
    let run = [
        "fanout",
        "--watchers",
        "2",
        "--workers",
        "40",
        "--count",
        "2020",
    ];
    let report = &measured(&engine, &run)[0];
    assert_eq!(count(report, "/changes"), 2020);
    assert_eq!(count(report, "/entries"), 4040);
    assert_nothing_is_left(&engine);
}

#[test]
fn churn_tells_each_watcher_each_change_however_many_are_under_way() {
    let engine = Engine::start();
    let run = [
        "churn",
        "--watchers",
        "4",
        "--workers",
        "3",
        "--pipeline",
        "8",
        "--count",
        "9000",
    ];
    let reports = measured(&engine, &run);
    let patterns: Vec<&Value> = reports.iter().map(|report| &report["pattern"]).collect();
    assert_eq!(patterns, ["distinct", "toggle", "single"]);
    for report in &reports {
        assert_documented("churn", report);
        assert_eq!(count(report, "/changes"), 9000);
        assert_eq!(count(report, "/answer_us/count"), 9000);
        let entries = count(report, "/entries");
        if report["pattern"] == "toggle" {
            // Rows of zeros are left out; each watcher is told of something.
            assert!((4..=4 * 9000).contains(&entries), "{entries}");
            assert_eq!(count(report, "/pipeline"), 9);
        } else {
            assert_eq!(entries, 4 * 9000, "{}", report["pattern"]);
        }
    }
    assert_eq!(reports[1]["workers"], 1);
    assert_eq!(reports[2]["pipeline"], Value::Null);
    // It works without watchers.
    let run = [
        "churn",
        "--watchers",
        "0",
        "--pattern",
        "distinct",
        "--count",
        "50",
    ];
    let report = &measured(&engine, &run)[0];
    assert_eq!(
        (count(report, "/changes"), count(report, "/entries")),
        (50, 0)
    );
    assert_nothing_is_left(&engine);
}

#[test]
fn join_gives_every_newcomer_the_whole_board() {
    let engine = Engine::start();
    let run = [
        "join",
        "--functions",
        "2500",
        "--workers",
        "60",
        "--count",
        "7",
    ];
    let reports = measured(&engine, &run);
    let [single, storm] = &reports[..] else {
        panic!("two reports");
    };
    assert_documented("join single", single);
    assert_documented("join storm", storm);
    assert_eq!(single["pattern"], "single");
    assert_eq!(count(single, "/joins"), 7);
    assert_eq!(count(single, "/entries"), 7 * 2500);
    assert_eq!(count(single, "/synced_us/count"), 7);
    assert_eq!(count(single, "/engine_work/resyncs"), 7);
    assert_eq!(storm["pattern"], "storm");
    assert_eq!(count(storm, "/joins"), 60);
    assert_eq!(count(storm, "/entries"), 60 * 2500);
    for times in ["welcome_us", "synced_us", "registered_us"] {
        assert_eq!(count(storm, &format!("/{times}/count")), 60, "{times}");
    }
    assert!(storm["engine_memory_growth"].is_u64());
    assert_nothing_is_left(&engine);
}

#[test]
fn every_call_is_answered_once() {
    let engine = Engine::start();
    let run = [
        "call",
        "--connections",
        "3",
        "--providers",
        "2",
        "--payload",
        "2000",
        "--count",
        "500",
    ];
    let reports = measured(&engine, &run);
    let in_flight: Vec<&Value> = reports.iter().map(|report| &report["in_flight"]).collect();
    assert_eq!(in_flight, [1, 64]);
    let run = [
        "call",
        "--rate",
        "5000",
        "--connections",
        "3",
        "--count",
        "500",
    ];
    let paced = measured(&engine, &run);
    assert_eq!(paced[0]["rate"], 5000);
    assert_eq!(paced[0]["in_flight"], Value::Null);
    // More than sockets take at once, and no more than may wait for one who does not read (`--max-outbound`).
    let run = [
        "call",
        "--payload",
        "900000",
        "--in-flight",
        "4",
        "--count",
        "30",
    ];
    let large = measured(&engine, &run);
    assert_eq!(
        (count(&large[0], "/calls"), count(&large[0], "/results")),
        (30, 30)
    );
    for report in reports.iter().chain(&paced) {
        assert_documented("call", report);
        assert_eq!(count(report, "/calls"), 500);
        assert_eq!(count(report, "/results"), 500);
        assert_eq!(report["failures"], serde_json::json!({}));
        assert_eq!(count(report, "/latency_us/count"), 500);
        assert_eq!(count(report, "/service_us/count"), 500);
    }
    assert_nothing_is_left(&engine);
}

#[test]
fn idle_weighs_connections() {
    let engine = Engine::start();
    let arguments = ["bench", "idle", "--connections", "50", "--json"];
    let report = &reports(engine.run(&arguments))[0];
    assert_documented("idle", report);
    assert_eq!(count(report, "/connections"), 50);
    // The one that was there before is told as well.
    assert_eq!(count(report, "/entries"), 2 * 51);
    assert!(count(report, "/engine_memory_joined") > 0);
    assert!(report["bytes_per_connection"].is_number());
    assert_nothing_is_left(&engine);
}

#[test]
fn a_board_that_others_use_keeps_what_they_have() {
    let engine = Engine::start();
    let orders = engine.worker("orders-1");
    let mine = ["orders::create", "orders::cancel"].map(callboard::worker::Function::new);
    orders.register(mine).expect("registered");
    let (_, before, _) = engine.run(&["functions", "--json"]);
    assert_eq!(before.lines().count(), 2);
    let board = ["--namespace", "default", "--count", "3"];
    for run in [
        &["fanout", "--watchers", "3"][..],
        &["join", "--functions", "20", "--workers", "3"],
        &["churn", "--watchers", "3"],
    ] {
        for report in measured(&engine, &[run, &board].concat()) {
            assert_eq!(report["namespace"], "default");
        }
    }
    let (_, after, _) = engine.run(&["functions", "--json"]);
    assert_eq!(after, before);
}

#[test]
fn an_engine_without_file_descriptors_is_told_apart() {
    // It welcomes as many as it may open, and the others wait.
    let script = "ulimit -n 64; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut engine = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_callboard")])
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let log = BufReader::new(engine.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening on "));
    let line = line.expect("it listens");
    let address = line.split("listening on ").nth(1).expect("an address");
    let (code, _, stderr) = crate::running::finished(&[
        "bench",
        "fanout",
        "--connect",
        address,
        "--watchers",
        "200",
        "--timeout",
        "500ms",
    ]);
    engine.kill().expect("it runs");
    engine.wait().expect("it ends");
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("out of file descriptors"), "{stderr}");
}

#[test]
fn people_get_sentences_and_a_unix_socket_leads_to_the_engines_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = format!("unix:{}", folder.path().join("socket").display());
    let engine = Limited::start(&["--listen", &listen]);
    for (kind, part) in [
        ("fanout", "last watcher"),
        ("churn", "entries delivered per second"),
        ("join", "the board is there"),
        ("call", "round trip"),
    ] {
        let run = [
            "bench",
            kind,
            "--count",
            "5",
            "--seconds",
            LONG,
            "--payload",
            "10",
        ];
        let few: &[&str] = match kind {
            "join" => &["--functions", "30", "--workers", "4"],
            "call" => &[],
            _ => &["--watchers", "3"],
        };
        let (code, stdout, stderr) = engine.run(&[&run, few].concat());
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.starts_with(&format!("{kind}: ")), "{stdout}");
        assert!(stdout.contains(part), "{stdout}");
        let process = format!("the engine's process ({}) used", engine.process.id());
        assert!(stdout.contains(&process), "{stdout}");
    }
    let run = ["bench", "idle", "--connections", "3"];
    let (code, stdout, stderr) = engine.run(&run);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("PER CONNECTION"), "{stdout}");
}

#[test]
fn a_budget_that_set_the_pace_is_named() {
    let engine = Limited::start(&["--changes-per-second", "20"]);
    let run = [
        "bench",
        "fanout",
        "--watchers",
        "1",
        "--workers",
        "1",
        "--count",
        "25",
        "--seconds",
        LONG,
    ];
    let report = &reports(engine.run(&[&run[..], &["--json"]].concat()))[0];
    assert!(count(report, "/budget_met") > 0, "{report}");
    let (_, stdout, _) = engine.run(&run);
    assert!(stdout.contains("--changes-per-second 0"), "{stdout}");
    // Nothing to be named where it did not.
    let free = Limited::start(&["--changes-per-second", "0"]);
    let report = &reports(free.run(&[&run[..], &["--json"]].concat()))[0];
    assert_eq!(count(report, "/budget_met"), 0);
}

#[test]
fn ctrl_c_ends_it_with_a_report_and_nothing_left() {
    for (kind, what) in [
        ("fanout", "changes"),
        ("churn", "changes"),
        ("call", "calls"),
    ] {
        let engine = Engine::start();
        let mut arguments = vec!["bench", kind, "--seconds", LONG, "--json"];
        if kind != "call" {
            arguments.extend(["--watchers", "3"]);
        }
        let mut bench = engine.start_cli(&arguments);
        bench.error(what);
        bench.signal("INT");
        let report = bench.rest();
        assert_eq!(bench.wait(), 0);
        let [report] = &reports((0, report, String::new()))[..] else {
            panic!("one report");
        };
        assert_eq!(report["stopped"], true, "{kind}");
        assert_nothing_is_left(&engine);
    }
}

#[test]
fn an_engine_that_ends_meanwhile_is_exit_code_3() {
    for (signal, part) in [("KILL", "connection"), ("TERM", "about to stop")] {
        for kind in ["fanout", "churn", "call"] {
            let engine = Engine::start();
            let mut bench = engine.start_cli(&["bench", kind, "--seconds", LONG]);
            bench.error(if kind == "call" { "calls" } else { "changes" });
            engine.process.signal(signal);
            let stdout = bench.rest();
            let stderr = bench.all_errors();
            assert_eq!(bench.wait(), 3, "{kind}: {stderr}");
            assert_eq!(stdout, "", "{kind}");
            let last = stderr.lines().last().expect("an error");
            assert!(last.starts_with("callboard bench: "), "{stderr}");
            assert!(last.contains(part), "{kind}, {signal}: {stderr}");
        }
    }
}

#[test]
fn an_engine_that_stands_still_is_exit_code_3_after_the_timeout() {
    let engine = Engine::start();
    let mut bench = engine.start_cli(&["bench", "call", "--seconds", LONG, "--timeout", "300ms"]);
    bench.error("calls");
    engine.process.signal("STOP");
    let stderr = bench.all_errors();
    assert_eq!(bench.wait(), 3, "{stderr}");
    assert!(stderr.contains("the engine was silent"), "{stderr}");
}

#[test]
fn what_the_engine_refuses_is_exit_code_4_in_its_own_words() {
    for (limit, run, code) in [
        (
            ["--max-functions", "5"],
            &["join", "--functions", "20"][..],
            "too_many_functions",
        ),
        (
            ["--max-connections", "10"],
            &["fanout", "--watchers", "50"],
            "too_many_connections",
        ),
        (
            ["--max-payload", "100"],
            &["call", "--payload", "101"],
            "payload_too_large",
        ),
        (
            ["--max-entry", "100"],
            &["churn", "--payload", "101", "--watchers", "1"],
            "entry_too_large",
        ),
    ] {
        let engine = Limited::start(&limit);
        let (exit, stdout, stderr) = engine.run(&[&["bench"], run].concat());
        assert_eq!((exit, &*stdout), (4, ""), "{stderr}");
        assert!(stderr.contains(code), "{stderr}");
    }
}

#[test]
fn wrong_use_is_exit_code_2() {
    for (arguments, part) in [
        (&["bench"][..], "KIND is missing"),
        (
            &["bench", "speed"],
            "the kinds are fanout, churn, join, call, idle",
        ),
        (&["bench", "call", "x"], "unexpected argument `x`"),
        (
            &["bench", "call", "--watchers", "3"],
            "does not apply to `call`",
        ),
        (&["bench", "fanout", "--watchers", "0"], "from 1 to"),
        (
            &["bench", "churn", "--pattern", "storm"],
            "distinct, toggle or single",
        ),
        (
            &["bench", "call", "--rate", "9", "--in-flight", "3"],
            "together",
        ),
        (&["bench", "call", "--count", "0"], "at least 1"),
        (
            &["bench", "idle", "--engine-pid", "4294967295"],
            "no such process",
        ),
    ] {
        let (code, stdout, stderr) = crate::running::finished(arguments);
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}

#[test]
fn file_descriptors_are_raised_to_the_hard_limit_and_no_further() {
    let engine = Engine::start();
    let run = |limit: &str, watchers: &str| {
        let command = format!(
            "{limit}; exec \"$0\" bench fanout --connect {} --watchers {watchers} --count 3 --seconds {LONG} --json",
            engine.address
        );
        let output = Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_callboard")])
            .output();
        output.expect("a shell")
    };
    let done = run("ulimit -Sn 64", "100");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{stderr}");
    let refused = run("ulimit -n 64", "100");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("file descriptors are needed"), "{stderr}");
    assert!(stderr.contains("may open only 64"), "{stderr}");
}
