//! Partial rights over workers that are large or change, and readers of one audience that stand at different places.

use callboard::engine::{Rights, Verb};
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, HelloOptions};

use crate::calls::invoked;
use crate::reader::{Reader, View, WatchFilter};
use crate::rights::{admit, all, hello_of, join, nothing, principal, with_one};
use crate::setup::{names, register_all};
use crate::turn::Budgets;
use crate::world::World;

/// An engine with `god`, who may do everything, and `x`, who may observe `seen::`.
fn world() -> World {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    });
    let x = with_one(Verb::Observe, (&["seen::"], &[]));
    let principals = vec![principal("god", Rights::everything()), principal("x", x)];
    admit(&mut world, principals);
    world
}

/// This many names of 255 bytes under a prefix, in order.
fn long_names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            format!(
                "{prefix}{:x<width$}{number:04}",
                "",
                width = 251 - prefix.len()
            )
        })
        .collect()
}

/// A worker of `god` with this metadata; it takes the session of `key` over, if there is one.
fn worker(world: &mut World, name: &str, metadata: &[u8], key: Option<&[u8]>) -> usize {
    let link = world.open(Reader::new(nothing()));
    let ext = HelloOptions {
        metadata: Bin(metadata),
        session: key.map(Bin),
        ..HelloOptions::default()
    };
    world.say(link, &hello_of("god", name, &nothing(), ext));
    world.turn();
    link
}

/// The view of a reader, by the names of workers: metadata, number of functions.
fn workers(world: &World, link: usize) -> Vec<(String, Vec<u8>, usize)> {
    let view = &world.reader(link).view;
    let metadata = |id| view.metadata.get(id).cloned().unwrap_or_default();
    let workers = view.workers.iter();
    let workers =
        workers.map(|(id, (name, functions))| (name.clone(), metadata(id), functions.len()));
    workers.collect()
}

/// A newcomer with the same rights has the same view.
fn assert_as_a_newcomer(world: &mut World, watcher: usize, principal: &str) {
    let filter = world.reader(watcher).filter.clone();
    let newcomer = join(world, principal, "newcomer", &filter);
    world.settle();
    assert_eq!(world.reader(watcher).view, world.reader(newcomer).view);
    world.reset(newcomer);
    world.turn();
}

#[test]
fn a_worker_of_several_entries_joins_changes_and_leaves_as_one() {
    // Names of 255 bytes: 64 of them fill an entry, and 257 a part of a change.
    for count in [1, 63, 64, 65, 260] {
        let mut world = world();
        let [x, god] = ["x", "god"].map(|it| join(&mut world, it, "w", &all()));
        let large = worker(&mut world, "large", b"metadata", None);
        let seen = long_names("seen::", count);
        let other = long_names("other::", count);
        let both: Vec<String> = seen.iter().chain(&other).cloned().collect();
        register_all(&mut world, large, &both);
        world.settle();
        let expected = |count| vec![("large".to_owned(), b"metadata".to_vec(), count)];
        assert_eq!(workers(&world, x), expected(count));
        assert_eq!(workers(&world, god), expected(2 * count));
        assert_as_a_newcomer(&mut world, x, "x");
        // All but one go, and come again.
        let most: Vec<&str> = both
            .iter()
            .map(|name| &**name)
            .filter(|it| **it != *seen[0])
            .collect();
        world.unregister(large, &most);
        world.settle();
        assert_eq!(workers(&world, x), expected(1));
        assert_as_a_newcomer(&mut world, x, "x");
        register_all(&mut world, large, &both[1..]);
        world.settle();
        assert_eq!(workers(&world, x), expected(count));
        world.reset(large);
        world.settle();
        for link in [x, god] {
            assert_eq!(world.reader(link).view, View::default());
        }
    }
}

#[test]
fn a_snapshot_that_stops_within_a_worker_leaves_none_of_the_next_one_s_names_out() {
    let mut world = world();
    let large = worker(&mut world, "large", b"", None);
    register_all(&mut world, large, &long_names("seen::m", 400));
    world.settle();
    let next = worker(&mut world, "next", b"", None);
    let some = ["seen::a", "seen::z", "other::a"].map(str::to_owned);
    register_all(&mut world, next, &some);
    world.settle();
    for (principal, count) in [("x", 2), ("god", 3)] {
        let joiner = join(&mut world, principal, "j", &WatchFilter::new(&[], &[""]));
        world.settle();
        let counts: Vec<usize> = workers(&world, joiner).iter().map(|it| it.2).collect();
        assert_eq!(counts, [400, count], "{principal}");
    }
}

