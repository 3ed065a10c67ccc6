//! The promises one by one, each in the smallest world that shows it.

use callboard::limits::Limits;
use callboard::protocol::{Definition, Drain, Goodbye, HelloOptions, Ping, Text};

use crate::reader::{Reader, View, WatchFilter};
use crate::setup::{code, everything, fleet, functions, many, names, nothing, register_all};
use crate::turn::Budgets;
use crate::world::{World, hello, plain};

#[test]
fn a_joiner_gets_the_whole_board_closed_by_synced() {
    let mut world = World::new(Limits::default());
    let worker = world.join("w", &nothing());
    register_all(&mut world, worker, &many(10_000));
    world.turn();
    let joiner = world.join("j", &everything());
    let reader = world.reader(joiner);
    assert_eq!(reader.view.functions.len(), 10_000);
    assert_eq!(reader.view.workers.len(), 1);
    assert_eq!(
        (reader.resyncs.as_slice(), reader.mine),
        (&["joined".to_owned()][..], 1)
    );
    assert!(reader.snapshot_frames > 5, "in chunks");
}

#[test]
fn an_empty_board_is_synced_too() {
    let mut world = World::new(Limits::default());
    let joiner = world.join("j", &everything());
    assert_eq!(world.reader(joiner).view, View::default());
}

#[test]
fn push_reaches_every_watcher_in_the_turn_of_the_change() {
    let mut world = World::new(Limits::default());
    let watchers: Vec<usize> = (0..20).map(|_| world.join("w", &everything())).collect();
    let worker = world.join("p", &nothing());
    let id = world.register(worker, &["a", "b"]);
    world.turn();
    assert_eq!(world.ending(worker, id), &Ok(1));
    for &watcher in &watchers {
        assert_eq!(names(&world.reader(watcher).view), ["a", "b"]);
        assert_eq!(world.reader(watcher).steps, [(0, 1)]);
    }
    world.unregister(worker, &["a"]);
    world.turn();
    world.eof(worker);
    world.turn();
    for &watcher in &watchers {
        assert_eq!(world.reader(watcher).view, View::default());
        assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2), (2, 3)]);
    }
}

#[test]
fn one_change_to_a_thousand_watchers_is_encoded_once_and_written_once_each() {
    let mut world = World::new(Limits::default());
    let watchers: Vec<usize> = (0..1000).map(|_| world.hello("w", &functions())).collect();
    let worker = world.hello("p", &nothing());
    world.turn();
    let before = world.engine.stats().encodings;
    let writes: Vec<u64> = watchers
        .iter()
        .map(|&link| world.links[link].writes)
        .collect();
    world.register(worker, &["a"]);
    world.turn();
    assert_eq!(world.engine.stats().encodings, before + 1);
    for (&watcher, before) in watchers.iter().zip(writes) {
        assert_eq!(world.links[watcher].writes, before + 1);
        assert_eq!(names(&world.reader(watcher).view), ["a"]);
    }
}

#[test]
fn added_and_removed_within_one_turn_reaches_no_watcher() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    let first = world.register(worker, &["a"]);
    let second = world.unregister(worker, &["a"]);
    world.turn();
    assert_eq!(
        (world.ending(worker, first), world.ending(worker, second)),
        (&Ok(0), &Ok(0))
    );
    assert_eq!(world.reader(watcher).change_frames, 0);
    // Nor does taking away and giving back.
    world.register(worker, &["a"]);
    world.turn();
    world.unregister(worker, &["a"]);
    world.register(worker, &["a"]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
}

#[test]
fn a_batch_of_ten_thousand_is_one_step_in_parts() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    let id = register_all(&mut world, worker, &many(10_000));
    // However the frames of the batch arrive: nothing of it shows before the last byte.
    while world.links[worker].up.len() > 1 {
        let half = world.links[worker].up.len() / 2;
        world.arrive(worker, half.max(1));
        world.finish_turn(Budgets::ALL);
        world.receive(watcher, usize::MAX);
        assert_eq!(world.reader(watcher).change_frames, 0);
    }
    world.turn();
    assert_eq!(world.ending(worker, id), &Ok(1));
    let reader = world.reader(watcher);
    assert!(
        reader.change_frames > 5,
        "in parts: {}",
        reader.change_frames
    );
    assert_eq!(
        (reader.steps.as_slice(), reader.view.functions.len()),
        (&[(0, 1)][..], 10_000)
    );
    // And its end is one step.
    world.reset(worker);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
    assert_eq!(world.reader(watcher).view, View::default());
}

