//! What busy polling buys and costs: one call in flight through an engine that sleeps, through one that spins for a
//! while after the last activity, and through one that never sleeps; in alternation. The engine has one processor,
//! caller and provider the other.

use std::thread;
use std::time::{Duration, Instant};

use crate::calls::{TRANSPORTS, Target};
use crate::load::Shape;
use crate::process;

const ROUNDS: usize = 15;
const LENGTH: Duration = Duration::from_millis(400);

/// What an engine is told, and what that is called.
const MODES: [(&str, &str); 3] = [
    ("", "sleeps"),
    ("spin=200", "spins for 200 us"),
    ("spin=always", "always spins"),
];

pub(super) fn bench() {
    // Pinning is for the rest of a thread's life.
    let measuring = thread::spawn(|| {
        process::pin(false);
        println!("spin: one call in flight; medians of {ROUNDS} alternations");
        for (transport, name) in TRANSPORTS.iter().enumerate() {
            compare(transport, name);
        }
    });
    measuring.join().expect("a measurement");
}

fn compare(transport: usize, name: &str) {
    let directory = tempfile::tempdir().expect("a directory for sockets");
    println!(
        "  {name:<20} {:>12} {:>12} {:>14} {:>14}",
        "p50, us", "p99, us", "CPU, calling", "CPU, idle"
    );
    let mut figures = [(); 3].map(|()| [(); 4].map(|()| Vec::new()));
    for round in 0..ROUNDS {
        for step in 0..MODES.len() {
            // The order alternates.
            let which = (round + step) % MODES.len();
            // One engine at a time: one that spins leaves the others no processor.
            let path = directory.path().join(format!("{round}-{step}"));
            let listen = format!("unix:{}", path.display());
            let mut target = Target::engine(&listen, MODES[which].0);
            let (run, used) = target.run(transport, Shape::One, LENGTH);
            let began = Instant::now();
            let before = target.cpu();
            thread::sleep(LENGTH / 4);
            let idle = target.cpu().saturating_sub(before).as_secs_f64();
            let microseconds = |part| run.times.value_at_quantile(part) as f64 / 1e3;
            let found = [
                microseconds(0.5),
                microseconds(0.99),
                100.0 * used.as_secs_f64() / run.took.as_secs_f64(),
                100.0 * idle / began.elapsed().as_secs_f64(),
            ];
            for (all, one) in figures[which].iter_mut().zip(found) {
                all.push(one);
            }
        }
    }
    for ((_, mode), figures) in MODES.iter().zip(&mut figures) {
        let [p50, p99, calling, idle] = figures.each_mut().map(|all| {
            all.sort_unstable_by(f64::total_cmp);
            all[all.len() / 2]
        });
        println!("    {mode:<18} {p50:>12.1} {p99:>12.1} {calling:>12.0} % {idle:>12.0} %");
    }
}
