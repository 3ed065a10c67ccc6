//! The engine killed with -9 and started again under load, again and again: every worker comes back, every
//! call that may wait and may run twice succeeds, every other one reports whether it may have run, and none
//! hangs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use callboard::protocol::Executed;
use callboard::worker::{
    CallError, CallOptions, Context, Fault, Function, PendingCall, Status, Worker,
};

use crate::engine::{Engine, PATIENT};
use crate::machine::{alone, wanted};

const PROVIDERS: usize = 5;
const CALLERS: usize = 4;
const IN_FLIGHT: usize = 16;
/// Calls that are being run when the engine is killed, of each kind.
const GATED: usize = 8;
/// Calls that one caller makes at the most.
const CALLS: usize = 1 << 20;
/// Calls answered between two deaths, at the least.
const BETWEEN: u64 = 500;
/// Longer than any of this takes; the calls have less.
const PATIENCE: Duration = Duration::from_secs(180);
const TIME: Duration = Duration::from_secs(120);

#[test]
fn an_engine_killed_twice_under_load_loses_no_call_that_may_wait() {
    killed(2);
}

#[test]
#[ignore = "heavy: the engine dies again and again"]
fn an_engine_killed_again_and_again_under_load_loses_no_call_that_may_wait() {
    let _alone = alone();
    killed(wanted("CALLBOARD_DEATHS", 12) as usize);
}

fn killed(deaths: usize) {
    let mut engine = Engine::start(15, PATIENT);
    let stage = Arc::new(Stage::default());
    let providers: Vec<Worker> = (0..PROVIDERS)
        .map(|n| provider(&engine, n, &stage))
        .collect();
    let observer = worker(&engine, "observer");
    let (tell, ended) = mpsc::channel();
    for which in 0..CALLERS {
        let (worker, stage) = (worker(&engine, "caller"), Arc::clone(&stage));
        let tell = tell.clone();
        thread::spawn(move || {
            let counts = call_on(&worker, which, &stage);
            tell.send(counts).expect("somebody waits for it");
        });
    }
    drop(tell);
    let gated = worker(&engine, "gated");
    for death in 0..deaths {
        all_back(&engine);
        let before = stage.answered.load(Ordering::Acquire);
        crate::client::until("calls are answered", || {
            stage.answered.load(Ordering::Acquire) >= before + BETWEEN
        });
        let held = stage.hold(&gated);
        engine.kill();
        if death % 2 == 1 {
            // Long enough for every peer to notice, and to find no engine there.
            observer
                .board()
                .wait_until(PATIENCE, |_| {
                    !matches!(observer.status(), Status::Connected(_))
                })
                .expect("it notices");
        }
        engine.restart();
        stage.let_go(held);
    }
    all_back(&engine);
    stage.over.store(true, Ordering::Release);
    let mut counts = BTreeMap::new();
    for _ in 0..CALLERS {
        let ends = ended.recv_timeout(PATIENCE).expect("nobody hangs");
        for (end, count) in ends {
            *counts.entry(end).or_insert(0) += count;
        }
    }
    println!("{deaths} deaths; calls by their end: {counts:?}");
    crate::client::until("nothing is left in flight", || engine.count("calls") == 0);
    for runs in stage.runs.iter().flat_map(|runs| runs.iter().enumerate()) {
        let (n, runs) = (runs.0, runs.1.load(Ordering::Acquire));
        assert!(
            runs <= 1 || kind(n) == Kind::Safe,
            "call {n} ran {runs} times"
        );
    }
    drop((providers, gated));
}

fn worker(engine: &Engine, name: &str) -> Worker {
    let builder = Worker::builder(name).addresses([engine.address()]);
    builder.connect(PATIENCE).expect("a connection")
}

/// All providers are on the board again: each registers its functions as one batch.
fn all_back(engine: &Engine) {
    crate::client::until("every worker is back", || {
        engine.count("functions") == 2 + PROVIDERS as u64
    });
}

/// What callers and providers share, to compare what ended how with what ran how often.
struct Stage {
    /// How often each call of each caller was run.
    runs: Vec<Vec<AtomicU32>>,
    answered: AtomicU64,
    over: AtomicBool,
    gate: Gate,
}

impl Default for Stage {
    fn default() -> Self {
        let counters = || (0..CALLS).map(|_| AtomicU32::new(0)).collect();
        Self {
            runs: (0..CALLERS).map(|_| counters()).collect(),
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
            gate: Gate::default(),
        }
    }
}

/// Holds calls while they are being run.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    /// Calls of earlier rounds are let through.
    round: u64,
    /// Calls of this round that are being run.
    inside: usize,
}

fn provider(engine: &Engine, n: usize, stage: &Arc<Stage>) -> Worker {
    let builder = Worker::builder(format!("provider {n}")).addresses([engine.address()]);
    let builder = builder.threads(4 * GATED);
    let provider = builder.connect(PATIENCE).expect("a connection");
    let running = Arc::clone(stage);
    let work = Function::new("work").handler(move |_: &Context, (which, n): (usize, usize)| {
        running.runs[which][n].fetch_add(1, Ordering::AcqRel);
        Ok::<_, Fault>(answer(which, n))
    });
    let held = Arc::clone(stage);
    let gate = Function::new("gate").handler(move |_: &Context, round: u64| {
        held.gate.pass(round);
        Ok::<_, Fault>(round)
    });
    let own = Function::new(format!("provider::{n}")).handler(|_: &Context, (): ()| Ok(()));
    provider.register([work, gate, own]).expect("it is legal");
    provider
}