#[test]
fn the_last_definition_of_a_name_holds() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &functions());
    let worker = world.join("p", &nothing());
    let described = |text: &'static str| Definition {
        description: Text(text),
        ..plain("a")
    };
    world.register_definitions(worker, vec![described("1"), described("2")]);
    world.turn();
    let second = world.reader(watcher).view.functions["a"];
    // Registering the same again is no change; something else is an update.
    world.register_definitions(worker, vec![described("2")]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
    world.register_definitions(worker, vec![described("1")]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
    assert_ne!(world.reader(watcher).view.functions["a"], second);
}

#[test]
fn a_shared_function_stays_while_either_provider_lives() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &functions());
    let detailed = world.join("d", &everything());
    let (first, second) = (world.join("1", &nothing()), world.join("2", &nothing()));
    world.register(first, &["a"]);
    world.turn();
    let described = Definition {
        description: Text("the second's"),
        ..plain("a")
    };
    world.register_definitions(second, vec![described]);
    world.turn();
    // A watcher of functions is told of the first provider only; a watcher of workers of both.
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
    assert_eq!(world.reader(detailed).view.workers.len(), 2);
    let shown = world.reader(watcher).view.functions["a"];
    world.reset(first);
    world.turn();
    // The longest-standing provider's entry is shown: now the second's.
    assert_ne!(world.reader(watcher).view.functions["a"], shown);
    world.reset(second);
    world.turn();
    assert_eq!(world.reader(watcher).view, View::default());
    assert_eq!(world.reader(detailed).view, View::default());
}

#[test]
fn prefixes_and_details_show_exactly_what_they_should() {
    let mut world = World::new(Limits::default());
    let before = world.join("w", &WatchFilter::new(&["a::", "b"], &["blue"]));
    let other = world.open(Reader::new(everything()));
    world.say(other, &hello("o", "elsewhere", &everything(), None, None));
    let (blue, red) = (
        world.join("blue-1", &nothing()),
        world.join("red-1", &nothing()),
    );
    world.register(blue, &["a::1", "a", "c::1"]);
    world.register(red, &["b", "a::2"]);
    world.turn();
    let after = world.join("w", &WatchFilter::new(&["a::", "b"], &["blue"]));
    for link in [before, after] {
        // The reader itself rules out everything that its filter does not let through.
        let view = &world.reader(link).view;
        assert_eq!(names(view), ["a::1", "a::2", "b"]);
        let workers: Vec<_> = view.workers.values().cloned().collect();
        let functions = ["a", "a::1", "c::1"].map(str::to_owned).into();
        assert_eq!(workers, [("blue-1".to_owned(), functions)]);
    }
    // A change that no member of an audience watches does not even wake it.
    let writes = world.links[before].writes;
    world.register(red, &["zebra"]);
    world.turn();
    assert_eq!(world.links[before].writes, writes);
    // Namespaces are separate boards.
    assert_eq!(world.reader(other).view, View::default());
    assert_eq!(world.reader(other).change_frames, 0);
}

