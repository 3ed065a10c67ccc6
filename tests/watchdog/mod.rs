//! A watchdog over the run of one seed: a run that takes so long hangs, and nothing else would say which. It names test
//! and seed and ends the whole test program, since a thread that hangs cannot be ended alone. It decides no test that
//! goes on.

#![allow(dead_code, reason = "each user has its own part")]

use std::io::{self, Write};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// Sets another time, in seconds.
pub(crate) const VARIABLE: &str = "CALLBOARD_SEED_SECONDS";

/// A seed takes well under a second, two or three without optimisation on a busy machine.
const SECONDS: u64 = 60;

/// As that of a test program of which a test failed.
const EXIT_CODE: i32 = 101;

/// Lives as long as the run that it watches.
pub(crate) struct Watchdog(Sender<()>);

impl Watchdog {
    /// Watches a seed of a test of a test program.
    pub(crate) fn over(program: &'static str, test: &'static str, seed: u64) -> Self {
        let seconds = std::env::var(VARIABLE).ok();
        let seconds = seconds.map_or(SECONDS, |it| it.parse().expect("a number of seconds"));
        let (alive, ended) = mpsc::channel();
        thread::spawn(move || {
            let word = ended.recv_timeout(Duration::from_secs(seconds));
            if word == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln`: the harness would keep it for the end of the test.
                let _ = writeln!(
                    io::stderr(),
                    "\ntest {test} hangs: seed {seed} has not ended after {seconds} s\n\
                     run it again: CALLBOARD_SEEDS={seed}..{} cargo test --test {program} {test}",
                    seed + 1
                );
                process::exit(EXIT_CODE);
            }
        });
        Self(alive)
    }
}

/// Seeds, each of which is watched until the next one is taken.
pub(crate) fn over(
    program: &'static str,
    test: &'static str,
    seeds: impl Iterator<Item = u64>,
) -> impl Iterator<Item = u64> {
    let mut watchdog = None;
    seeds.inspect(move |&seed| {
        watchdog.replace(Watchdog::over(program, test, seed));
    })
}
