//! Everything that workers, callers and strangers do, again and again for as long as one likes: in the end the
//! engine has the descriptors and the memory that it had in the beginning, and so has this process, which runs
//! the worker library.

use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::worker::{Binding, CallOptions, Context, Fault, Function, Worker};

use crate::client::{self, Client, framed, until};
use crate::crowd::{Crowd, Member, Sight};
use crate::engine::Engine;
use crate::machine::{self, MIB, alone, require_descriptors, wanted};
use crate::peer::{Peer, all, nothing, plain};
use crate::talk::{hurried, waiting};

/// Rounds before anything is measured: the change log fills, the allocators get their share.
const WARM_UP: u64 = 3;

/// What either process may have more than in the beginning, in bytes. The allocator keeps some of what it was
/// given back; a leak of a kilobyte for each connection would be twenty times as much in half an hour.
const TOLERANCE: u64 = 8 * MIB;

const WATCHERS: usize = 300;
const STALLED: usize = 40;
const STRANGERS: usize = 25;
const CALLS: usize = 400;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Weight {
    descriptors: usize,
    threads: usize,
    memory: u64,
}

impl Weight {
    fn of(process: u32) -> Self {
        Self {
            descriptors: machine::descriptors(process),
            threads: machine::threads(process),
            memory: machine::memory(process),
        }
    }

    fn is_as(&self, before: &Self) -> bool {
        (self.descriptors, self.threads) == (before.descriptors, before.threads)
            && self.memory <= before.memory + TOLERANCE
    }
}

#[test]
#[ignore = "heavy: as long as CALLBOARD_SOAK_SECONDS says"]
fn after_hours_of_everything_descriptors_and_memory_are_what_they_were() {
    let _alone = alone();
    require_descriptors(2000);
    let time = Duration::from_secs(wanted("CALLBOARD_SOAK_SECONDS", 20));
    let minutes = time.as_secs() / 60 + 10;
    let flags = [
        // A log that the warm-up fills.
        "--log-bytes=1048576",
        "--changes-per-second=0",
        // The engine pings often, and expires no connection because this machine is slow.
        "--ping-after=1000",
        "--hello-timeout=600000",
        "--silence=600000",
        "--write-deadline=600000",
    ];
    let engine = Engine::start(minutes, &flags);
    let idle = engine.descriptors();
    let processes = [engine.id(), std::process::id()];
    for _ in 0..WARM_UP {
        round(&engine);
    }
    settled(&engine, idle);
    let before = processes.map(Weight::of);
    println!("in the beginning, engine and library: {before:?}");
    let (began, mut rounds, mut told) = (Instant::now(), 0, Instant::now());
    let mut most = before.map(|weight| weight.memory);
    while began.elapsed() < time {
        round(&engine);
        settled(&engine, idle);
        rounds += 1;
        let now = processes.map(Weight::of);
        for (most, now) in most.iter_mut().zip(now) {
            *most = now.memory.max(*most);
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!(
                "after {rounds} rounds, {} s: {now:?}",
                began.elapsed().as_secs()
            );
        }
    }
    let stats = engine.stats();
    println!(
        "in the end, after {rounds} rounds in {} s: {:?}; at the most {} and {} KiB; {} connections \
         accepted, {} revisions, calls by end {}, connections by end {}",
        began.elapsed().as_secs(),
        processes.map(Weight::of),
        most[0] / 1024,
        most[1] / 1024,
        stats["accepted"],
        stats["revisions"],
        stats["endings"],
        stats["closed"],
    );
    for (process, before) in processes.into_iter().zip(before) {
        let mut now = Weight::of(process);
        until(&format!("{before:?} in the beginning, not {now:?}"), || {
            now = Weight::of(process);
            now.is_as(&before)
        });
    }
}

/// Everybody of the last round is gone, and all that they had.
fn settled(engine: &Engine, idle: usize) {
    until("all connections are gone", || engine.descriptors() == idle);
    let stats = engine.stats();
    for gauge in [
        "functions",
        "workers",
        "bindings",
        "calls",
        "parked",
        "retained_bytes",
    ] {
        assert_eq!(stats[gauge].as_u64(), Some(0), "{gauge} of {stats}");
    }
    // The one that asks.
    assert_eq!(stats["connections"].as_u64(), Some(1));
    until("the one that asked is gone", || {
        engine.descriptors() == idle
    });
}

fn round(engine: &Engine) {
    let at = engine.address();
    let mut crowd = Crowd::new(engine.socket_address());
    for n in 0..WATCHERS {
        let function = n.is_multiple_of(3).then(|| format!("crowd::{n:03}"));
        crowd.add(Sight::strict(&all()), function);
    }
    crowd.read_until("the board", Member::is_synced);
    strangers(&at);
    library(&at);
    crowd.turn(Duration::ZERO);
    frames(&at);
    let revision = stalled(&at, &mut crowd);
    // A third takes its sessions over, then all go: some without a word.
    for index in 0..WATCHERS / 3 {
        crowd.reconnect_one(index);
    }
    crowd.read_until("all are back", |member| {
        member.is_synced() && member.mine() >= revision
    });
    let expected = WATCHERS.div_ceil(3);
    let mut witness = Peer::join(&at, "witness", &all());
    witness.read_until("everyone's functions", |reader| {
        reader.view.functions.len() == expected
    });
    if crowd.members[0].mine().is_multiple_of(2) {
        assert_eq!(crowd.dismiss(), WATCHERS);
    } else {
        crowd.reset();
    }
}

