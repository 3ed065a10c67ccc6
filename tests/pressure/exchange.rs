//! Millions of calls over real sockets, 64 in flight for each of several callers, while providers come and go:
//! none is lost, none ends twice, none is answered with what answers another. Spoken frame by frame, so that
//! what a library would forgive is seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::protocol::{
    Bin, Call, CallOptions, Drain, Executed, Goodbye, Invoke, Message, Outcome, Ping, Text,
};

use crate::engine::{Engine, PATIENT};
use crate::machine::{alone, wanted};
use crate::peer::{Greeting, nothing, register_frame};
use crate::wire::Wire;

const CALLERS: u64 = 4;
const IN_FLIGHT: u64 = 64;
/// Providers that come and go, beside one that stays.
const COMERS: u64 = 3;
/// Calls that one of them serves before it goes.
const STINT: u64 = 2000;
const FUNCTIONS: [&str; 4] = ["mix::a", "mix::b", "mix::c", "mix::d"];
/// What each call carries beside its numbers.
const FILLING: usize = 24;

#[test]
fn fifty_thousand_calls_while_providers_come_and_go_end_once_each_and_as_they_should() {
    exchange(50_000);
}

#[test]
#[ignore = "heavy: millions of calls"]
fn none_of_millions_of_calls_is_lost_doubled_or_misdelivered() {
    let _alone = alone();
    exchange(wanted("CALLBOARD_CALLS", 1_000_000));
}

/// What callers and providers share.
struct Ledger {
    /// How often each call of each caller was run.
    runs: Vec<Vec<AtomicU8>>,
    over: AtomicBool,
    stints: AtomicU64,
}

fn exchange(calls: u64) {
    let each = calls / CALLERS;
    let mut flags = PATIENT.to_vec();
    flags.extend(["--changes-per-second=0"]);
    let engine = Engine::start(120, &flags);
    let at = engine.address();
    let counters = || (0..each).map(|_| AtomicU8::new(0)).collect();
    let ledger = Arc::new(Ledger {
        runs: (0..CALLERS).map(|_| counters()).collect(),
        over: AtomicBool::new(false),
        stints: AtomicU64::new(0),
    });
    let began = Instant::now();
    let mut providers = Vec::new();
    let mut resident = Provider::join(&at, &ledger);
    let shared = Arc::clone(&ledger);
    providers.push(thread::spawn(move || while resident.serve(&shared) {}));
    for n in 0..COMERS {
        let (at, shared) = (at.clone(), Arc::clone(&ledger));
        providers.push(thread::spawn(move || come_and_go(&at, n, &shared)));
    }
    let callers: Vec<_> = (0..CALLERS)
        .map(|which| {
            let (at, shared) = (at.clone(), Arc::clone(&ledger));
            thread::spawn(move || Caller::join(&at, which, each).call_all(&shared))
        })
        .collect();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for caller in callers {
        for (end, count) in caller.join().expect("a caller found no fault") {
            *ends.entry(end).or_default() += count;
        }
    }
    let took = began.elapsed();
    ledger.over.store(true, Ordering::Release);
    for provider in providers {
        provider.join().expect("a provider found no fault");
    }
    let total: u64 = ends.values().sum();
    assert_eq!(total, each * CALLERS, "each call has one end");
    let stints = ledger.stints.load(Ordering::Acquire);
    println!(
        "{total} calls in {:.1} s ({:.0} a second), {stints} providers came and went; ends: {ends:?}",
        took.as_secs_f64(),
        total as f64 / took.as_secs_f64(),
    );
    assert!(stints > 1, "nobody came and went");

    // The engine's own books say the same.
    let stats = engine.stats();
    let ended = |outcome: &str| stats["endings"][outcome].as_u64().unwrap_or_default();
    let lost = ends.get("provider_gone").copied().unwrap_or_default();
    assert_eq!(
        (ended("result"), ended("provider_gone")),
        (ends["result"], lost)
    );
    for gauge in ["calls", "parked", "retained_bytes", "outbound_bytes"] {
        // The call that asks is in flight while it is answered, and on no books.
        assert_eq!(stats[gauge].as_u64(), Some(0), "{gauge}");
    }
    assert_eq!(
        stats["dropped"].as_map().map(Vec::len),
        Some(0),
        "{}",
        stats["dropped"]
    );
}

