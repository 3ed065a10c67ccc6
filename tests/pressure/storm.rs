//! Ten thousand workers that come at once, each registering a function and watching all: after a start,
//! after the engine's death, after their own connections broke.

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::{Engine, PATIENT};
use crate::machine::{MIB, SLACK, alone, require_descriptors, wanted};
use crate::peer::all;

/// One in so many builds a view of its own and checks every frame.
const STRICT: usize = 100;

/// Memory of a worker with one function: connection, entry, session, its part of board, log and pages.
const WORKER: u64 = 8 * 1024;

#[test]
#[ignore = "heavy: 10,000 connections"]
fn a_storm_of_ten_thousand_reconnects_is_served_to_the_last() {
    let _alone = alone();
    let workers = wanted("CALLBOARD_WORKERS", 10_000) as usize;
    require_descriptors(workers as u64 + 200);
    let mut engine = Engine::start(15, PATIENT);
    let mut crowd = Crowd::new(engine.socket_address());
    let first = engine.memory();
    for n in 0..workers {
        let sight = match n % STRICT {
            0 => Sight::strict(&all()),
            _ => Sight::lean(),
        };
        crowd.add(sight, Some(format!("storm::{n:05}")));
    }
    served(&mut crowd, workers);
    check(&engine, &crowd, workers, "joined", first);

    // All lose the engine at the same moment, and find another with an empty board.
    engine.kill();
    engine.restart();
    crowd.watch_until("all have heard of its end", |crowd| {
        crowd.members.iter().all(|member| member.ended.is_some())
    });
    assert_eq!(crowd.reconnect(), workers);
    served(&mut crowd, workers);
    check(&engine, &crowd, workers, "came back after its death", first);

    // All connections break at once, without GOODBYE: each worker takes its session over.
    let revision = crowd.members[0].mine();
    for index in 0..workers {
        crowd.reconnect_one(index);
    }
    served(&mut crowd, workers);
    check(&engine, &crowd, workers, "reconnected at once", first);
    assert!(crowd.members[0].mine() >= revision);
}

/// Reads until each worker has what it wants: welcome, the board, its function on it. A worker that found the
/// backlog full and was refused reconnects, as any worker does.
fn served(crowd: &mut Crowd, workers: usize) {
    let mut again = 0;
    crowd.watch_until("each of them is served", |crowd| {
        again += crowd.reconnect();
        crowd.members.iter().all(is_served)
    });
    let newest = crowd.members.iter().filter_map(|member| {
        let registered = member.registered().expect("an answer");
        registered.as_ref().ok().copied()
    });
    let newest = newest.max().expect("somebody registered");
    crowd.read_until("the strict ones see everyone", |member| {
        member.reader().is_none_or(|reader| {
            reader.is_synced() && reader.mine >= newest && reader.view.functions.len() == workers
        })
    });
    println!("{workers} are served; {again} came more than once");
}

fn is_served(member: &Member) -> bool {
    let registered = member.registered().is_some_and(|ending| {
        assert!(ending.is_ok(), "{ending:?}");
        true
    });
    registered && member.is_welcome() && member.is_synced()
}

fn check(engine: &Engine, crowd: &Crowd, workers: usize, what: &str, first: u64) {
    let views: Vec<_> = crowd.members.iter().filter_map(Member::reader).collect();
    assert_eq!(views.len(), workers.div_ceil(STRICT));
    for reader in &views {
        assert_eq!(reader.view, views[0].view);
    }
    let stats = engine.stats();
    let count = |name: &str| stats[name].as_u64().expect("a number");
    assert_eq!(count("functions"), workers as u64);
    let (pages, revisions, snapshots) = (
        count("pages_encoded"),
        count("revisions"),
        &stats["resyncs"],
    );
    println!("{what}: {revisions} revisions, {pages} pages encoded, snapshots {snapshots}");
    // Encoded for each joiner, it would be pages times joiners; even one page for each ten would be too many.
    assert!(pages < workers as u64 / 10, "{pages} pages were encoded");
    let bound = workers as u64 * WORKER + count("log_bytes") + count("cache_bytes") + SLACK;
    let grown = engine.memory().saturating_sub(first);
    println!("{what}: {} MiB more than empty", grown / MIB);
    assert!(grown <= bound, "{what}: {grown} bytes, not {bound}");
}
