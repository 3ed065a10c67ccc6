//! What the engine counts, against what was done.

use callboard::engine::{Changes, Time, Turn};
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, Definition, Ping};

use crate::reader::{CallEnding, Reader};
use crate::setup::{everything, functions, many, nothing, register_all};
use crate::world::{World, hello, plain};

fn changes(added: u64, removed: u64, updated: u64) -> Changes {
    Changes {
        added,
        removed,
        updated,
    }
}

#[test]
fn changes_are_counted_net_as_watchers_hear_of_them() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &nothing());
    world.register(worker, &["a", "b"]);
    world.turn();
    // Two functions and their worker.
    assert_eq!(world.engine.stats().changes, changes(3, 0, 0));
    let described = Definition {
        metadata: Bin(b"new"),
        ..plain("a")
    };
    world.register_definitions(worker, vec![described]);
    world.turn();
    assert_eq!(world.engine.stats().changes, changes(3, 0, 1));
    // Came and went within a turn: no watcher is told.
    world.register(worker, &["c"]);
    world.unregister(worker, &["c"]);
    world.turn();
    assert_eq!(world.engine.stats().changes, changes(3, 0, 1));
    world.reset(worker);
    world.turn();
    let stats = world.engine.stats();
    assert_eq!((stats.changes, stats.revisions), (changes(3, 3, 1), 3));
}

#[test]
fn the_revision_is_that_of_the_asker_s_namespace() {
    let mut world = World::new(Limits::default());
    assert_eq!(world.engine.stats().revision, 0);
    let worker = world.join("p", &nothing());
    for name in ["a", "b", "c"] {
        world.register(worker, &[name]);
        world.turn();
    }
    let other = world.open(Reader::new(nothing()));
    world.say(other, &hello("o", "other", &nothing(), None, None));
    world.turn();
    world.register(other, &["d"]);
    world.turn();
    let asked = |world: &mut World, link: usize| {
        let call = world.call(link, "engine::stats", b"", CallOptions::default());
        world.turn();
        let Some(CallEnding::Result(payload)) = world.call_ending(link, call) else {
            panic!("no result");
        };
        let stats = rmpv::decode::read_value(&mut &payload[..]).unwrap();
        (stats["revision"].as_u64(), stats["revisions"].as_u64())
    };
    assert_eq!(asked(&mut world, worker), (Some(3), Some(4)));
    assert_eq!(asked(&mut world, other), (Some(1), Some(4)));
    let stats = world.engine.stats();
    assert_eq!((stats.revision, stats.namespaces), (3, 2));
}

#[test]
fn results_of_the_engines_own_functions_and_of_workers_are_counted_together() {
    let mut world = World::new(Limits::default());
    let worker = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let ask = |world: &mut World| {
        world.call(
            caller,
            "engine::functions::list",
            b"",
            CallOptions::default(),
        );
        world.turn();
        world.engine.stats().endings.get("result").copied()
    };
    assert_eq!(ask(&mut world), Some(1));
    world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    let invoke = world.reader(worker).invocations().next().unwrap().id;
    world.answer(worker, invoke, b"");
    world.turn();
    assert_eq!(world.engine.stats().endings.get("result"), Some(&2));
    assert_eq!(ask(&mut world), Some(3));
}

#[test]
fn resyncs_and_lagging_readers_are_counted() {
    let mut world = World::new(Limits {
        log_bytes: 10_000,
        ..Limits::default()
    });
    let laggard = world.join("w", &functions());
    let worker = world.join("p", &nothing());
    world.join("x", &everything());
    assert_eq!(world.engine.stats().resyncs.get("joined"), Some(&2));
    assert_eq!(world.engine.stats().audiences, 2);
    world.links[laggard].capacity = 0;
    for name in many(200) {
        world.register(worker, &[&name]);
        world.turn();
        world.wait(2);
    }
    assert_eq!(world.engine.stats().behind, 1);
    world.settle();
    let stats = world.engine.stats();
    assert_eq!(stats.resyncs.get("log_trimmed"), Some(&1));
    assert_eq!((stats.behind, stats.functions), (0, 200));
}

#[test]
fn every_byte_and_frame_that_came_is_counted() {
    let mut world = World::new(Limits::default());
    let link = world.open(Reader::new(nothing()));
    assert_eq!(world.engine.stats().greeting, 1);
    let frame = hello("x", "default", &nothing(), None, None);
    let mut bytes = frame.len() as u64;
    world.say(link, &frame);
    world.turn();
    assert_eq!(world.engine.stats().greeting, 0);
    let ping = Ping::default().to_frame();
    // Two good frames, then one that ends the connection, then bytes that are not read any more.
    for said in [&ping[..], &ping, b"GET /", &ping] {
        world.say(link, said);
        bytes += said.len() as u64;
    }
    world.turn();
    world.say(link, &ping);
    bytes += ping.len() as u64;
    world.turn();
    let stats = world.engine.stats();
    assert_eq!((stats.frames_in, stats.bytes_in), (3, bytes));
}

#[test]
fn turns_are_counted_with_how_long_they_took() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &nothing());
    register_all(&mut world, worker, &many(10));
    for took in (1..=100).map(|turn| turn * 10) {
        let began = world.now;
        world.turn();
        let ended = Time(began.0 + took);
        let turn = Turn {
            began,
            sealed: began,
            flushed: ended,
            ended,
        };
        world.engine.note_turn(turn);
        world.wait(1);
    }
    let stats = world.engine.stats();
    assert_eq!(stats.turns, 100);
    let near = |got: u64, want: u64| got.abs_diff(want) <= want / 100;
    assert!(near(stats.turn_us.p50, 500), "{:?}", stats.turn_us);
    assert!(near(stats.turn_us.p99, 990) && near(stats.turn_us.max, 1000));
    assert_eq!(stats.recent_turn_us, stats.turn_us);
}