/// The payload of a call: the caller, the call's sequence number, and bytes that only this call has.
fn arguments(which: u64, n: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + FILLING);
    bytes.extend_from_slice(&which.to_be_bytes());
    bytes.extend_from_slice(&n.to_be_bytes());
    let mut state = which << 48 ^ n;
    while bytes.len() < 16 + FILLING {
        state = mixed(state, 0x9e37);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes
}

/// The only right answer to these arguments of this function.
fn answer(function: &str, arguments: &[u8]) -> Vec<u8> {
    let mut state = u64::from(*function.as_bytes().last().expect("a name"));
    for chunk in arguments.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mixed(state, u64::from_be_bytes(word));
    }
    [&arguments[..16], &state.to_be_bytes()].concat()
}

fn mixed(state: u64, word: u64) -> u64 {
    let x = (state ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) ^ (x >> 29)
}

/// Whether a call of this number waits for a provider, and whether it may run twice.
fn options(n: u64) -> CallOptions<'static> {
    CallOptions {
        timeout_ms: Some(600_000),
        wait: n.is_multiple_of(3),
        idempotent: n.is_multiple_of(2),
        ..CallOptions::default()
    }
}

fn function(n: u64) -> &'static str {
    FUNCTIONS[(n % FUNCTIONS.len() as u64) as usize]
}

/// One that calls.
struct Caller {
    wire: Wire,
    which: u64,
    calls: u64,
    /// Which have ended.
    ended: Vec<bool>,
    ends: BTreeMap<String, u64>,
}

impl Caller {
    fn join(at: &Address, which: u64, calls: u64) -> Self {
        Self {
            wire: Wire::join(at, &Greeting::new("caller", &nothing())),
            which,
            calls,
            ended: vec![false; calls as usize],
            ends: BTreeMap::new(),
        }
    }

    fn call_all(mut self, ledger: &Ledger) -> BTreeMap<String, u64> {
        let (mut made, mut ended) = (0, 0);
        let mut out = Vec::new();
        while ended < self.calls {
            while made < self.calls && made - ended < IN_FLIGHT {
                let call = Call {
                    id: made + 1,
                    function: Text(function(made)),
                    payload: Bin(&arguments(self.which, made)),
                    ext: options(made),
                };
                call.encode(&mut out);
                made += 1;
            }
            self.wire.send(&mut out);
            let (which, calls) = (self.which, made);
            let (all, ends) = (&mut self.ended, &mut self.ends);
            self.wire.read(|message| {
                if let Some(end) = take(message, which, calls, all, ledger) {
                    *ends.entry(end).or_default() += 1;
                    ended += 1;
                }
            });
        }
        // Whatever the engine had still to say would come before the answer to this.
        Ping::default().encode(&mut out);
        self.wire.send(&mut out);
        let mut answered = false;
        while !answered {
            self.wire.read(|message| match message {
                Message::Pong(_) => answered = true,
                other => panic!("after the last end: {other:?}"),
            });
        }
        self.ends
    }
}

/// Takes the end of a call. None for what ends none.
fn take(
    message: &Message<'_>,
    which: u64,
    made: u64,
    ended: &mut [bool],
    ledger: &Ledger,
) -> Option<String> {
    let id = match message {
        Message::Outcome(it) => it.id,
        Message::Failure(it) => it.id,
        Message::Ping(_) => return None,
        other => panic!("{other:?}"),
    };
    assert!(
        (1..=made).contains(&id),
        "the end of call {id}, which was not made"
    );
    let n = id - 1;
    assert!(
        !std::mem::replace(&mut ended[n as usize], true),
        "call {n} ended twice"
    );
    let runs = ledger.runs[which as usize][n as usize].load(Ordering::Acquire);
    let again = options(n).idempotent;
    match message {
        Message::Outcome(it) => {
            let right = answer(function(n), &arguments(which, n));
            assert_eq!(
                *it.payload,
                right[..],
                "call {n} of caller {which}: not its answer"
            );
            assert!(
                runs == 1 || (again && runs > 1),
                "call {n} ran {runs} times"
            );
            Some("result".to_owned())
        }
        Message::Failure(it) => {
            // One provider has them all and always stays: nothing else can become of a call.
            assert_eq!(it.code.0, "provider_gone", "call {n}: {it:?}");
            assert!(!again, "call {n} could have been tried again");
            assert!(
                it.executed == Executed::Maybe && runs <= 1,
                "call {n} ran {runs} times"
            );
            Some(it.code.to_string())
        }
        _ => None,
    }
}

