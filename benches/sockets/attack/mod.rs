//! Attacks by many peers that all keep to the protocol, and a bystander who measures how it fares meanwhile: one who is
//! another user, and one who is the same. The engine is a binary with its default limits, fresh for each run, on one
//! processor; attackers, in a process of their own, and the bystander share the other.

mod bystander;
mod crowds;
mod floods;
mod ground;
mod hoards;
mod lanes;
mod link;
mod options;
mod plan;
mod report;
mod row;
mod steps;
mod target;
mod user;
mod verdict;

use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use self::bystander::{Bystander, Measured};
use self::ground::Ground;
use self::lanes::{Crowd, Tally};
use self::options::Options;
use self::report::{Report, Run};
use self::row::{ROWS, Row};
use self::target::Target;
use self::user::User;
use crate::process::{self, Process};

/// The attackers' role: `row=… n=… address=…`.
pub(super) const ROLE: &str = "attackers";

/// The bystander measures the idle engine for so long.
const IDLE: Duration = Duration::from_secs(2);

/// What the bystander waits at the end for what is still open, and the operator for the counters after that.
const PATIENCE: Duration = Duration::from_secs(8);

/// From one reload to the next.
const RELOAD_EVERY: Duration = Duration::from_millis(500);

/// The bystander's threads come first where both want the processor.
const NICE: i32 = 10;

/// Descriptors that a process needs beside those of the attackers.
const DESCRIPTORS: usize = 500;

pub(super) fn bench(words: &[String]) -> ExitCode {
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    for &row in &options.rows {
        for n in options.counts(row) {
            process::require_descriptors((n + DESCRIPTORS) as u64);
            for &same in &options.users {
                let (engine, length) = (options.engine.clone(), options.length);
                // Pinning is for the rest of a thread's life, and one run that fails is not the end.
                let running = thread::spawn(move || run(row, n, same, &engine, length));
                match running.join() {
                    Ok(run) => report.add(row, run),
                    Err(_) => eprintln!("{} with {n}: not measured", row.name),
                }
            }
        }
    }
    print!("{report}");
    ExitCode::SUCCESS
}

fn run(row: &Row, n: usize, same: bool, engine: &std::path::Path, length: Duration) -> Run {
    process::pin(false);
    let target = Target::start(engine, row.reloads);
    let user = if same {
        User::Attacker
    } else {
        User::Bystander
    };
    let mut bystander =
        Bystander::join(&target.address, user, !row.reloads).expect("an idle engine admits it");
    let idle = bystander.measure(IDLE, PATIENCE);
    let role = format!("{ROLE} row={} n={n} address={}", row.name, target.address);
    let beginning = Instant::now();
    let mut attackers = set_up(&role, &mut bystander);
    let prepared = beginning.elapsed();
    let before = target.longest_turn(PATIENCE).expect("it is idle");
    let (processor, began) = (target.processor(), Instant::now());
    attackers.ask();
    let attacked = attack(row, &target, &mut bystander, length);
    let took = began.elapsed().as_secs_f64();
    let now = target.processor();
    let [busy, withheld] =
        [0, 1].map(|which| now[which].saturating_sub(processor[which]).as_secs_f64() / took);
    let after = target.longest_turn(PATIENCE);
    let [peak, _] = target.memory();
    let tally = attackers.ask();
    eprintln!(
        "{} with {n}, {}: set up in {prepared:.1?}, p99 {:.1?} (idle {:.1?}); engine {:.0} %, withheld {:.0} %; attackers: {tally}",
        row.name,
        if same { "same user" } else { "another user" },
        Duration::from_nanos(attacked.calls.value_at_quantile(0.99)),
        Duration::from_nanos(idle.calls.value_at_quantile(0.99)),
        100.0 * busy,
        100.0 * withheld,
    );
    Run {
        n,
        same,
        idle,
        attacked,
        busy,
        withheld,
        turn: after.map(|after| (after, after > before)),
        peak,
    }
}

/// Starts the attackers' process, while the bystander lives.
fn set_up(role: &str, bystander: &mut Bystander) -> Process {
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| bystander.live(&over));
        let started = catch_unwind(|| Process::start(role));
        over.store(true, Ordering::Relaxed);
        started.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// What the bystander measures meanwhile.
fn attack(row: &Row, target: &Target, bystander: &mut Bystander, length: Duration) -> Measured {
    let over = AtomicBool::new(!row.reloads);
    let mut reloader = target.reloader();
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                reloader.reload();
                thread::sleep(RELOAD_EVERY);
            }
        });
        let measured = bystander.measure(length, PATIENCE);
        over.store(true, Ordering::Relaxed);
        measured
    })
}

/// The attackers' process. Says that all is set up, begins when it is asked, and says how it goes when it is asked
/// again.
pub(super) fn serve(role: &str) -> ExitCode {
    process::pin(false);
    let value = |name| process::values(role, name).next().expect("the whole role");
    let row = ROWS.iter().find(|row| row.name == value("row"));
    let scene = row.expect("a row").scene;
    let ground = Ground {
        address: value("address").to_owned(),
        n: value("n").parse().expect("a number"),
    };
    let (begin, told) = channel::<()>();
    let (ready, prepared) = channel::<()>();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let counted = Arc::clone(&tally);
    thread::spawn(move || {
        let crowd = Crowd::new(&ground.address, scene(&ground));
        ready.send(()).expect("somebody waits for it");
        if told.recv().is_ok() {
            // Of this thread only.
            rustix::process::nice(NICE).expect("it may be nicer");
            crowd.run(|now| {
                *counted.lock().expect("a tally") = now;
                false
            });
        }
    });
    prepared.recv().expect("the attack is set up");
    process::answer(&[], || answer(&begin, &tally));
    ExitCode::SUCCESS
}

fn answer(begin: &Sender<()>, tally: &Mutex<Tally>) -> String {
    // The first time it begins; after that, nobody receives.
    let _ = begin.send(());
    let tally = tally.lock().expect("a tally");
    format!(
        "{} bytes written, {} connects, {} lost",
        tally.written, tally.connected, tally.lost
    )
}
