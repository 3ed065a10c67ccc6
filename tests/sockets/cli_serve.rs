//! `callboard serve` and the flags that change how its loop works: what it says of itself, and that it ends when it is
//! told to, whatever it is doing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::running::{Running, finished};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine with these flags, and where it listens.
fn serve(flags: &[&str]) -> (Running, String) {
    crate::running::serve("127.0.0.1:0", flags).expect("a free port")
}

#[test]
fn an_engine_that_spins_ends_when_it_is_told_to() {
    for flags in [&["--spin"][..], &["--spin-for", "1000000"]] {
        for signal in ["TERM", "INT"] {
            let (mut engine, address) = serve(flags);
            let mut workers = Running::start(&["watch", "--connect", &address]);
            workers.line("watching");
            engine.signal(signal);
            workers.line("lost: ");
            assert_eq!(engine.wait(), 0, "{flags:?} {signal}");
            let said = engine.all_errors();
            assert!(
                said.contains("shutting down: draining 1 connections"),
                "{said}"
            );
            assert!(said.ends_with("stopped"), "{said}");
        }
    }
}

#[test]
fn an_engine_that_spins_answers_a_drain_and_reloads() {
    let (mut engine, address) = serve(&["--spin"]);
    engine.signal("HUP");
    engine.error("reload: no credentials file");
    let (code, stdout, stderr) = finished(&["functions", "--connect", &address]);
    assert_eq!(code, 0, "{stdout} {stderr}");
    engine.signal("TERM");
    assert_eq!(engine.wait(), 0);
}

#[test]
fn with_stats_every_the_loop_says_what_it_does_that_often() {
    let (mut engine, address) = serve(&["--stats-every", "1"]);
    let (code, _, stderr) = finished(&["functions", "--connect", &address]);
    assert_eq!(code, 0, "{stderr}");
    for _ in 0..2 {
        let line = engine.error("turns, ");
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |unit: &str| -> u64 {
            let at = words
                .iter()
                .position(|word| word.trim_end_matches([',', ';']) == unit);
            let at = at.unwrap_or_else(|| panic!("no {unit}: {line}"));
            words[at - 1].parse().unwrap_or_else(|_| panic!("{line}"))
        };
        assert!(number("s:") >= 1, "{line}");
        assert!(number("turns") >= 1, "{line}");
        for part in ["frames read", "bytes written", "p50/p99/max"] {
            assert!(line.contains(part), "{line}");
        }
    }
    engine.signal("TERM");
    assert_eq!(engine.wait(), 0);
}

#[test]
fn without_stats_every_it_says_nothing_of_the_kind() {
    let (mut engine, _) = serve(&["--stats-every", "0"]);
    engine.signal("TERM");
    assert_eq!(engine.wait(), 0);
    assert!(!engine.all_errors().contains(" turns, "));
}

/// What a file holds, once it is there.
fn written(file: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::fs::read_to_string(file) {
            Ok(text) => return text,
            Err(error) => assert!(Instant::now() < deadline, "{}: {error}", file.display()),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_port_file_tells_where_it_listens_whatever_the_log_level() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, socket) = (folder.path().join("port"), folder.path().join("socket"));
    let (file_text, socket_text) = (file.to_str().unwrap(), socket.to_str().unwrap());
    let listen = format!("unix:{socket_text}");
    let flags = ["--listen", "127.0.0.1:0", "--listen", &listen];
    let flags = [&flags[..], &["--log", "error", "--port-file", file_text]].concat();
    for _ in 0..2 {
        let mut engine = Running::start(&[&["serve"], &flags[..]].concat());
        let text = written(&file);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            text.ends_with('\n') && lines[0].starts_with("127.0.0.1:"),
            "{text}"
        );
        assert!(!lines[0].ends_with(":0"), "{text}");
        assert_eq!(lines[1], listen);
        for address in &lines {
            let (code, _, stderr) = finished(&["functions", "--connect", address]);
            assert_eq!(code, 0, "{stderr}");
        }
        engine.signal("TERM");
        assert_eq!(engine.wait(), 0);
        assert_eq!(engine.all_errors(), "");
        // Nothing is left of it, not even of the writing.
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0);
    }
}

#[test]
fn a_port_file_of_a_killed_engine_is_replaced_and_that_of_another_one_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("port");
    let flags = ["--port-file", file.to_str().unwrap()];
    let (mut killed, first) = serve(&flags);
    assert_eq!(written(&file), format!("{first}\n"));
    killed.kill();
    assert_eq!(written(&file), format!("{first}\n"));
    let (mut engine, second) = serve(&flags);
    let deadline = Instant::now() + PATIENCE;
    while written(&file) != format!("{second}\n") {
        assert!(Instant::now() < deadline);
    }
    // One that cannot listen touches no file.
    let taken = ["serve", "--listen", &second, flags[0], flags[1]];
    assert_eq!(finished(&taken).0, 5);
    assert_eq!(written(&file), format!("{second}\n"));
    // The file is of another engine by now.
    std::fs::write(&file, "127.0.0.1:1\n").expect("written");
    engine.signal("TERM");
    assert_eq!(engine.wait(), 0);
    assert_eq!(written(&file), "127.0.0.1:1\n");
}

#[test]
fn a_port_file_that_cannot_be_written_ends_it_with_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let file = folder.path().join("no/such/folder");
    let flags = ["--listen", &listen, "--port-file", file.to_str().unwrap()];
    let (code, _, stderr) = finished(&[&["serve"], &flags[..]].concat());
    assert_eq!(code, 1, "{stderr}");
    let error = stderr.lines().last().expect("an error");
    assert!(error.contains("no/such/folder"), "{stderr}");
    assert!(!socket.exists());
}