#[test]
fn metadata_that_a_takeover_changes_is_told_to_all_who_see_the_worker() {
    let mut world = world();
    let watchers = ["x", "god"].map(|it| join(&mut world, it, "w", &all()));
    let mut link = worker(&mut world, "p", b"one", None);
    world.register(link, &["seen::f"]);
    world.turn();
    for metadata in [&b"two"[..], b"two", b"three"] {
        let key = world.session(link);
        link = worker(&mut world, "p", metadata, Some(&key));
        world.register(link, &["seen::f"]);
        world.ready(link);
        world.turn();
        for watcher in watchers {
            let expected = vec![("p".to_owned(), metadata.to_vec(), 1)];
            assert_eq!(workers(&world, watcher), expected);
        }
    }
    // Twice it changed.
    for watcher in watchers {
        assert_eq!(world.reader(watcher).steps.len(), 3);
    }
}

#[test]
fn a_worker_that_becomes_visible_later_comes_with_its_metadata() {
    let mut world = world();
    let x = join(&mut world, "x", "w", &all());
    let link = worker(&mut world, "p", b"metadata", None);
    world.register(link, &["other::f"]);
    world.turn();
    assert!(workers(&world, x).is_empty());
    for _ in 0..2 {
        world.register(link, &["seen::f"]);
        world.turn();
        let expected = vec![("p".to_owned(), b"metadata".to_vec(), 1)];
        assert_eq!(workers(&world, x), expected);
        world.unregister(link, &["seen::f"]);
        world.turn();
        assert!(workers(&world, x).is_empty());
    }
}

#[test]
fn a_takeover_under_another_name_replaces_the_worker_in_every_view() {
    let mut world = world();
    let watchers = ["x", "god"].map(|it| join(&mut world, it, "w", &all()));
    let older = worker(&mut world, "older", b"", None);
    world.register(older, &["seen::f", "other::f"]);
    world.turn();
    let key = world.session(older);
    let newer = worker(&mut world, "newer", b"", Some(&key));
    world.register(newer, &["seen::f", "other::f"]);
    world.ready(newer);
    world.turn();
    for (watcher, count) in watchers.into_iter().zip([1, 2]) {
        assert_eq!(
            workers(&world, watcher),
            [("newer".to_owned(), vec![], count)]
        );
    }
    // A reader of the older name alone is told that it went.
    world.reset(newer);
    world.turn();
    for watcher in watchers {
        assert_eq!(world.reader(watcher).view, View::default());
    }
}

#[test]
fn a_reader_of_the_older_name_alone_sees_it_go_with_a_takeover_under_another() {
    for principal in ["x", "god"] {
        let mut world = world();
        let watcher = join(
            &mut world,
            principal,
            "w",
            &WatchFilter::new(&[], &["older"]),
        );
        let older = worker(&mut world, "older", b"", None);
        world.register(older, &["seen::f"]);
        world.turn();
        assert_eq!(workers(&world, watcher).len(), 1);
        let key = world.session(older);
        worker(&mut world, "newer", b"", Some(&key));
        assert!(workers(&world, watcher).is_empty(), "{principal}");
    }
}

