//! `--timeout` is what counts: nothing within a command gives up before it, and nothing goes on behind it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callboard::protocol::{Bin, Text, Welcome, WelcomeOptions};

use crate::running::{Engine, Running, finished};

/// Longer than any time that the library takes by default.
const GIVEN: Duration = Duration::from_millis(6500);

/// By when a command has ended that was given so little time, whatever else the machine does.
const SOON: Duration = Duration::from_secs(4);

/// Runs commands side by side. Tells of each its exit code, its errors and how long it took.
fn run_all(commands: &[&[&str]], address: &str, timeout: &str) -> Vec<(i32, String, Duration)> {
    let started = commands.iter().map(|command| {
        let flags = ["--connect", address, "--timeout", timeout];
        let arguments: Vec<String> = [command, &flags[..]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
        thread::spawn(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let began = Instant::now();
            let mut running = Running::start(&arguments);
            running.feed(b"");
            let code = running.wait();
            (code, running.all_errors(), began.elapsed())
        })
    });
    let started: Vec<JoinHandle<_>> = started.collect();
    started
        .into_iter()
        .map(|it| it.join().expect("no panic"))
        .collect()
}

/// Accepts connections, and never says anything: the kernel does the former.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Welcomes each connection, and says nothing more. Returns where.
fn mute() -> String {
    let (listener, address) = silent();
    let welcome = Welcome {
        version: 1,
        worker: 1,
        engine: Text("mute"),
        epoch: 1,
        session: Bin(&[1; 16]),
        digest: Bin(&[1; 8]),
        ext: WelcomeOptions {
            ping_ms: 60_000,
            silence_ms: 60_000,
            ..WelcomeOptions::default()
        },
        ..Welcome::default()
    };
    let welcome = welcome.to_frame();
    thread::spawn(move || {
        for peer in listener.incoming() {
            let (mut peer, welcome) = (peer.expect("a connection"), welcome.clone());
            thread::spawn(move || {
                peer.read_exact(&mut [0; 4]).expect("HELLO");
                peer.write_all(&welcome).expect("written");
                let _ = peer.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

/// Runs all commands with a long and with a short timeout. Each waits for as long, and ends with this exit code.
fn assert_waits_as_long_as_it_is_given(commands: &[&[&str]], address: &str, expected: i32) {
    for (command, (code, errors, took)) in commands.iter().zip(run_all(commands, address, "6500ms"))
    {
        assert_eq!(code, expected, "{command:?}: {errors}");
        assert!(
            took >= GIVEN,
            "{command:?} gave up after {took:?}: {errors}"
        );
        assert!(took < GIVEN + SOON, "{command:?} took {took:?}: {errors}");
    }
    for (command, (code, errors, took)) in commands.iter().zip(run_all(commands, address, "200ms"))
    {
        assert_eq!(code, expected, "{command:?}: {errors}");
        assert!(took < SOON, "{command:?} took {took:?}: {errors}");
    }
}

#[test]
fn a_port_that_is_silent_is_waited_for_as_long_as_the_flag_says() {
    let commands: &[&[&str]] = &[
        &["call", "f"],
        &["cast", "f"],
        &["emit", "e"],
        &["stats"],
        &["functions"],
        &["workers"],
        &["watch"],
        &["kick", "x"],
        &["drain"],
        &["bind", "e", "f"],
        &["expose", "f"],
        &["bench", "call"],
    ];
    let (_held, address) = silent();
    assert_waits_as_long_as_it_is_given(commands, &address, 3);
}

#[test]
fn an_engine_that_does_not_answer_is_waited_for_as_long_as_the_flag_says() {
    let commands: &[&[&str]] = &[
        &["call", "f"],
        &["emit", "e"],
        &["stats"],
        &["kick", "x"],
        &["drain"],
    ];
    let address = mute();
    assert_waits_as_long_as_it_is_given(commands, &address, 7);
}

#[test]
fn a_silent_address_leaves_time_for_the_next_one() {
    let (_held, silent) = silent();
    let engine = Engine::start();
    let addresses = format!("{silent},{}", engine.address);
    let (code, stdout, stderr) =
        finished(&["functions", "--connect", &addresses, "--timeout", "4s"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("The board is empty"), "{stdout}");
}
