//! Steps of 5,000 functions on a board that no cache holds: 200 workers register, and withdraw, round after round. A turn
//! is judged by its longest, and criterion tells means: so this prints the median and the longest of each round itself.

use std::time::{Duration, Instant};

use callboard::engine::ConnId;

use crate::fleet::{Fleet, hello, register, unregister};

const WORKERS: usize = 200;
const STEP: u32 = 5_000;
const ROUNDS: usize = 3;

pub(super) fn bench() {
    let mut fleet = Fleet::new();
    let (mut come, mut go) = (Vec::new(), Vec::new());
    for number in 0..WORKERS {
        let name = |function| format!("worker{number:03}::function{function:05}");
        let names: Vec<String> = (0..STEP).map(name).collect();
        let names = || names.iter().map(|name| &**name);
        let worker = fleet.join(&hello(false));
        come.push((worker, register(names())));
        go.push((worker, unregister(names())));
    }
    println!("\n{WORKERS} steps of {STEP} functions, us a function, median and longest");
    for _ in 0..ROUNDS {
        let registered = told(&mut fleet, &come);
        let withdrawn = told(&mut fleet, &go);
        println!("registered: {registered}; withdrawn: {withdrawn}");
    }
}

/// Has each worker say its frame in a turn of its own. Returns the median and the longest.
fn told(fleet: &mut Fleet, frames: &[(ConnId, Vec<u8>)]) -> String {
    let time = |(worker, frame): &(ConnId, Vec<u8>)| {
        let begin = Instant::now();
        fleet.say(*worker, frame);
        begin.elapsed()
    };
    let mut times: Vec<Duration> = frames.iter().map(time).collect();
    times.sort_unstable();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(STEP);
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    format!("{:.2} and {:.2}", each(median), each(longest))
}
