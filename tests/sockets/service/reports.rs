//! What the manager is told: ready, how much is on the board, that the loop turns, that it reloads, that
//! it stops.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use callboard::address::Address;
use rustix::time::{ClockId, clock_gettime};

use super::SERVE;
use super::notify_socket::NotifySocket;
use super::start::Start;
use crate::client::{Client, until};

#[test]
fn ready_is_told_once_it_listens_and_then_the_size_of_the_board() {
    let manager = NotifySocket::new();
    let mut engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .spawn();
    let empty = "STATUS=0 functions of 0 workers, 0 connections";
    assert_eq!(manager.next(), format!("READY=1\n{empty}"));
    let mut worker = Client::join(&engine.address(), "worker");
    worker.register(&["a", "b"]).unwrap();
    manager.hears("STATUS=2 functions of 1 worker, 1 connection");
    worker.finish();
    drop(worker);
    manager.hears(empty);
    engine.terminate();
}

#[test]
fn a_loop_that_turns_is_fed_even_if_nothing_happens() {
    let manager = NotifySocket::new();
    let _engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", &100_000)
        .shell("export WATCHDOG_PID=$$")
        .spawn();
    manager.hears("READY=1");
    for _ in 0..10 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
}

#[test]
fn a_loop_that_hangs_is_not_fed() {
    let manager = NotifySocket::new();
    let (mut reader, writer) = io::pipe().unwrap();
    let mut engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", &100_000)
        .stderr(writer)
        .spawn();
    manager.hears("READY=1");
    let address = {
        // Not all of it: the rest stays unread.
        let mut log = Vec::new();
        let mut byte = [0];
        while !log.ends_with(b"listening on ") {
            reader.read_exact(&mut byte).unwrap();
            log.push(byte[0]);
        }
        let mut address = String::new();
        while reader.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            address.push(char::from(byte[0]));
        }
        address.parse().unwrap()
    };
    manager.hears("WATCHDOG=1");
    // Each logs a line; the log is not read, and at last a write to it never returns. Then
    // they pile up, and where the kernel holds few of them the next one finds no place.
    for _ in 0..2000 {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            break;
        }
    }
    manager.hears_nothing_for(Duration::from_secs(2));
    assert!(engine.child.try_wait().unwrap().is_none(), "it only hangs");

    let log = std::thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        log.len()
    });
    manager.hears("WATCHDOG=1");
    engine.terminate();
    assert!(log.join().unwrap() > 64 * 1024, "what a pipe holds");
}

#[test]
fn a_watchdog_meant_for_another_process_is_ignored() {
    let manager = NotifySocket::new();
    let mut engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", &1000)
        .env("WATCHDOG_PID", &1)
        .spawn();
    manager.hears("READY=1");
    // A change of the board is told at the end of a turn, behind what feeds.
    let _worker = Client::join(&engine.address(), "worker");
    let status = manager.next();
    assert!(status.starts_with("STATUS="), "{status}");
    engine.terminate();
    assert!(!manager.rest().iter().any(|it| it.contains("WATCHDOG")));
}

#[test]
fn a_reload_is_told_with_its_time_and_ends_nothing() {
    let manager = NotifySocket::new();
    let mut engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .spawn();
    manager.hears("READY=1");
    let mut worker = Client::join(&engine.address(), "worker");
    worker.register(&["f"]).unwrap();
    for _ in 0..2 {
        let before = monotonic();
        engine.signal("HUP");
        let report = manager.hears("RELOADING=1\n");
        let at = report.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let at: i64 = at.expect("the time of the clock").parse().unwrap();
        assert!((before..=monotonic()).contains(&at), "{at}");
        manager.hears("READY=1\nSTATUS=1 function of 1 worker, 1 connection");
        assert!(worker.is_served());
    }
    engine.terminate();
}

#[test]
fn without_a_manager_a_hangup_ends_nothing_either() {
    let mut engine = Start::engine(SERVE).spawn();
    until("it listens", || !engine.addresses().is_empty());
    let mut worker = Client::join(&engine.address(), "worker");
    engine.signal("HUP");
    until("it has noticed", || {
        engine.log().contains("reload: no credentials file")
    });
    assert!(worker.is_served());
    engine.terminate();
}

#[test]
fn the_end_is_told_before_it_comes_with_the_time_that_it_may_take() {
    let manager = NotifySocket::new();
    let mut engine = Start::engine(&[SERVE, &["--linger", "1000"]].concat())
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", &100_000)
        .spawn();
    manager.hears("READY=1");
    let worker = Client::join(&engine.address(), "worker");
    engine.signal("TERM");
    let report = manager.hears("STOPPING=1\n");
    // Five seconds of --grace, one of --linger, and a margin.
    assert!(
        report.contains("\nEXTEND_TIMEOUT_USEC=11000000\n"),
        "{report}"
    );
    // It has not ended yet, and says so: the worker has not hung up.
    manager.hears("WATCHDOG=1");
    drop(worker);
    assert_eq!(engine.end(), 0, "{}", engine.log());
    let rest = manager.rest();
    assert!(!rest.iter().any(|it| it.contains("READY")), "{rest:?}");
}

#[test]
fn a_manager_that_went_away_holds_the_engine_up_in_nothing() {
    let manager = NotifySocket::new();
    let mut engine = Start::engine(SERVE)
        .env("NOTIFY_SOCKET", &manager.path())
        .env("WATCHDOG_USEC", &2000)
        .spawn();
    manager.hears("READY=1");
    drop(manager);
    let address: Address = engine.address();
    let mut worker = Client::join(&address, "worker");
    assert!(worker.is_served());
    engine.terminate();
}

/// Microseconds of the clock that managers compare with.
fn monotonic() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
