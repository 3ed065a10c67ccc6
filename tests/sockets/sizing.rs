//! docs/SIZING.md against a real engine: what the page's figures say that a fleet takes, and what it does take. Memory
//! and counts only, never a time. The engine is a process of its own; this one holds the fleet.

use crate::client::{Client, View, function};
use crate::running::Engine;
use callboard::address::Address;
use callboard::protocol::{Bin, Call, CallOptions, Definition, Message, Text, Watch};

const PAGE: &str = include_str!("../../docs/SIZING.md");

/// How far the page may be from what is. An allocator rounds, tables grow by doubling.
const OFF: f64 = 0.25;

/// A middling fleet: 200 workers with 50 functions each, four replicas of each service, and as many who only look on.
const WORKERS: usize = 200;
const REPLICAS: usize = 4;
const FUNCTIONS_EACH: usize = 50;
const DESCRIPTION: usize = 300;
const WATCHERS: usize = 200;

const CHANGES: u64 = 20;
const CALLS: usize = 2000;

/// The figures of the page's table, in bytes; those of an entry come on top of two of them.
struct Figures {
    empty: u64,
    connection: u64,
    registration: u64,
    function: u64,
    call: u64,
}

impl Figures {
    fn read() -> Self {
        let (_, table) = PAGE.split_once("<!-- bytes -->\n").expect("the table");
        let figure = |row: &str| {
            let row = table
                .lines()
                .find_map(|line| line.strip_prefix(&format!("| {row}")));
            let cell = row.and_then(|row| row.split('|').nth(1)).expect("a figure");
            let number = cell.trim().trim_end_matches(" + entry").replace(',', "");
            number.parse().expect("a number")
        };
        Self {
            empty: figure("engine, empty"),
            connection: figure("connection"),
            registration: figure("registration"),
            function: figure("function"),
            call: figure("call in flight"),
        }
    }
}

fn entry(name: &str) -> u64 {
    (name.len() + DESCRIPTION) as u64
}

fn name(service: usize, function: usize) -> String {
    format!("service-{service:04}::function-{function:04}")
}

/// Memory that a process alone has in use, without what the kernel holds for it.
fn memory(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("Linux");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a number of KiB").parse::<u64>().expect("KiB") * 1024
}

fn near(what: &str, said: u64, found: u64) {
    println!("{what}: the page says {said} bytes, the engine takes {found}");
    let off = (found as f64 / said as f64 - 1.0).abs();
    assert!(
        off <= OFF,
        "{what}: docs/SIZING.md says {said}, found {found}"
    );
}

/// What `stats` says under this key.
fn count(engine: &Engine, key: &str) -> u64 {
    let (code, stats, errors) = engine.run(&["stats", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    stats[key].as_u64().unwrap_or_else(|| panic!("{key}"))
}

fn worker(address: &Address, number: usize) -> Client {
    let text = "x".repeat(DESCRIPTION);
    let mut client = Client::join(address, &format!("worker-{number}"));
    let names: Vec<String> = (0..FUNCTIONS_EACH)
        .map(|at| name(number / REPLICAS, at))
        .collect();
    let functions = names.iter().map(|name| Definition {
        description: Text(&text),
        ..function(name)
    });
    client
        .register_all(functions.collect())
        .expect("it registers");
    client
}

#[test]
fn a_middling_fleet_takes_what_the_page_says() {
    let figures = Figures::read();
    let engine = Engine::start();
    let address: Address = engine.address.parse().expect("an address");
    let empty = memory(engine.process.id());
    println!("an empty engine takes {empty} bytes");
    assert!(empty <= figures.empty, "{empty} bytes");

    let mut workers: Vec<Client> = (0..WORKERS).map(|at| worker(&address, at)).collect();
    let mut watchers = Vec::new();
    for at in 0..WATCHERS {
        let mut watcher = Client::join_all(&address, &format!("watcher-{at}"));
        let view = View::sync(&mut watcher);
        assert_eq!(
            view.functions.len(),
            WORKERS / REPLICAS * FUNCTIONS_EACH,
            "the fleet is all there"
        );
        watchers.push((watcher, view));
    }
    let registrations = (WORKERS * FUNCTIONS_EACH) as u64;
    let functions = registrations / REPLICAS as u64;
    let entry = entry(&name(0, 0));
    let said = (WORKERS + WATCHERS) as u64 * figures.connection
        + registrations * (figures.registration + entry)
        + functions * (figures.function + entry);
    let full = memory(engine.process.id());
    near("the fleet", said, full - empty);

    // A write for each change and watcher, and no more: the figures for the processor stand on that. Each change has
    // reached everybody before the next one is made.
    let frames = count(&engine, "frames_out");
    for change in 0..CHANGES {
        let names = [format!("new::{change}")];
        workers[0].register(&[&names[0]]).expect("it registers");
        for (watcher, view) in &mut watchers {
            view.read_until(watcher, |view| view.has(&names[0]));
        }
    }
    let told = count(&engine, "frames_out") - frames;
    let wanted = CHANGES * WATCHERS as u64;
    // The answers to the worker, those to who asked for the counts, and PINGs if this took long.
    let others = CHANGES + 10;
    let pings = 2 * (WORKERS + WATCHERS) as u64;
    assert!(
        (wanted..=wanted + others + pings).contains(&told),
        "{told} frames for {CHANGES} changes to {WATCHERS} watchers"
    );
}

#[test]
fn calls_in_flight_take_what_the_page_says() {
    let engine = Engine::start();
    let address: Address = engine.address.parse().expect("an address");
    let mut provider = Client::connect(&address);
    provider.send(&with_capacity("provider", CALLS as u64));
    provider.next_where(|message| matches!(message, Message::Welcome(_)));
    provider.register(&["f"]).expect("it registers");
    let mut caller = Client::join(&address, "caller");
    let mut call = |caller: &mut Client| {
        let id = caller.new_id();
        let call = Call {
            id,
            function: Text("f"),
            payload: Bin(b"1"),
            ext: CallOptions::default(),
        };
        caller.send(&call.to_frame());
        provider.next_where(|message| matches!(message, Message::Invoke(_)));
    };
    call(&mut caller);
    let before = memory(engine.process.id());
    for _ in 1..CALLS {
        call(&mut caller);
    }
    let taken = memory(engine.process.id()) - before;
    near(
        "calls in flight",
        CALLS as u64 * Figures::read().call,
        taken,
    );
}

fn with_capacity(name: &str, capacity: u64) -> Vec<u8> {
    let hello = callboard::protocol::Hello {
        versions: vec![1],
        name: Text(name),
        namespace: Text("default"),
        ext: callboard::protocol::HelloOptions {
            watch: Some(Watch::default()),
            capacity: Some(capacity),
            ..callboard::protocol::HelloOptions::default()
        },
    };
    hello.to_frame()
}
