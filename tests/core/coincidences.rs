//! Several things that happen in one turn, where each by itself is simple.

use callboard::engine::{Principal, Rights, Verb};
use callboard::limits::Limits;
use callboard::protocol::{Bin, Drain, HelloOptions, Ping};

use crate::reader::{Reader, View};
use crate::rights::{admit, all, bind, hello_of, join, nothing, principal, with_one};
use crate::setup::code;
use crate::turn::Budgets;
use crate::world::World;

/// A principal that may observe what is under these prefixes.
fn observer(name: &str, allow: &'static [&'static str]) -> Principal {
    principal(name, with_one(Verb::Observe, (allow, &[])))
}

/// `god` may do everything, and `x` observe `seen::`.
fn credentials() -> Vec<Principal> {
    vec![
        principal("god", Rights::everything()),
        observer("x", &["seen::"]),
    ]
}

/// The same, with another observer in front of `x`.
fn credentials_with_another() -> Vec<Principal> {
    vec![
        principal("god", Rights::everything()),
        observer("another", &["other::"]),
        observer("x", &["seen::"]),
    ]
}

/// A world with a watcher that is `x`, and a worker of `god`.
fn watched() -> (World, usize, usize) {
    let mut world = World::new(Limits::default());
    admit(&mut world, credentials());
    let watcher = join(&mut world, "x", "w", &all());
    let worker = join(&mut world, "god", "p", &nothing());
    (world, watcher, worker)
}

/// Has both happen in one turn, in this order or the other.
fn in_one_turn(
    world: &mut World,
    first_is_first: bool,
    first: impl FnOnce(&mut World),
    second: impl FnOnce(&mut World),
) {
    if first_is_first {
        first(world);
        second(world);
    } else {
        second(world);
        first(world);
    }
    world.turn();
}

/// All bytes on their way arrive.
fn arrive(world: &mut World, link: usize) {
    world.arrive(link, usize::MAX);
}

#[test]
fn a_worker_that_goes_in_the_turn_of_a_reload_leaves_every_view() {
    for is_first in [true, false] {
        for with_drain in [true, false] {
            let (mut world, watcher, worker) = watched();
            world.register(worker, &["seen::f", "other::f"]);
            world.turn();
            assert_eq!(world.reader(watcher).view.workers.len(), 1);
            let go = |world: &mut World| {
                if with_drain {
                    world.say(worker, &Drain::default().to_frame());
                    arrive(world, worker);
                } else {
                    world.reset(worker);
                }
            };
            let reload = |world: &mut World| admit(world, credentials_with_another());
            in_one_turn(&mut world, is_first, go, reload);
            assert_eq!(world.reader(watcher).view, View::default(), "{is_first}");
            assert_eq!(world.reader(watcher).resyncs, ["joined"]);
        }
    }
}

#[test]
fn what_is_registered_in_the_turn_of_a_reload_is_seen_as_long_as_it_is_there() {
    for is_first in [true, false] {
        let (mut world, watcher, worker) = watched();
        world.register(worker, &["other::f"]);
        world.turn();
        let register = |world: &mut World| {
            world.register(worker, &["seen::f"]);
            arrive(world, worker);
        };
        let reload = |world: &mut World| admit(world, credentials_with_another());
        in_one_turn(&mut world, is_first, register, reload);
        assert_eq!(world.reader(watcher).view.workers.len(), 1, "{is_first}");
        // The last function that it may see goes, and with it the worker.
        world.unregister(worker, &["seen::f"]);
        world.turn();
        assert_eq!(world.reader(watcher).view, View::default(), "{is_first}");
    }
}

#[test]
fn what_is_unregistered_in_the_turn_of_a_reload_is_not_seen_behind_it() {
    for is_first in [true, false] {
        let (mut world, watcher, worker) = watched();
        world.register(worker, &["seen::f", "other::f"]);
        world.turn();
        let unregister = |world: &mut World| {
            world.unregister(worker, &["seen::f"]);
            arrive(world, worker);
        };
        let reload = |world: &mut World| admit(world, credentials_with_another());
        in_one_turn(&mut world, is_first, unregister, reload);
        assert_eq!(world.reader(watcher).view, View::default(), "{is_first}");
        world.register(worker, &["seen::f"]);
        world.turn();
        assert_eq!(world.reader(watcher).view.workers.len(), 1, "{is_first}");
    }
}

