//! A thousand watchers of which half stop reading while the board goes on changing: neither the engine's memory
//! nor the system's runs out, the others miss nothing, and those who wake are brought up to date.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::{Engine, PATIENT};
use crate::machine::{
    MIB, SLACK, alone, require_descriptors, tcp_pages, tcp_pressure_pages, wanted,
};
use crate::peer::{Peer, all, nothing, plain};

/// Bytes of an entry: far more of them than kernel and log take together, none can be folded away.
const ENTRY: usize = 30_000;

/// Bytes of a reader's receive buffer: on another host it would be that host's memory.
const RECEIVE: usize = 64 * 1024;

/// What the kernel may hold for one who does not read: the engine's send buffer of 256 KiB and the reader's
/// receive buffer, both twice for the kernel's own book-keeping, and what its segments are larger than their
/// bytes.
const STUCK: u64 = MIB;

const PAGE: u64 = 4096;

#[test]
#[ignore = "heavy: gigabytes through 500 sockets"]
fn five_hundred_stalled_readers_among_a_thousand_cost_bounded_memory_and_no_change_is_lost() {
    let _alone = alone();
    let watchers = wanted("CALLBOARD_READERS", 1000) as usize;
    require_descriptors(watchers as u64 + 200);
    let mut flags = PATIENT.to_vec();
    flags.extend(["--log-bytes=4194304", "--changes-per-second=0"]);
    let engine = Engine::start(10, &flags);
    let mut crowd = Crowd::new(engine.socket_address());
    crowd.receive_buffer = Some(RECEIVE);
    for _ in 0..watchers {
        crowd.add(Sight::strict(&all()), None);
    }
    crowd.read_until("the whole board", Member::is_synced);
    let mut worker = Peer::join(&engine.address(), "worker", &nothing());
    let (memory, pages) = (engine.memory(), tcp_pages());
    let pressure = tcp_pressure_pages();
    let half = watchers / 2;

    let all_read = change(&mut worker, &mut crowd, 0, 0);
    crowd.set_reading(half, false);
    let mut most = (0, 0);
    let mut half_read = Duration::ZERO;
    for round in 1..=8 {
        half_read += change(&mut worker, &mut crowd, round, half);
        let tcp = tcp_pages();
        assert!(
            tcp < pressure,
            "TCP holds {tcp} pages; the kernel's limit is {pressure}"
        );
        most.0 = most.0.max(tcp.saturating_sub(pages) * PAGE);
        most.1 = most.1.max(engine.memory().saturating_sub(memory));
    }
    println!(
        "{half} stalled of {watchers}: TCP {} MiB more at the most, the engine {} MiB; a round took {} ms \
         while all read and {} ms after that, in the mean",
        most.0 / MIB,
        most.1 / MIB,
        all_read.as_millis(),
        half_read.as_millis() / 8,
    );
    assert!(
        most.0 <= half as u64 * STUCK + SLACK,
        "TCP: {} bytes",
        most.0
    );
    let log = engine.count("log_bytes") + engine.count("cache_bytes");
    assert!(
        most.1 <= log + SLACK,
        "the engine: {} bytes, log {log}",
        most.1
    );
    assert!(engine.count("behind") >= half as u64);

    crowd.set_reading(half, true);
    let revision = worker.register(&["stalled::last"]).unwrap();
    crowd.read_until("those who woke are up to date", |member| {
        member.is_synced() && member.mine() >= revision
    });
    let mut witness = Peer::join(&engine.address(), "witness", &all());
    witness.catch_up(revision);
    for member in &crowd.members {
        assert_eq!(member.reader().expect("eyes").view, *witness.view());
    }
    let resynced = crowd.members[..half].iter().filter(|member| {
        let reader = member.reader().expect("eyes");
        reader.resyncs.len() > 1
    });
    assert_eq!(resynced.count(), half, "the log had left them behind");
}

/// Two megabytes of changes, read by all but the first so many.
fn change(worker: &mut Peer, crowd: &mut Crowd, round: u8, stalled: usize) -> Duration {
    let began = Instant::now();
    let mut revision = 0;
    for n in 0..70 {
        let metadata = vec![round; ENTRY];
        let name = format!("stalled::{n}");
        let mut entry = plain(&name);
        entry.metadata.0 = &metadata;
        revision = worker.register_all(vec![entry]).unwrap();
    }
    crowd.watch_until("those who read are up to date", |crowd| {
        let mut reading = crowd.members[stalled..].iter();
        reading.all(|member| member.mine() >= revision)
    });
    began.elapsed()
}
