//! The engine's process, from both sides: what it runs, and the handle that the benches hold of it. It says
//! what it counts and what it weighs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use callboard::bench::EngineProcess;
use callboard::limits::Limits;
use callboard::server::{Server, ServerConfig, ServerHandle, Spin};

use crate::process::{self, Process};

/// The role's name.
pub(super) const ROLE: &str = "engine";

/// The limits under which it runs. No connection is pinged, expired or rationed: the counts are what the bench
/// causes.
const FLAGS: [(&str, u64); 5] = [
    ("ping-after", 3_600_000),
    ("silence", 7_200_000),
    ("write-deadline", 7_200_000),
    ("changes-per-second", 0),
    ("max-share", 0),
];

/// The engine's process. It listens at each `listen`; `processor=last` keeps it on one processor; `spin=always`, or
/// microseconds, keep it awake; `fanout` are the write calls that a turn spends on a fan-out; `max-share` is the limit
/// of that name.
pub(super) fn serve(role: &str) -> ExitCode {
    if process::values(role, "processor").any(|which| which == "last") {
        process::pin(true);
    }
    let mut limits = Limits::default();
    for (flag, value) in FLAGS {
        *limits.by_flag(flag).expect("a limit's flag") = value;
    }
    if let Some(share) = process::values(role, "max-share").next() {
        limits.max_share = share.parse().expect("a number");
    }
    let plain = ServerConfig::default();
    let spin = process::values(role, "spin").next().map(|word| match word {
        "always" => Spin::Always,
        us => Spin::For(Duration::from_micros(us.parse().expect("microseconds"))),
    });
    let fanout = process::values(role, "fanout").next();
    let server = Server::spawn(ServerConfig {
        listen: process::values(role, "listen")
            .map(|address| address.parse().expect("an address"))
            .collect(),
        limits,
        spin: spin.unwrap_or_default(),
        fanout_writes: fanout.map_or(plain.fanout_writes, |it| it.parse().expect("a number")),
        ..plain
    })
    .expect("free addresses");
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    process::answer(&addresses, || report(&server));
    ExitCode::SUCCESS
}

/// What it counts and what it weighs, as `name=value` with spaces between.
fn report(server: &ServerHandle) -> String {
    let stats = server.stats().expect("the engine runs");
    let counters = server.counters();
    let resyncs: u64 = stats.resyncs.values().sum();
    let this = EngineProcess::of_id(std::process::id()).expect("it runs");
    let numbers = [
        ("memory", this.memory().expect("Linux")),
        ("connections", stats.connections),
        ("revisions", stats.revisions),
        ("encodings", stats.encodings),
        ("snapshots", resyncs),
        ("log", stats.log_bytes),
        ("cache", stats.cache_bytes),
        ("outbound", stats.outbound_bytes),
        ("behind", stats.behind),
        ("turns", counters.turns),
        ("reads", counters.reads),
        ("writes", counters.writes),
    ];
    let words = numbers.map(|(name, value)| format!("{name}={value}"));
    words.join(" ")
}

/// The process, held by a bench.
pub(super) struct Engine {
    process: Process,
    pub(super) address: String,
}

impl Engine {
    /// Starts it on the loopback.
    pub(super) fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with more for its role.
    pub(super) fn start_with(how: &str) -> Self {
        let process = Process::start(&format!("{ROLE} listen=127.0.0.1:0 {how}"));
        let address = process.addresses[0].clone();
        Self { process, address }
    }

    pub(super) fn report(&mut self) -> Report {
        Report(
            self.process
                .ask()
                .split(' ')
                .map(|word| word.split_once('=').expect("name=value"))
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }
}

/// What the engine's process said about itself.
pub(super) struct Report(BTreeMap<String, u64>);

impl Report {
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0[name]
    }

    /// How much a number grew since an earlier report.
    pub(super) fn since(&self, earlier: &Self, name: &str) -> u64 {
        self.get(name) - earlier.get(name)
    }
}
