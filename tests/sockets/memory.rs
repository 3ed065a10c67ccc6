//! `--max-memory` of a real engine: what it counts against what its process takes, and a flood that would take more than
//! there is. The engine is a process of its own; this one holds those who flood it. Memory only, never a time.

use callboard::address::Address;
use callboard::protocol::{
    Bin, Bind, BindingEntry, Call, CallOptions, Definition, Hello, HelloOptions, Message, Register,
    Text, Watch,
};

use crate::client::{Client, View, function};
use crate::running::{self, Engine, Running};

const PAGE: &str = include_str!("../../docs/SIZING.md");

const MIB: u64 = 1 << 20;

/// Memory of a process in bytes, by its name in /proc: VmRSS now, VmHWM at the most.
fn memory(process: &Running, name: &str) -> u64 {
    let path = format!("/proc/{}/status", process.id());
    let status = std::fs::read_to_string(path).expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a number of KiB").parse::<u64>().expect("KiB") * 1024
}

/// What `stats` says.
fn stats(address: &str) -> serde_json::Value {
    let (code, stats, errors) = running::finished(&["stats", "--json", "--connect", address]);
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&stats).expect("JSON")
}

fn counted(address: &str) -> u64 {
    stats(address)["memory_bytes"].as_u64().expect("a number")
}

/// A worker that watches nothing, in a namespace.
fn join(address: &Address, namespace: &str, name: &str, watch: Watch<'_>) -> Client {
    let mut client = Client::connect(address);
    let hello = Hello {
        versions: vec![1],
        name: Text(name),
        namespace: Text(namespace),
        ext: HelloOptions {
            watch: Some(watch),
            ..HelloOptions::default()
        },
    };
    client.send(&hello.to_frame());
    client.next_where(|message| matches!(message, Message::Welcome(_)));
    client
}

/// Names of functions, each of about 30 bytes.
fn names(worker: usize, count: usize) -> Vec<String> {
    (0..count)
        .map(|at| format!("service-{worker:05}::function-{at:06}"))
        .collect()
}

fn described<'a>(names: &'a [String], description: &'a str) -> Vec<Definition<'a>> {
    let definitions = names.iter().map(|name| Definition {
        description: Text(description),
        ..function(name)
    });
    definitions.collect()
}

/// A fleet, and who it consists of.
type Fleet = (&'static str, fn(&Address) -> Vec<Client>);

const FLEETS: [Fleet; 5] = [
    ("small entries", |address| {
        let worker = |number| {
            let mut worker = join(address, "default", "w", Watch::default());
            for part in names(number, 20_000).chunks(5_000) {
                let all = described(part, "what it does");
                worker.register_all(all).expect("it registers");
            }
            worker
        };
        (0..8).map(worker).collect()
    }),
    ("replicas", |address| {
        let worker = |_| {
            let mut worker = join(address, "default", "w", Watch::default());
            for part in names(0, 20_000).chunks(5_000) {
                let all = described(part, "what it does");
                worker.register_all(all).expect("it registers");
            }
            worker
        };
        (0..8).map(worker).collect()
    }),
    ("large entries", |address| {
        let description = "x".repeat(30_000);
        let worker = |number| {
            let mut worker = join(address, "default", "w", Watch::default());
            for part in names(number, 500).chunks(30) {
                let all = described(part, &description);
                worker.register_all(all).expect("it registers");
            }
            worker
        };
        (0..8).map(worker).collect()
    }),
    ("bindings", |address| {
        let worker = |number: usize| {
            let mut worker = join(address, "default", "w", Watch::default());
            for part in names(number, 20_000).chunks(5_000) {
                let id = worker.new_id();
                let bindings = part.iter().map(|name| BindingEntry {
                    event: Text("orders::paid"),
                    function: Text(name),
                    ..BindingEntry::default()
                });
                let bind = Bind {
                    id,
                    bindings: bindings.collect(),
                    ..Bind::default()
                };
                worker.send(&bind.to_frame());
                worker.answer(id).expect("it binds");
            }
            worker
        };
        (0..8).map(worker).collect()
    }),
    ("watches of their own", |address| {
        let worker = |number: usize| {
            let prefixes: Vec<String> = (0..16).map(|at| format!("{number}::{at}")).collect();
            let watch = Watch {
                functions: Some(prefixes.iter().map(|it| Text(it)).collect()),
                ..Watch::default()
            };
            join(address, "default", "w", watch)
        };
        (0..800).map(worker).collect()
    }),
];

#[test]
fn what_is_counted_is_what_the_process_takes() {
    for (what, fill) in FLEETS {
        let engine = Engine::start();
        let address: Address = engine.address.parse().expect("an address");
        let empty = memory(&engine.process, "RssAnon");
        let before = counted(&engine.address);
        let fleet = fill(&address);
        let taken = memory(&engine.process, "RssAnon") - empty;
        let counted = counted(&engine.address) - before;
        let stats = stats(&engine.address);
        println!(
            "{what}: counted {counted}, taken {taken}: {:.2} logs {}",
            taken as f64 / counted as f64,
            stats["log_bytes"]
        );
        drop(fleet);
    }
}