/// A joiner in the midst of its snapshot, and a member of the same audience that is far behind; `first` is the one that
/// catches up first. A worker and a function came and went meanwhile.
fn exact_and_fuzzy(principal: &str, exact_first: bool) {
    let mut world = world();
    let filler = worker(&mut world, "filler", b"", None);
    register_all(&mut world, filler, &long_names("seen::a", 1100));
    world.settle();
    let exact = join(&mut world, principal, "exact", &all());
    world.settle();
    // The exact one is blocked from here on, so nothing that follows is encoded for it before it reads again.
    world.links[exact].capacity = 0;
    world.register(filler, &["seen::first"]);
    world.turn();
    // The joiner is sent the functions, and stands before the end of its snapshot.
    let fuzzy = world.open(Reader::new(all()));
    world.say(
        fuzzy,
        &hello_of(principal, "fuzzy", &all(), HelloOptions::default()),
    );
    arrive(&mut world, fuzzy);
    world.finish_turn(Budgets::writes(1, 0));
    let brief = worker_at_once(&mut world, "brief");
    world.register(brief, &["seen::brief", "seen::z"]);
    arrive(&mut world, brief);
    world.finish_turn(Budgets::writes(0, 0));
    let mut looked = 0;
    loop {
        let down = &world.links[fuzzy].down;
        if down[looked..].windows(11).any(|it| it == b"seen::brief") {
            break;
        }
        looked = down.len().saturating_sub(10);
        assert!(world.engine.has_more(), "the snapshot does not show it");
        world.flush(Budgets::writes(0, 1));
    }
    world.receive(fuzzy, usize::MAX);
    world.links[fuzzy].capacity = 0;
    // It goes, and something else comes: two steps, which are folded for each.
    world.reset(brief);
    world.finish_turn(Budgets::writes(0, 0));
    world.register(filler, &["seen::last"]);
    arrive(&mut world, filler);
    world.finish_turn(Budgets::writes(0, 0));
    let order = if exact_first {
        [exact, fuzzy]
    } else {
        [fuzzy, exact]
    };
    for link in order {
        world.links[link].capacity = usize::MAX;
        world.receive(link, usize::MAX);
        for _ in 0..50 {
            world.flush(Budgets::ALL);
            world.receive(link, usize::MAX);
        }
    }
    world.settle();
    let view = &world.reader(exact).view;
    assert_eq!(view.functions.len(), 1102, "{principal} {exact_first}");
    assert_eq!(view.workers.len(), 1, "{principal} {exact_first}");
    assert_eq!(&world.reader(fuzzy).view, view, "{principal} {exact_first}");
    assert_as_a_newcomer(&mut world, fuzzy, principal);
}

fn arrive(world: &mut World, link: usize) {
    world.arrive(link, usize::MAX);
}

/// A worker whose HELLO has arrived; its turn is still to come.
fn worker_at_once(world: &mut World, name: &str) -> usize {
    let link = world.open(Reader::new(nothing()));
    world.say(
        link,
        &hello_of("god", name, &nothing(), HelloOptions::default()),
    );
    arrive(world, link);
    link
}

#[test]
fn exact_and_fuzzy_readers_of_one_audience_get_each_what_it_needs() {
    for principal in ["x", "god"] {
        for exact_first in [true, false] {
            exact_and_fuzzy(principal, exact_first);
        }
    }
}

#[test]
fn readers_with_different_beginnings_get_the_parts_of_one_step_each_with_its_own() {
    for principal in ["x", "god"] {
        let mut world = world();
        let source = worker(&mut world, "source", b"", None);
        let [prompt, late] = ["prompt", "late"].map(|it| join(&mut world, principal, it, &all()));
        world.register(source, &["seen::first"]);
        world.turn();
        // One of them misses a step. Then comes one of several parts, and both get a part of that at a time.
        world.links[late].capacity = 0;
        world.register(source, &["seen::second"]);
        world.turn();
        let large = long_names("seen::large", 600);
        register_all(&mut world, source, &large);
        for link in [prompt, late] {
            world.links[link].capacity = 10_000;
        }
        world.turn();
        for _ in 0..100 {
            world.flush(Budgets::ALL);
            for link in [prompt, late] {
                world.receive(link, usize::MAX);
            }
        }
        world.settle();
        for link in [prompt, late] {
            assert_eq!(names(&world.reader(link).view).len(), 602, "{principal}");
        }
    }
}

#[test]
fn long_names_that_end_alike_are_called_each_at_its_own_provider() {
    let mut world = world();
    let functions: Vec<String> = ["a", "b"]
        .map(|it| format!("{it}{}", "x".repeat(254)))
        .into();
    let providers: Vec<usize> = functions
        .iter()
        .map(|name| {
            let link = worker(&mut world, name, b"", None);
            world.register(link, &[name]);
            world.turn();
            link
        })
        .collect();
    let caller = worker(&mut world, "caller", b"", None);
    for name in &functions {
        world.call(caller, name, b"", CallOptions::default());
        world.turn();
    }
    for link in providers {
        assert_eq!(invoked(&world, link).len(), 1);
    }
}