/// What only this call is answered with.
fn answer(which: usize, n: usize) -> String {
    format!("{which}/{n}: {}", (which + 1) * (n + 7))
}

impl Gate {
    fn pass(&self, round: u64) {
        let mut state = self.state.lock().unwrap();
        if round == state.round {
            state.inside += 1;
            self.changed.notify_all();
        }
        let open = |state: &mut GateState| round >= state.round;
        let waited = self
            .changed
            .wait_timeout_while(state, PATIENCE, open)
            .unwrap();
        assert!(!waited.1.timed_out(), "the gate stays shut");
    }
}

/// Calls that are being run, the second of each pair may run again.
type Held = Vec<(PendingCall, PendingCall)>;

impl Stage {
    /// Begins calls and waits until all of them are being run.
    fn hold(&self, worker: &Worker) -> (u64, Held) {
        let round = self.gate.state.lock().unwrap().round;
        let round_bytes = rmp_serde::to_vec(&round).unwrap();
        let once = CallOptions::new().timeout(TIME).wait();
        let again = once.clone().idempotent();
        let begin = |options| {
            worker
                .begin_raw("gate", round_bytes.clone(), options)
                .unwrap()
        };
        let held = (0..GATED).map(|_| (begin(&once), begin(&again))).collect();
        let state = self.gate.state.lock().unwrap();
        let short = |state: &mut GateState| state.inside < 2 * GATED;
        let waited = self
            .gate
            .changed
            .wait_timeout_while(state, PATIENCE, short)
            .unwrap();
        assert!(!waited.1.timed_out(), "not all calls are run");
        (round, held)
    }

    /// The engine they were made through has died: those that may have run say so, the others succeed.
    fn let_go(&self, (round, held): (u64, Held)) {
        {
            let mut state = self.gate.state.lock().unwrap();
            *state = GateState {
                round: round + 1,
                inside: 0,
            };
            self.gate.changed.notify_all();
        }
        for (once, again) in held {
            let lost = once
                .wait()
                .expect_err("its answer went to an engine that is dead");
            assert_eq!(
                (lost.code(), lost.executed()),
                ("connection_lost", Executed::Maybe)
            );
            let result = again.wait().expect("it may run again");
            assert_eq!(rmp_serde::from_slice::<u64>(&result).unwrap(), round);
        }
    }
}

/// What a call may expect.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Waits, and may run again.
    Safe,
    /// Waits, and may run once.
    Once,
    /// Neither.
    Plain,
}

fn kind(n: usize) -> Kind {
    match n % 4 {
        0 | 1 => Kind::Safe,
        2 => Kind::Once,
        _ => Kind::Plain,
    }
}

/// Calls until it is over, always so many at once. Returns how the calls ended, counted.
fn call_on(worker: &Worker, which: usize, stage: &Stage) -> BTreeMap<String, u64> {
    let plain = CallOptions::new().timeout(TIME);
    let once = plain.clone().wait();
    let safe = once.clone().idempotent();
    let mut pending: VecDeque<(usize, PendingCall)> = VecDeque::new();
    let mut ends = BTreeMap::new();
    let mut n = 0;
    loop {
        while pending.len() < IN_FLIGHT && n < CALLS && !stage.over.load(Ordering::Acquire) {
            let options = match kind(n) {
                Kind::Safe => &safe,
                Kind::Once => &once,
                Kind::Plain => &plain,
            };
            let arguments = rmp_serde::to_vec(&(which, n)).unwrap();
            let call = worker
                .begin_raw("work", arguments, options)
                .expect("it is sent later");
            pending.push_back((n, call));
            n += 1;
        }
        let Some((n, call)) = pending.pop_front() else {
            return ends;
        };
        let end = check(which, n, call.wait(), &stage.runs[which][n]);
        *ends.entry(end).or_default() += 1;
        stage.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// That a call ended as one of its kind may, and that it ran as often as its end says.
fn check(which: usize, n: usize, end: Result<Vec<u8>, CallError>, runs: &AtomicU32) -> String {
    let kind = kind(n);
    let runs = runs.load(Ordering::Acquire);
    match end {
        Ok(result) => {
            let result: String = rmp_serde::from_slice(&result).expect("text");
            assert_eq!(result, answer(which, n), "somebody else's answer");
            assert!(
                runs == 1 || (kind == Kind::Safe && runs > 1),
                "it ran {runs} times"
            );
            "result".to_owned()
        }
        Err(error) => {
            let what = (error.code().to_owned(), error.executed());
            match (&*what.0, what.1) {
                ("connection_lost", Executed::Maybe) if kind != Kind::Safe => {
                    assert!(runs <= 1, "it ran {runs} times");
                }
                // Back before those who serve it.
                ("no_such_function", Executed::No) if kind == Kind::Plain => {
                    assert_eq!(runs, 0, "{error}");
                }
                _ => panic!("call {n} of caller {which}: {error:?}"),
            }
            format!("{} ({:?})", what.0, what.1)
        }
    }
}