#[test]
fn a_watcher_that_stops_reading_costs_a_position() {
    let limits = Limits {
        changes_per_second: 0,
        log_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut world = World::new(Limits {
        write_deadline: u64::MAX / 2000,
        ..limits
    });
    let stalled = world.join("s", &everything());
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    world.links[stalled].capacity = 1000;
    for index in 0..100_000u32 {
        let name = format!("f{}", index % 977);
        if index / 977 % 2 == 0 {
            world.register(worker, &[&name]);
        } else {
            world.unregister(worker, &[&name]);
        }
        for link in [worker, stalled] {
            world.arrive(link, usize::MAX);
        }
        world.finish_turn(Budgets::ALL);
        world.receive(worker, usize::MAX);
        world.receive(watcher, usize::MAX);
        if index % 1000 == 0 {
            // It pings to stay alive: silence is something else.
            world.say(stalled, &Ping::default().to_frame());
            world.wait(1000);
            world.say(watcher, &Ping::default().to_frame());
            world.arrive(watcher, usize::MAX);
            let stats = world.engine.stats();
            let held = stats.log_bytes + stats.cache_bytes + stats.outbound_bytes;
            assert!(held < (1 << 20) + 300_000, "{stats:?}");
        }
    }
    assert_eq!(
        world.reader(watcher).steps.len(),
        100_000,
        "the other one missed nothing"
    );
    assert!(world.reader(stalled).steps.len() < 50, "it did not read");
    world.settle();
    assert_eq!(world.reader(stalled).view, world.reader(watcher).view);
    assert!(
        world
            .reader(stalled)
            .resyncs
            .contains(&"log_trimmed".to_owned())
    );
    assert!(world.reader(stalled).is_synced());
}

#[test]
fn a_laggard_within_the_log_is_sent_the_net_effect() {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let slow = world.join("s", &everything());
    let worker = world.join("p", &nothing());
    world.links[slow].capacity = 0;
    for _ in 0..1000 {
        world.register(worker, &["toggled"]);
        world.turn();
        world.unregister(worker, &["toggled"]);
        world.turn();
    }
    world.register(worker, &["stays"]);
    world.settle();
    let reader = world.reader(slow);
    assert_eq!(names(&reader.view), ["stays"]);
    assert_eq!(reader.resyncs.len(), 1, "the one of its join");
    assert!(reader.change_frames < 10, "{} frames", reader.change_frames);
}

#[test]
fn joiners_share_pages_and_only_changed_pages_are_encoded_again() {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let worker = world.join("p", &nothing());
    register_all(&mut world, worker, &many(10_000));
    world.turn();
    world.join("first", &functions());
    let cold = world.engine.stats().pages_encoded;
    for index in 0..200 {
        let joiner = world.join("j", &functions());
        world.register(joiner, &[&format!("joined::{index}")]);
        world.turn();
    }
    let encoded = world.engine.stats().pages_encoded - cold;
    assert!(
        encoded <= 201,
        "{encoded} pages for 200 joins with a change each"
    );
}

#[test]
fn a_page_that_is_cut_anew_in_the_midst_of_a_snapshot_leaves_nothing_out() {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let worker = world.join("p", &nothing());
    // One page of many frames, of which one write holds a part.
    let description = "x".repeat(10_000);
    let names = many(100);
    let described = names.iter().map(|name| Definition {
        description: Text(&description),
        ..plain(name)
    });
    world.register_definitions(worker, described.collect());
    world.settle();
    let joiner = world.hello("joiner", &functions());
    world.arrive(joiner, usize::MAX);
    world.finish_turn(Budgets::writes(1, 0));
    // The first entry shrinks: each frame behind it begins with another entry than before.
    world.register(worker, &[&names[0]]);
    world.arrive(worker, usize::MAX);
    world.finish_turn(Budgets::writes(0, 0));
    assert!(!world.reader(joiner).is_synced());
    world.settle();
    assert!(world.reader(joiner).is_synced());
    assert_eq!(world.reader(joiner).view.functions.len(), names.len());
}

/// A joiner is sent a snapshot; meanwhile a function comes before it has got there, and goes after so many further
/// writes. Whether it was synced by then.
fn synced_before_the_end(writes: usize) -> bool {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let worker = world.join("p", &nothing());
    // Two writes of a snapshot and more in front of what comes and goes, and as much behind it.
    let description = "x".repeat(10_000);
    for prefix in ["a", "n"] {
        let names: Vec<String> = (0..60)
            .map(|number| format!("{prefix}::{number}"))
            .collect();
        let described = names.iter().map(|name| Definition {
            description: Text(&description),
            ..plain(name)
        });
        world.register_definitions(worker, described.collect());
        world.settle();
    }
    let joiner = world.hello("joiner", &WatchFilter::new(&["a::", "m::", "n::"], &[]));
    world.arrive(joiner, usize::MAX);
    world.finish_turn(Budgets::writes(1, 0));
    world.register(worker, &["m::brief"]);
    world.arrive(worker, usize::MAX);
    world.finish_turn(Budgets::writes(0, 0));
    for _ in 0..writes {
        world.flush(Budgets::writes(0, 1));
        world.receive(joiner, usize::MAX);
    }
    let was_synced = world.reader(joiner).is_synced();
    world.unregister(worker, &["m::brief"]);
    world.settle();
    assert!(world.reader(joiner).is_synced());
    let view = &world.reader(joiner).view;
    let seen = names(view).contains(&"m::brief");
    assert!(!seen, "after {writes} writes: it went, and is shown still");
    assert_eq!(view.functions.len(), 120);
    was_synced
}

#[test]
fn what_came_into_a_snapshot_and_went_before_its_end_is_taken_back() {
    let mut writes = 0;
    while !synced_before_the_end(writes) {
        writes += 1;
    }
    assert!(
        writes > 4,
        "{writes} writes: the snapshot is too small to get in between"
    );
}

#[test]
fn a_worker_that_drains_leaves_the_board_and_stays_connected() {
    let (mut world, watcher, worker) = fleet(&many(3), Limits::default());
    world.say(worker, &Drain::default().to_frame());
    world.turn();
    assert_eq!(world.reader(watcher).view, View::default());
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
    let id = world.register(worker, &["late"]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "draining");
    assert!(world.links[worker].open);
}

#[test]
fn shutdown_empties_no_view_and_spreads_the_return() {
    let (mut world, watcher, worker) = fleet(&many(100), Limits::default());
    let more: Vec<usize> = (0..50).map(|_| world.hello("w", &functions())).collect();
    world.turn();
    world.engine.handle_shutdown(world.now);
    world.turn();
    world.eof(worker);
    world.turn();
    assert_eq!(world.reader(watcher).view.functions.len(), 100);
    let mut waits = Vec::new();
    for link in more {
        let reader = world.reader(link);
        assert!(reader.drain.is_some());
        let (code, _, retry) = reader.goodbye.clone().unwrap();
        assert_eq!(code, "shutting_down");
        waits.extend(retry);
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 25, "jittered: {waits:?}");
    for link in 0..world.links.len() {
        world.eof(link);
    }
    world.turn();
    assert!(world.engine.is_finished());
    // A new connection is refused now.
    let late = world.open(Reader::new(nothing()));
    world.turn();
    assert_eq!(
        world.reader(late).goodbye.as_ref().unwrap().0,
        "shutting_down"
    );
}

#[test]
fn goodbye_is_flushed_before_the_close() {
    let mut world = World::new(Limits::default());
    let link = world.join("w", &nothing());
    let id = world.register(link, &["a"]);
    world.say(link, &Goodbye::default().to_frame());
    world.turn();
    assert!(
        world.ending(link, id).is_ok(),
        "what came before the farewell is answered"
    );
    assert!(world.links[link].half_closed && world.links[link].open);
    world.eof(link);
    world.turn();
    assert!(!world.links[link].open);
}

#[test]
fn two_engines_of_one_seed_do_the_same_and_of_two_seeds_do_not() {
    let keys = |seed| {
        let mut world = World::seeded(Limits::default(), seed);
        let link = world.join("w", &nothing());
        world.session(link)
    };
    assert_eq!(keys(5), keys(5));
    assert_ne!(keys(5), keys(6));
}

#[test]
fn a_hello_with_nothing_said_about_a_watch_watches_all_functions() {
    let mut world = World::new(Limits::default());
    let link = world.open(Reader::new(functions()));
    let hello = callboard::protocol::Hello {
        versions: vec![1],
        name: Text("w"),
        namespace: Text(""),
        ext: HelloOptions::default(),
    };
    world.say(link, &hello.to_frame());
    world.register(link, &["a"]);
    world.turn();
    assert_eq!(names(&world.reader(link).view), ["a"]);
}
