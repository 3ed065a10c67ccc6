//! Instructions that the pure engine spends on a call, on a change for each watcher, and on a join, counted by
//! callgrind: a number that other work on the machine does not move. Each case runs twice under valgrind, with few and with
//! many rounds; the difference, divided, is printed. Only what the engine is asked to do counts, not who asks.

#[path = "../../tests/fleet/mod.rs"]
mod fleet;
#[path = "../../tests/turn/mod.rs"]
mod turn;

use std::process::{Command, ExitCode};

use fleet::{Calls, Fleet, Gathered, hello, register, unregister};

/// Set for the process that is counted: a case and its rounds.
const ROLE: &str = "CALLBOARD_BENCH_ROLE";

/// Rounds of the two runs.
const FEW: u64 = 200;
const MANY: u64 = 1_200;

/// Watchers of the cases that have some.
const WATCHERS: usize = 1_000;

/// Functions on the board that is joined.
const BOARD: usize = 1_000;

/// Calls of one round of the gathered case.
const GATHERED: usize = 64;

/// What one round does, how many of these a round has, and what does it.
type Case = (&'static str, u64, fn(u64));

const CASES: [Case; 5] = [
    ("call, one in flight", 1, one_call),
    ("call, 64 gathered", GATHERED as u64, gathered_calls),
    ("change, nobody watches", 2, |rounds| changes(0, rounds)),
    (
        "change, for each of 1,000 watchers",
        2 * WATCHERS as u64,
        |rounds| {
            changes(WATCHERS, rounds / 10);
        },
    ),
    ("join, of a board of 1,000 functions", 1, joins),
];

fn one_call(rounds: u64) {
    let mut fleet = Fleet::with(10, 0);
    let mut calls = Calls::begin(&mut fleet, 1);
    for _ in 0..rounds {
        calls.turn(&mut fleet);
    }
}

fn gathered_calls(rounds: u64) {
    let mut fleet = Fleet::with(10, 0);
    let mut calls = Gathered::begin(&mut fleet, GATHERED);
    for _ in 0..rounds {
        calls.turn(&mut fleet);
    }
}

/// A function comes and goes.
fn changes(watchers: usize, rounds: u64) {
    let mut fleet = Fleet::with(10, watchers);
    let worker = fleet.join(&hello(false));
    let name = ["orders::new"];
    let (come, go) = (register(name.into_iter()), unregister(name.into_iter()));
    for _ in 0..rounds {
        fleet.say(worker, &come);
        fleet.say(worker, &go);
    }
}

/// A watcher connects, gets the snapshot, and is lost.
fn joins(rounds: u64) {
    let mut fleet = Fleet::with(BOARD, 0);
    let hello = hello(true);
    for _ in 0..rounds {
        let id = fleet.join(&hello);
        fleet.lose(id);
    }
}

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        let (case, rounds) = role.split_once(' ').expect("a case and its rounds");
        let case: usize = case.parse().expect("a number");
        CASES[case].2(rounds.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    println!("| | instructions |\n|---|---|");
    for (number, (what, parts, _)) in CASES.iter().enumerate() {
        let rounds = if what.contains("each of") {
            (MANY - FEW) / 10
        } else {
            MANY - FEW
        };
        let (Some(few), Some(many)) = (counted(number, FEW), counted(number, MANY)) else {
            eprintln!("valgrind is needed, with callgrind");
            return ExitCode::FAILURE;
        };
        println!("| {what} | {} |", (many - few) / rounds / parts);
    }
    ExitCode::SUCCESS
}

/// Instructions of a case within what the fleet hands to the engine.
fn counted(case: usize, rounds: u64) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*Fleet*say*")
        .arg(this)
        .env(ROLE, format!("{case} {rounds}"))
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}
