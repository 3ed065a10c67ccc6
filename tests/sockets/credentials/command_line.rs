//! The commands: making and checking tokens, and what those who may not see everything are shown.

use serde_json::Value;

use super::guarded_engine::{GuardedEngine, god, principal, write_guarded};
use crate::running::{Running, finished};

#[test]
fn a_token_that_was_made_opens_what_its_lines_in_the_file_say() {
    let (code, stdout, stderr) = finished(&["token", "new", "--principal", "orders"]);
    assert_eq!((code, &*stderr), (0, ""));
    let (token, lines) = stdout.split_once('\n').unwrap();
    assert!(token.starts_with("cbt_") && token.len() == 68, "{token}");
    assert!(
        lines.starts_with("[principals.orders]\ntokens = [\"sha256:"),
        "{lines}"
    );
    assert!(!lines.contains(token));
    let (_, other, _) = finished(&["token", "new"]);
    assert!(!other.starts_with(token), "each is another one");
    let rights = "call = [\"pay::\"]\nobserve = [\"\"]\ndeny.call = [\"pay::refund\"]\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    write_guarded(&file, &format!("{lines}{rights}"));
    let file = file.to_str().unwrap();
    let check = |rest: &[&str]| {
        let arguments = [
            &["token", "check", "--credentials", file, "--token-file", "-"],
            rest,
        ]
        .concat();
        let mut running = Running::start(&arguments);
        running.feed(format!("{token}\n").as_bytes());
        let stdout = running.rest();
        let stderr = running.all_errors();
        (running.wait(), stdout, stderr)
    };
    let (code, stdout, _) = check(&[]);
    assert_eq!(code, 0);
    for line in [
        "principal  orders\n",
        "namespace  default\n",
        "call       pay::*, but not pay::refund*\n",
        "observe    everything\n",
        "admin      nothing\n",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
    assert_eq!(check(&["call", "pay::charge"]).0, 0);
    let (code, stdout, stderr) = check(&["call", "pay::refund"]);
    assert_eq!((code, &*stdout), (4, ""));
    assert!(
        stderr.contains("`orders` may not call `pay::refund`"),
        "{stderr}"
    );
    assert_eq!(check(&["steal", "pay::refund"]).0, 2);
    assert_eq!(check(&["call"]).0, 2);
    let (_, stdout, _) = check(&["call", "pay::charge", "--json"]);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["allowed"], &told["principal"]),
        (&Value::from(true), &Value::from("orders"))
    );
    assert_eq!(told["call"]["deny"][0], "pay::refund");
    let (_, stdout, _) = finished(&["token", "new", "--json"]);
    let unknown: Value = serde_json::from_str(&stdout).unwrap();
    let environment = [("CALLBOARD_TOKEN", unknown["token"].as_str().unwrap())];
    let arguments = ["token", "check", "--credentials", file];
    let mut running = Running::start_with(&arguments, &environment);
    assert_eq!(running.wait(), 4);
    assert!(running.all_errors().contains("does not contain this token"));
}

#[test]
fn a_file_with_faults_is_told_fault_by_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.toml");
    write_guarded(
        &file,
        "[principals.a]\ncall = 1\n[principals.b]\nsee = []\n",
    );
    let arguments = ["token", "check", "--credentials", file.to_str().unwrap()];
    let mut running = Running::start_with(&arguments, &[("CALLBOARD_TOKEN", "x")]);
    assert_eq!(running.wait(), 2);
    let told = running.all_errors();
    assert!(told.contains("line 2: principal `a`: `call`"), "{told}");
    assert!(told.contains("line 4: principal `b`: `see`"), "{told}");
}

#[test]
fn no_command_shows_what_its_user_may_not_observe() {
    let narrow = "observe = [\"open::\"]\ncall = [\"open::\"]";
    let guarded = GuardedEngine::new(&(god() + &principal("x", narrow)));
    let mut open = guarded.start_cli("god", &["expose", "open::a", "--name", "both", "--", "cat"]);
    open.line("on the board");
    let mut closed = guarded.start_cli(
        "god",
        &["expose", "closed::a", "--name", "hidden", "--", "cat"],
    );
    closed.line("on the board");
    for command in ["functions", "workers"] {
        let (code, stdout, stderr) = guarded.run("x", &[command, "--json"]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("open::a"), "{stdout}");
        assert!(
            !stdout.contains("closed") && !stdout.contains("hidden"),
            "{stdout}"
        );
    }
    assert_eq!(
        guarded.run("x", &["call", "open::a", "1"]),
        (0, "1\n".into(), String::new())
    );
    let refused = |function: &str| {
        let (code, stdout, stderr) = guarded.run("x", &["call", function, "1"]);
        assert_eq!((code, &*stdout), (4, ""), "{stderr}");
        stderr.replace(function, "")
    };
    assert_eq!(refused("closed::a"), refused("closed::nothing"));
    let (code, _, stderr) = guarded.run("x", &["stats"]);
    assert_eq!(code, 4, "{stderr}");
}

#[test]
fn kicking_a_worker_and_draining_the_engine_need_the_right() {
    let mut guarded = GuardedEngine::new(&(god() + &principal("x", "register = [\"\"]")));
    let mut worker = guarded.start_cli("x", &["expose", "a::b", "--name", "w", "--", "cat"]);
    worker.line("on the board");
    for command in [&["kick", "w"][..], &["drain"]] {
        let (code, _, stderr) = guarded.run("x", command);
        assert_eq!(code, 4, "{command:?} {stderr}");
        assert!(stderr.contains("forbidden"), "{stderr}");
        assert!(stderr.contains("the right `admin`"), "{stderr}");
    }
    let (code, _, stderr) = guarded.run("god", &["kick", "nobody"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(guarded.run("god", &["kick", "w"]).0, 0);
    // The log says who did it, to whom.
    let line = guarded.engine.error("kicked 1 workers");
    for part in [
        "audit: 127.0.0.1:",
        "of principal \"god\"",
        "with the name \"w\"",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(worker.wait(), 4, "{}", worker.all_errors());
    assert_eq!(
        guarded.run("god", &["drain"]),
        (0, "the engine drains\n".into(), String::new())
    );
    assert_eq!(guarded.engine.wait(), 0);
}

#[test]
fn without_credentials_the_engine_is_commanded_by_its_owner_over_a_unix_socket_only() {
    let mut guarded = GuardedEngine::open();
    let (code, _, stderr) = finished(&["drain", "--connect", &guarded.address]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("over a Unix socket"), "{stderr}");
    let (code, _, stderr) = finished(&["stats", "--connect", &guarded.address]);
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = finished(&["drain", "--connect", &guarded.socket()]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(guarded.engine.wait(), 0);
}
