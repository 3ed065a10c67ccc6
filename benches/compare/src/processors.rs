//! The two processors that a comparison takes: the last one that this program may use is the servers', the first one
//! is the load's. Where there is but one, all share it, and the report says so.

use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

struct Processors {
    load: usize,
    server: usize,
}

/// Those that this program could use when it was started.
fn chosen() -> &'static Processors {
    static CHOSEN: OnceLock<Processors> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let usable = sched_getaffinity(None).expect("Linux");
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| usable.is_set(cpu));
        let load = usable.next().expect("it runs somewhere");
        Processors {
            load,
            server: usable.next_back().unwrap_or(load),
        }
    })
}

/// Whether server and load have one each.
pub(crate) fn are_apart() -> bool {
    chosen().load != chosen().server
}

/// Keeps this thread where the load runs.
pub(crate) fn take_the_loads() {
    stay_on(chosen().load);
}

/// Starts something whose threads all stay on the servers' processor.
pub(crate) fn on_the_servers<T>(start: impl FnOnce() -> T) -> T {
    // What a thread starts inherits where it may run.
    stay_on(chosen().server);
    let started = start();
    take_the_loads();
    started
}

fn stay_on(processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one).expect("a processor that it may use");
}
