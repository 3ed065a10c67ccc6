//! The engine's process, from both sides: what it runs, and the handle that the benches hold of it. The
//! process is this program started again. It answers each line on its standard input with a line of
//! numbers, and ends with its input.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use callboard::limits::Limits;
use callboard::server::{Server, ServerConfig, ServerHandle};

/// Makes this program the engine: flags of limits, as `flag=value` with spaces between.
const ENGINE: &str = "CALLBOARD_BENCH_ENGINE";

/// A command to run the engine under, e.g. `strace -f -c -o counts.txt`.
const UNDER: &str = "CALLBOARD_BENCH_UNDER";

/// The flags, if this process is to be the engine.
pub(super) fn flags() -> Option<String> {
    std::env::var(ENGINE).ok()
}

/// The engine's process.
pub(super) fn serve(flags: &str) -> ExitCode {
    let mut limits = Limits::default();
    for (flag, value) in flags.split_whitespace().filter_map(|f| f.split_once('=')) {
        *limits.by_flag(flag).expect("a limit's flag") = value.parse().expect("a number");
    }
    let server = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        limits,
        ..ServerConfig::default()
    })
    .expect("a free loopback port");
    println!("{}", server.addresses()[0]);
    for line in std::io::stdin().lines() {
        if line.is_err() {
            break;
        }
        println!("{}", report(&server));
    }
    ExitCode::SUCCESS
}

/// What it counts and what it weighs, as `name=value` with spaces between.
fn report(server: &ServerHandle) -> String {
    let stats = server.stats().expect("the engine runs");
    let counters = server.counters();
    let resyncs: u64 = stats.resyncs.values().sum();
    let numbers = [
        ("memory", memory()),
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

/// Bytes of memory that this process alone has in use (the kernel's buffers are not among them).
/// From `smaps_rollup`, since the sums in `status` are rounded per thread.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("Anonymous:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.expect("a number of KiB") * 1024
}

/// The process, held by a bench. Ends with it.
pub(super) struct Engine {
    child: Child,
    /// Closed at the end, which ends the process by itself: what it runs under can then say what it
    /// counted.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pub(super) address: String,
}

impl Engine {
    /// Starts it. Nobody is pinged, expired or rationed in it: what is counted is what the bench causes.
    pub(super) fn start() -> Self {
        let flags =
            "ping-after=3600000 silence=7200000 write-deadline=7200000 changes-per-second=0";
        let program = std::env::current_exe().expect("this program");
        let under = std::env::var(UNDER).unwrap_or_default();
        let mut words = under.split_whitespace();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .env(ENGINE, flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the engine's process");
        let input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = output
            .next()
            .expect("it says where it listens")
            .expect("text");
        Self {
            child,
            input: Some(input),
            output,
            address,
        }
    }

    pub(super) fn report(&mut self) -> Report {
        let input = self.input.as_mut().expect("it is open until the end");
        input.write_all(b"\n").expect("the engine runs");
        let line = self.output.next().expect("the engine runs").expect("text");
        Report(
            line.split(' ')
                .map(|word| word.split_once('=').expect("name=value"))
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.input = None;
        if let Err(error) = self.child.wait() {
            eprintln!("the engine's process was lost: {error}");
        }
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
