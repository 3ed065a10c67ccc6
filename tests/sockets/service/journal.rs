//! What stands on standard error where that is the journal's, and where it is not.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use callboard::address::Address;
use callboard::protocol::{Call, Text};

use super::SERVE;
use super::start::Start;
use crate::client::{Client, until};

/// What JOURNAL_STREAM says of this file.
fn stream(file: &tempfile::NamedTempFile) -> String {
    let found = file.as_file().metadata().unwrap();
    format!("{}:{}", found.dev(), found.ino())
}

#[test]
fn lines_for_the_journal_say_how_grave_they_are() {
    let journal = tempfile::NamedTempFile::new().unwrap();
    let read = || std::fs::read_to_string(journal.path()).unwrap();
    let mut engine = Start::engine(SERVE)
        .env("JOURNAL_STREAM", &stream(&journal))
        .stderr(journal.reopen().unwrap())
        .spawn();
    until("it listens", || read().contains("listening on"));
    engine.terminate();
    let log = read();
    assert!(log.starts_with("<6>callboard "), "{log}");
    for line in log.lines() {
        assert!(line.starts_with("<6>"), "{line}");
        assert!(!line.contains("INFO"), "the journal has that: {line}");
    }
}

#[test]
fn why_it_does_not_start_is_an_error_in_the_journal() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let journal = tempfile::NamedTempFile::new().unwrap();
    let mut engine = Start::engine(&["serve", "--log", "off", "--listen", &address])
        .env("JOURNAL_STREAM", &stream(&journal))
        .stderr(journal.reopen().unwrap())
        .spawn();
    assert_eq!(engine.end(), 5);
    let log = std::fs::read_to_string(journal.path()).unwrap();
    assert!(log.starts_with("<3>callboard serve: "), "{log}");
}

#[test]
fn the_variable_alone_makes_no_journal() {
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let mut engine = Start::engine(SERVE)
        .env("JOURNAL_STREAM", &stream(&elsewhere))
        .spawn();
    until("it listens", || !engine.addresses().is_empty());
    engine.terminate();
    assert!(engine.log().contains("INFO"), "{}", engine.log());
    assert!(!engine.log().contains("<6>"), "{}", engine.log());
}

#[test]
fn the_log_says_who_commands_and_why_a_worker_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = format!("unix:{}", path.display());
    // This user owns the socket, and may command.
    let mut engine = Start::engine(&["serve", "--listen", &listen]).spawn();
    until("it listens", || engine.log().contains("listening on"));
    let address = Address::Unix(path);
    let mut worker = Client::join(&address, "useful");
    worker.register(&["f", "g"]).unwrap();
    let mut commander = Client::join(&address, "commander");
    let drain = Call {
        id: 7,
        function: Text("engine::drain"),
        ..Call::default()
    };
    commander.send(&drain.to_frame());
    for client in [&mut worker, &mut commander] {
        assert_eq!(client.goodbye().0, "shutting_down");
        client.finish();
    }
    assert_eq!(engine.end(), 0);
    let log = engine.log();
    let has = |words: &[&str]| {
        let mut lines = log.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(has(&["\"commander\"", "calls engine::drain"]), "{log}");
    let removed = [
        "closed: shutting_down",
        "removed worker",
        "\"useful\" with 2 functions",
    ];
    assert!(has(&removed), "{log}");
}
