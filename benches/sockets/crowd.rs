//! Calls while changes go out to a crowd: what a call waits for when ten thousand watchers are being told something,
//! with the budget that a turn has for that, and without one.

use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::Engine;
use crate::load::Pair;
use crate::pace;
use crate::peer::Peer;
use crate::process;

const WATCHERS: usize = 10_000;
/// Changes of a run, and the time between two. What they make fits into the buffers of the watchers, who read
/// behind the run: else they would fight with the callers for their processor.
const CHANGES: u32 = 60;
const CHANGE_EVERY: Duration = Duration::from_millis(100);
const ROUNDS: usize = 3;

const MODES: [(&str, &str); 2] = [
    ("", "128 writes, then a look"),
    ("fanout=1000000", "all at once"),
];

pub(super) fn bench() {
    process::require_descriptors(WATCHERS as u64 + 1_000);
    let measuring = thread::spawn(|| {
        process::pin(false);
        println!(
            "crowd: a call each millisecond while {WATCHERS} watchers hear of a change every {} ms",
            CHANGE_EVERY.as_millis()
        );
        println!(
            "  {:<26} {} {:>14}",
            "a turn's fan-out",
            pace::HEADINGS,
            "writes/change"
        );
        let mut all = [(); 2].map(|()| pace::no_times());
        for round in 0..ROUNDS {
            for step in 0..MODES.len() {
                let which = (round + step) % MODES.len();
                let (how, name) = MODES[which];
                let (times, writes) = run(how);
                print(name, &times, writes);
                all[which].add(&times).expect("of the same bounds");
            }
        }
        for ((_, name), times) in MODES.iter().zip(&all) {
            print(&format!("{name}, all"), times, 0.0);
        }
    });
    measuring.join().expect("a measurement");
}

fn print(name: &str, times: &Histogram<u64>, writes: f64) {
    println!("  {name:<26} {} {writes:>14.0}", pace::columns(times));
}

/// Times of the calls, and write calls for each change.
fn run(how: &str) -> (Histogram<u64>, f64) {
    let mut engine = Engine::start_with(&format!("processor=last {how}"));
    let mut provider = Peer::join(&engine.address, false);
    provider.register("bench::echo", "");
    let caller = Peer::join(&engine.address, false);
    let mut pair = Pair::new(caller.into_stream(), provider.into_stream(), "bench::echo");
    let mut worker = Peer::join(&engine.address, false);
    let _crowd: Vec<Peer> = (0..WATCHERS)
        .map(|_| Peer::join(&engine.address, true))
        .collect();
    let before = engine.report();
    let changing = thread::spawn(move || {
        for number in 0..CHANGES {
            worker.register(&format!("orders::number{number:03}"), "");
            thread::sleep(CHANGE_EVERY);
        }
    });
    let mut times = pace::no_times();
    let calls = pace::call(&mut pair, &mut times, || changing.is_finished());
    changing.join().expect("all changes were made");
    let writes = engine.report().since(&before, "writes") - 2 * calls;
    (times, writes as f64 / f64::from(CHANGES))
}