/// One that serves all functions.
struct Provider {
    wire: Wire,
    out: Vec<u8>,
    served: u64,
}

impl Provider {
    fn join(at: &Address, ledger: &Ledger) -> Self {
        let mut wire = Wire::join(at, &Greeting::new("provider", &nothing()));
        let definitions = FUNCTIONS.map(crate::peer::plain).to_vec();
        wire.send(&mut register_frame(1, false, definitions));
        let (mut registered, mut out, mut served) = (false, Vec::new(), 0);
        while !registered {
            wire.read(|message| match message {
                Message::Outcome(it) if it.id == 1 => registered = true,
                // Parked calls arrive at once.
                Message::Invoke(it) => {
                    run(it, ledger, &mut out);
                    served += 1;
                }
                other => panic!("{other:?}"),
            });
        }
        Self { wire, out, served }
    }

    /// Answers what there is; waits for it for a moment. False when all is over.
    fn serve(&mut self, ledger: &Ledger) -> bool {
        let (out, served) = (&mut self.out, &mut self.served);
        self.wire
            .read_for(Duration::from_millis(100), |message| match message {
                Message::Invoke(it) => {
                    run(it, ledger, out);
                    *served += 1;
                }
                Message::Ping(_) | Message::Cancel(_) => {}
                other => panic!("{other:?}"),
            });
        self.wire.send(&mut self.out);
        !ledger.over.load(Ordering::Acquire)
    }

    /// Takes no more, finishes what it has, and goes.
    fn drain(mut self, ledger: &Ledger) {
        Drain::default().encode(&mut self.out);
        // What was called before the engine read that comes before its answer to this.
        Ping::default().encode(&mut self.out);
        self.wire.send(&mut self.out);
        let mut last = false;
        while !last {
            let out = &mut self.out;
            self.wire.read(|message| match message {
                Message::Invoke(it) => run(it, ledger, out),
                Message::Pong(_) => last = true,
                other => panic!("{other:?}"),
            });
        }
        let bye = Goodbye {
            code: Text("bye"),
            ..Goodbye::default()
        };
        bye.encode(&mut self.out);
        self.wire.send(&mut self.out);
        self.wire.read_to_end();
    }
}

/// Runs a call, and takes it down before it is answered.
fn run(it: &Invoke<'_>, ledger: &Ledger, out: &mut Vec<u8>) {
    let number =
        |at: usize| u64::from_be_bytes(it.payload[at..at + 8].try_into().expect("8 bytes"));
    let (which, n) = (number(0), number(8));
    assert_eq!(
        *it.payload,
        arguments(which, n)[..],
        "other arguments than were sent"
    );
    assert_eq!(
        it.function.0,
        function(n),
        "another function than was called"
    );
    ledger.runs[which as usize][n as usize].fetch_add(1, Ordering::AcqRel);
    let payload = answer(&it.function, &it.payload);
    let outcome = Outcome {
        id: it.id,
        payload: Bin(&payload),
        ..Outcome::default()
    };
    outcome.encode(out);
}

/// Comes, serves for a while and goes, again and again; one time in peace, the next as by its death.
fn come_and_go(at: &Address, which: u64, ledger: &Ledger) {
    let mut round = which;
    while !ledger.over.load(Ordering::Acquire) {
        let mut provider = Provider::join(at, ledger);
        while provider.served < STINT && provider.serve(ledger) {}
        if round.is_multiple_of(2) {
            provider.drain(ledger);
        } else {
            provider.wire.reset();
        }
        ledger.stints.fetch_add(1, Ordering::AcqRel);
        round += 1;
    }
}
