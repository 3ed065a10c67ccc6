//! Watchers that do not read while the board changes a hundred thousand times: what they cost the engine
//! in memory, against the same without them, and what brings them up to date in the end.

use std::thread;
use std::time::Instant;

use callboard::protocol::Message;

use crate::engine::{Engine, Report};
use crate::peer::Peer;

const CHANGES: u64 = 100_000;
/// Changes between two looks at the engine.
const STRIDE: u64 = 10_000;
/// Functions that are described again, one after the other.
const FUNCTIONS: u64 = 100;
/// Bytes of a description: the log holds a fraction of all changes.
const DESCRIPTION: usize = 200;

pub(super) fn bench() {
    println!("stalled: {CHANGES} changes past watchers that do not read, and past one that does");
    println!(
        "  {:>7} {:>12} {:>12} {:>9} {:>9} {:>9} {:>7}",
        "stalled", "memory", "peak growth", "log", "cache", "outbound", "behind"
    );
    for stalled in [0, 1, 100] {
        run(stalled);
    }
}

fn run(stalled: u64) {
    let mut engine = Engine::start();
    let mut worker = Peer::join(&engine.address, false);
    for number in 0..FUNCTIONS {
        worker.register(&name(number), "");
    }
    let mut reading = Peer::join(&engine.address, true);
    let mut sleepers: Vec<Peer> = (0..stalled)
        .map(|_| Peer::join(&engine.address, true))
        .collect();
    let before = engine.report();
    let end = before.get("revisions") + CHANGES;
    // It reads all the time, as any watcher does.
    let reader = thread::spawn(move || {
        reading.read_until(|message| matches!(message, Message::Changes(step) if step.to == end));
    });
    let began = Instant::now();
    let mut peak = 0;
    let mut now = engine.report();
    for change in 0..CHANGES {
        let description = format!("{change:0DESCRIPTION$}");
        worker.register(&name(change % FUNCTIONS), &description);
        if (change + 1) % STRIDE == 0 {
            now = engine.report();
            peak = peak.max(now.get("memory").saturating_sub(before.get("memory")));
        }
    }
    let took = began.elapsed();
    reader.join().expect("the one that reads is not disturbed");
    line(stalled, &now, peak);
    println!(
        "          {} changes a second, encodings per change {:.3}",
        CHANGES * 1000 / took.as_millis() as u64,
        now.since(&before, "encodings") as f64 / CHANGES as f64,
    );
    if stalled > 0 {
        wake(&mut sleepers, end);
        let after = engine.report();
        println!(
            "          woken: {} bytes of memory more than before, {} snapshots, {} behind",
            after.get("memory").saturating_sub(now.get("memory")),
            after.since(&before, "snapshots"),
            after.get("behind"),
        );
    }
}

/// Lets them read until they are up to date.
fn wake(sleepers: &mut [Peer], end: u64) {
    let (mut changes, mut resyncs) = (0_u64, 0_u64);
    for sleeper in &mut *sleepers {
        sleeper.read_until(|message| match message {
            Message::Changes(step) => {
                changes += 1;
                step.to == end
            }
            Message::Resync(_) => {
                resyncs += 1;
                false
            }
            Message::Synced(synced) => synced.revision == end,
            _ => false,
        });
    }
    let each = sleepers.len() as u64;
    println!(
        "          each read {} frames of changes and {} resyncs to be up to date",
        changes / each,
        resyncs / each
    );
}

fn line(stalled: u64, report: &Report, peak: u64) {
    let kib = |name| format!("{} KiB", report.get(name) / 1024);
    println!(
        "  {stalled:>7} {:>12} {:>12} {:>9} {:>9} {:>9} {:>7}",
        kib("memory"),
        format!("{} KiB", peak / 1024),
        kib("log"),
        kib("cache"),
        kib("outbound"),
        report.get("behind"),
    );
}

fn name(number: u64) -> String {
    format!("orders::number{number:03}")
}