/// Passing connections: silent, loud, malformed, cut in half.
fn strangers(at: &Address) {
    let hello = client::hello("stranger", callboard::protocol::Watch::default());
    for n in 0..STRANGERS {
        let mut clients = [(); 6].map(|()| Client::connect(at));
        let [silent, loud, large, malformed, half, cut] = &mut clients;
        loud.send(b"GET / HTTP/1.1\r\n\r\n");
        large.send(&[0, 0xff, 0xff, 0xff]);
        malformed.send(&hello);
        malformed.send(&framed(&[0x92, 67, 0xc1]));
        half.send(&hello[..n % hello.len()]);
        cut.send(&hello);
        cut.send(&1000u32.to_be_bytes());
        assert_eq!(loud.goodbye().0, "protocol_error");
        assert_eq!(large.goodbye().0, "protocol_error");
        assert_eq!(malformed.goodbye().0, "protocol_error");
        silent.finish();
        let [_, _, _, _, half, cut] = clients;
        half.reset();
        cut.reset();
    }
}

/// Workers of the library: they serve, call, emit and leave.
fn library(at: &Address) {
    let worker = |name: &str| {
        let builder = Worker::builder(name).addresses([at.clone()]);
        builder.connect(PATIENCE).expect("a connection")
    };
    let (serves, other, calls) = (worker("serves"), worker("serves too"), worker("calls"));
    for provider in [&serves, &other] {
        let double = Function::new("soak::double").handler(|_: &Context, n: u64| Ok(2 * n));
        let fails = Function::new("soak::fails")
            .handler(|_: &Context, ()| Err::<(), _>(Fault::new("no", "never")));
        provider.register([double, fails]).expect("it is legal");
    }
    calls
        .bind([Binding::new("soak::event", "soak::double")])
        .expect("it is legal");
    let patient = CallOptions::new().timeout(PATIENCE).wait().idempotent();
    let arguments = |n: usize| rmp_serde::to_vec(&n).unwrap();
    let begin = |n| {
        calls
            .begin_raw("soak::double", arguments(n), &patient)
            .unwrap()
    };
    let pending: Vec<_> = (0..CALLS).map(begin).collect();
    // One of the providers leaves while they are served.
    drop(other);
    for (n, call) in pending.into_iter().enumerate() {
        let result = call.wait().expect("it waits for whoever is left");
        assert_eq!(rmp_serde::from_slice::<usize>(&result).unwrap(), 2 * n);
    }
    assert_eq!(
        calls.call::<()>("soak::fails", &()).unwrap_err().code(),
        "no"
    );
    assert_eq!(calls.emit("soak::event", &1).expect("a count"), 1);
    calls.cast("soak::double", &1).expect("a connection");
    // Calls that are under way and not waited for are cancelled.
    drop(calls.begin_raw("soak::double", arguments(1), &patient));
}

/// Calls by frames, to one that never answers, by one that goes.
fn frames(at: &Address) {
    let mut mute = Peer::join(at, "mute", &nothing());
    mute.register(&["soak::mute"]).unwrap();
    let mut caller = Peer::join(at, "caller", &nothing());
    let late: Vec<u64> = (0..20)
        .map(|_| caller.call("soak::mute", b"", hurried()))
        .collect();
    let parked: Vec<u64> = (0..20)
        .map(|_| caller.call("soak::nobody", b"", waiting()))
        .collect();
    for id in late {
        caller.outcome(id);
    }
    caller.cancel(parked[0]);
    caller.outcome(parked[0]);
    for _ in 0..20 {
        caller.call("soak::mute", &[7; 10_000], waiting());
    }
    caller.ping();
    caller.reset();
    mute.reset();
}

/// Some stop reading while more is written than they can hold, and wake. Returns the last revision.
fn stalled(at: &Address, crowd: &mut Crowd) -> u64 {
    crowd.set_reading(STALLED, false);
    let mut worker = Peer::join(at, "writes", &nothing());
    let metadata = vec![7; 30_000];
    for n in 0..60 {
        let name = format!("soak::{}", n % 7);
        let mut entry = plain(&name);
        let text = n.to_string();
        entry.description.0 = &text;
        entry.metadata.0 = &metadata;
        worker.register_all(vec![entry]).unwrap();
        crowd.turn(Duration::ZERO);
    }
    let names: Vec<String> = (0..7).map(|n| format!("soak::{n}")).collect();
    let revision = worker.unregister(&names).unwrap();
    crowd.set_reading(STALLED, true);
    crowd.read_until("those who woke are up to date", |member| {
        member.is_synced() && member.mine() >= revision
    });
    revision
}