#[test]
fn a_worker_that_takes_off_and_puts_back_in_one_turn_changes_nothing() {
    let (mut world, watcher, worker) = watched();
    let god = join(&mut world, "god", "w", &all());
    world.register(worker, &["seen::f", "seen::g"]);
    world.turn();
    let before = [watcher, god].map(|it| world.reader(it).view.clone());
    world.unregister(worker, &["seen::f"]);
    let id = world.register(worker, &["seen::f"]);
    world.turn();
    assert_eq!(world.ending(worker, id), &Ok(1), "no new revision");
    assert_eq!(
        [watcher, god].map(|it| world.reader(it).view.clone()),
        before
    );
    // And both of its functions leave as they came.
    world.reset(worker);
    world.turn();
    for it in [watcher, god] {
        assert_eq!(world.reader(it).view, View::default());
    }
}

#[test]
fn a_connection_that_is_expelled_gets_no_receipt_for_what_it_registered_in_that_turn() {
    for is_half_written in [false, true] {
        let (mut world, watcher, _) = watched();
        let lost = join(&mut world, "x", "lost", &nothing());
        if is_half_written {
            // It has three bytes of a PONG, and gets the rest before its GOODBYE.
            world.links[lost].capacity = 3;
            world.say(lost, &Ping::default().to_frame());
            arrive(&mut world, lost);
            world.finish_turn(Budgets::ALL);
            world.links[lost].capacity = usize::MAX;
        }
        world.register(lost, &["seen::a"]);
        bind(&mut world, lost, "seen::e", "seen::a");
        arrive(&mut world, lost);
        admit(&mut world, vec![principal("god", Rights::everything())]);
        world.turn();
        world.turn();
        let reader = world.reader(lost);
        assert_eq!(world.goodbye(lost), Some("unauthorized"));
        assert_eq!(reader.pongs, u64::from(is_half_written));
        assert!(reader.endings.is_empty(), "{:?}", reader.endings);
        assert_eq!(world.reader(watcher).view, View::default());
    }
}

#[test]
fn nothing_is_registered_or_bound_behind_a_drain_of_the_same_turn() {
    let (mut world, watcher, worker) = watched();
    world.register(worker, &["seen::before"]);
    world.say(worker, &Drain::default().to_frame());
    let registered = world.register(worker, &["seen::behind"]);
    let bound = bind(&mut world, worker, "seen::e", "seen::behind");
    world.turn();
    for id in [registered, bound] {
        assert_eq!(code(world.ending(worker, id)), "draining");
    }
    assert_eq!(world.reader(watcher).view, View::default());
    let late = join(&mut world, "god", "late", &all());
    assert_eq!(world.reader(late).view, View::default());
}

#[test]
fn a_takeover_in_the_turn_of_a_reload_leaves_the_views_as_they_are() {
    for is_first in [true, false] {
        let (mut world, watcher, worker) = watched();
        world.register(worker, &["seen::f", "other::f"]);
        world.turn();
        let before = world.reader(watcher).view.clone();
        let key = world.session(worker);
        let newer = world.open(Reader::new(nothing()));
        let take_over = |world: &mut World| {
            let ext = HelloOptions {
                session: Some(Bin(&key)),
                ..HelloOptions::default()
            };
            world.say(newer, &hello_of("god", "p", &nothing(), ext));
            world.register(newer, &["seen::f", "other::f"]);
            world.ready(newer);
            arrive(world, newer);
        };
        let reload = |world: &mut World| admit(world, credentials_with_another());
        in_one_turn(&mut world, is_first, take_over, reload);
        assert_eq!(world.goodbye(worker), Some("session_taken_over"));
        assert_eq!(world.reader(watcher).view, before, "{is_first}");
        assert_eq!(world.reader(watcher).steps.len(), 1, "{is_first}");
        world.reset(newer);
        world.turn();
        assert_eq!(world.reader(watcher).view, View::default(), "{is_first}");
    }
}
