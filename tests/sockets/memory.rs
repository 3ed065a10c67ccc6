//! `--max-memory` of a real engine: what it counts against what its process takes, and a flood that would take more than
//! there is. The engine is a process of its own; this one holds those who flood it. Memory only, never a time.

use callboard::address::Address;
use callboard::protocol::{
    Bin, Bind, BindingEntry, Call, CallOptions, Definition, Hello, HelloOptions, Message, Text,
    Watch,
};

use crate::client::{Client, View, function};
use crate::running::{self, Running};

const MIB: u64 = 1 << 20;

/// How far what is counted may be from what the process takes (docs/SIZING.md).
const OFF: f64 = 0.25;

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

/// An engine that gives no peer up, however slow the machine is, and its address.
fn serve(flags: &[&str]) -> (Running, String) {
    let patient = [
        ["--ping-after", "60000"],
        ["--silence", "120000"],
        ["--write-deadline", "120000"],
    ];
    let flags = [&patient.concat()[..], flags].concat();
    running::serve("127.0.0.2:0", &flags).expect("a free port")
}

/// A worker in a namespace.
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
            for part in names(number, 10_000).chunks(5_000) {
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
            for part in names(0, 10_000).chunks(5_000) {
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
            for part in names(number, 300).chunks(30) {
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
            for part in names(number, 10_000).chunks(5_000) {
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
        let (process, listening) = serve(&[]);
        let address: Address = listening.parse().expect("an address");
        let empty = memory(&process, "RssAnon");
        let before = counted(&listening);
        let fleet = fill(&address);
        let taken = memory(&process, "RssAnon") - empty;
        let counted = counted(&listening) - before;
        println!("{what}: counted {counted}, the process takes {taken}");
        let off = (taken as f64 / counted as f64 - 1.0).abs();
        assert!(off <= OFF, "{what}: counted {counted}, taken {taken}");
        drop(fleet);
    }
}

/// A worker that registers functions with large entries as long as it is let. Returns how many were
/// taken, and what it was refused with.
fn flood(address: &Address, number: usize) -> (Client, usize, Vec<(String, String)>) {
    let namespace = ["board-0", "board-1"][number % 2];
    let mut worker = join(address, namespace, "flooder", Watch::default());
    let (mut taken, mut refused) = (0, Vec::new());
    let description = "x".repeat(30_000);
    for part in names(number, 150).chunks(30) {
        match worker.register_all(described(part, &description)) {
            Ok(_) => taken += part.len(),
            Err(refusal) => refused.push(refusal),
        }
    }
    (worker, taken, refused)
}

#[test]
fn a_flood_of_registrations_stays_below_the_ceiling_and_takes_nothing_from_others() {
    const CEILING: u64 = 64 * MIB;
    const FLOODERS: usize = 62;
    let ceiling = CEILING.to_string();
    let (process, listening) = serve(&["--max-memory", &ceiling]);
    let address: Address = listening.parse().expect("an address");
    let mut provider = Client::join(&address, "provider");
    provider.register(&["by::f"]).expect("it registers");
    let mut caller = Client::join(&address, "caller");
    // They read nothing meanwhile: caches and logs are kept for them.
    let watchers = ["board-0", "board-1"].map(|namespace| {
        let everything = Watch {
            functions: Some(vec![Text("")]),
            ..Watch::default()
        };
        join(&address, namespace, "watcher", everything)
    });
    let (mut flooders, mut each, mut refused) = (Vec::new(), [0; 2], Vec::new());
    for number in 0..FLOODERS {
        let flooded = flood(&address, number);
        flooders.push(flooded.0);
        each[number % 2] += flooded.1;
        refused.extend(flooded.2);
    }
    let taken: usize = each.iter().sum();
    let offered = FLOODERS * 150;
    assert!(offered as u64 * 30_000 > 4 * CEILING && taken < offered / 4);
    assert!(taken as u64 * 30_000 > CEILING / 3, "{taken} were taken");
    for (code, message) in refused {
        assert_eq!(code, "overloaded", "{message}");
        assert!(message.contains("(--max-memory)"), "{message}");
    }
    let peak = memory(&process, "VmHWM");
    let stats = stats(&listening);
    println!(
        "{peak} bytes at the peak, {} counted: {}",
        stats["memory_bytes"], stats["relieved"]
    );
    // The program itself takes some.
    assert!(peak <= CEILING + 16 * MIB, "{peak} bytes");
    assert!(stats["memory_bytes"].as_u64() <= Some(CEILING));
    assert!(stats["relieved"]["logs_trimmed"].as_u64() > Some(0));
    // All who are there are served, and what they registered is still there.
    assert_eq!(stats["functions"], taken + 1);
    for client in flooders.iter_mut().chain([&mut provider]) {
        assert!(client.is_served());
    }
    let id = caller.new_id();
    let call = Call {
        id,
        function: Text("by::f"),
        payload: Bin(b"1"),
        ext: CallOptions::default(),
    };
    caller.send(&call.to_frame());
    provider.next_where(|message| matches!(message, Message::Invoke(_)));
    for (mut watcher, taken) in watchers.into_iter().zip(each) {
        let mut view = View::default();
        view.read_until(&mut watcher, |view| view.functions.len() == taken);
    }
}
