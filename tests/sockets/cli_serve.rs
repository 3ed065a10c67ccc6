//! `callboard serve` and the flags that change how its loop works: what it says of itself, and that it ends when it is
//! told to, whatever it is doing.

use crate::running::{Running, finished};

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
