//! The machine that the tests run on: how many descriptors it allows, what its TCP holds, what a process
//! weighs. It says loudly when there is too little, and never passes for that reason.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit, setrlimit};

/// What a process may weigh more than before although it leaks nothing: the allocator keeps some of what it
/// was given back.
pub(crate) const SLACK: u64 = 16 << 20;

pub(crate) const MIB: u64 = 1 << 20;

/// Held by a test that needs the machine for itself, whatever `--test-threads` says: two crowds at once would
/// need more descriptors than there are.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process, and those that it starts, may have so many descriptors each. Fails the test where the
/// machine does not allow it.
pub(crate) fn require_descriptors(wanted: u64) {
    let mut limits = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(limits.current) {
        return;
    }
    assert!(
        enough(limits.maximum),
        "this test needs {wanted} file descriptors and may have {:?} at the most: raise the hard limit \
         (`ulimit -Hn`) or leave it out with `--skip`",
        limits.maximum
    );
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).expect("up to the hard limit");
}

/// A number out of the environment, to make a test larger or smaller.
pub(crate) fn wanted(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else {
        return default;
    };
    let number = text.replace('_', "").parse();
    number.unwrap_or_else(|_| panic!("{variable}={text} is no number"))
}

/// Memory that a process alone has in use, in bytes. The kernel's buffers are not in it.
pub(crate) fn memory(process: u32) -> u64 {
    let rollup = read(&format!("/proc/{process}/smaps_rollup"));
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a number of KiB").parse::<u64>().unwrap() * 1024
}

/// Descriptors that a process has open.
pub(crate) fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("the process runs")
        .count()
}

/// Threads of a process.
pub(crate) fn threads(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/task"))
        .expect("the process runs")
        .count()
}

/// Pages that the TCP of the whole machine holds.
pub(crate) fn tcp_pages() -> u64 {
    let text = read("/proc/net/sockstat");
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let mut words = line.expect("TCP").split_whitespace();
    words.find(|word| *word == "mem").expect("mem");
    words.next().expect("pages").parse().unwrap()
}

/// Pages at which the kernel begins to take memory away from connections.
pub(crate) fn tcp_pressure_pages() -> u64 {
    let text = read("/proc/sys/net/ipv4/tcp_mem");
    text.split_whitespace()
        .nth(1)
        .expect("three numbers")
        .parse()
        .unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
