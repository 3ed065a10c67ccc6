//! A server in a process of its own, from both sides: what the bench holds, and what the process itself says.
//! The process is this program started again in another role. Its first line names its id and its addresses;
//! then it answers each line on its standard input with a line of its own, and ends with its input.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The role that this program shall play: a word, then `name=value` with spaces between.
const ROLE: &str = "CALLBOARD_BENCH_ROLE";

/// A command to run the process under, e.g. `strace -f -c -o counts.txt`.
const UNDER: &str = "CALLBOARD_BENCH_UNDER";

/// The role, if this process is a server.
pub(super) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The values of this name in a role.
pub(super) fn values<'a>(role: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let words = role.split_whitespace().filter_map(|it| it.split_once('='));
    words.filter_map(move |(it, value)| (it == name).then_some(value))
}

/// The server's side: says where it listens, then answers until its clients are gone.
pub(super) fn answer(addresses: &[String], report: impl Fn() -> String) {
    println!("{} {}", std::process::id(), addresses.join(" "));
    for line in std::io::stdin().lines() {
        if line.is_err() {
            break;
        }
        println!("{}", report());
    }
}

/// The processors that this program could use before it was pinned to one of them.
static USABLE: OnceLock<CpuSet> = OnceLock::new();

/// Keeps this thread, and those that it will start, on one of the processors that it may use: the first or the
/// last. Does nothing where there is but one.
pub(super) fn pin(last: bool) {
    let usable = sched_getaffinity(None).expect("Linux");
    let usable = USABLE.get_or_init(|| usable);
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&cpu| usable.is_set(cpu));
    let chosen = if last {
        processors.next_back()
    } else {
        processors.next()
    };
    let mut one = CpuSet::new();
    one.set(chosen.expect("it runs somewhere"));
    if usable.count() > 1 {
        sched_setaffinity(None, &one).expect("a processor that it may use");
    }
}

/// Ends the bench unless this process, and the servers that it starts, may have so many file descriptors.
pub(super) fn require_descriptors(wanted: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    assert!(
        soft.is_none_or(|soft: u64| soft >= wanted),
        "{wanted} file descriptors are needed: `ulimit -n {wanted}` first"
    );
}

/// Processor time that all threads of a process used so far, in the kernel and outside of it. Of one that runs at
/// this moment, up to its last tick.
pub(super) fn processor_time(id: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("Linux");
    let of = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let path = task.ok()?.path().join("schedstat");
        let text = std::fs::read_to_string(path).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(of).sum())
}

/// The process, held by a bench. Ends with it.
pub(super) struct Process {
    child: Child,
    /// Closed at the end, which ends the process by itself: what it runs under can then say what it
    /// counted.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pub(super) id: u32,
    pub(super) addresses: Vec<String>,
}

impl Process {
    /// Starts this program in another role.
    pub(super) fn start(role: &str) -> Self {
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
        command
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // A process inherits where it may run: one that is to choose for itself must find all processors.
        let pinned = sched_getaffinity(None).expect("Linux");
        if let Some(usable) = USABLE.get() {
            sched_setaffinity(None, usable).expect("processors that it may use");
        }
        let mut child = command.spawn().expect("the server's process");
        sched_setaffinity(None, &pinned).expect("the processors that it had");
        let input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = output.next().expect("it says who it is").expect("text");
        let mut words = line.split(' ').map(str::to_owned);
        let id = words.next().and_then(|id| id.parse().ok());
        Self {
            child,
            input: Some(input),
            output,
            id: id.expect("a process id"),
            addresses: words.collect(),
        }
    }

    /// Has it say how it is.
    pub(super) fn ask(&mut self) -> String {
        let input = self.input.as_mut().expect("it is open until the end");
        input.write_all(b"\n").expect("the server runs");
        self.output.next().expect("the server runs").expect("text")
    }

    pub(super) fn cpu(&self) -> Duration {
        processor_time(self.id)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        if let Err(error) = self.child.wait() {
            eprintln!("a server's process was lost: {error}");
        }
    }
}
