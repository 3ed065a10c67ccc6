//! Ends come when their cause comes: in the same turn, and not with the next heartbeat, at the end of the grace, or when
//! something else happens to wake the engine.

use callboard::limits::Limits;
use callboard::protocol::{BindingEntry, CallOptions, Emit, Goodbye, Ping, Text};

use crate::calls::{invoked, waiting, within};
use crate::reader::WatchFilter;
use crate::setup::{many, nothing};
use crate::turn::Budgets;
use crate::world::World;

/// A world without a wish to end anything for its own reasons.
fn patient() -> Limits {
    Limits {
        grace: 3_600_000,
        linger: 3_600_000,
        write_deadline: 3_600_000,
        ping_after: 1_800_000,
        silence: 3_600_000,
        ..Limits::default()
    }
}

/// Has `link` held back because it does not read its replies. What it sent is not read any more.
fn hold_back_by_replies(world: &mut World, link: usize) {
    world.links[link].capacity = 100;
    for _ in 0..1000 {
        world.say(link, &Ping::default().to_frame());
    }
    world.arrive(link, 4_000);
    world.finish_turn(Budgets::ALL);
}

/// Has `link` held back because it changes the board faster than it may.
fn hold_back_by_budget(world: &mut World, link: usize) {
    for _ in 0..3 {
        let name = format!("f{}", world.request(link));
        world.register(link, &[&name]);
        world.arrive(link, usize::MAX);
        world.finish_turn(Budgets::ALL);
    }
    world.say(link, &Ping::default().to_frame());
}

/// Has `link` held back because the frames that it sent at once cause more work than one turn may have.
fn hold_back_by_work(world: &mut World, link: usize) {
    let functions = many(5000);
    let entries = functions.iter().map(|function| BindingEntry {
        event: Text("e"),
        function: Text(function),
        ..BindingEntry::default()
    });
    let binder = world.join("binder", &nothing());
    world.bind(binder, entries.collect());
    world.settle();
    for _ in 0..10 {
        let emit = Emit {
            event: Text("e"),
            ..Emit::default()
        };
        world.say(link, &emit.to_frame());
    }
    world.arrive(link, usize::MAX);
    world.finish_turn(Budgets::ALL);
    world.say(link, &Ping::default().to_frame());
}

#[test]
fn a_connection_that_was_held_back_is_read_again_as_soon_as_it_leaves() {
    type HoldBack = fn(&mut World, usize);
    let ways: [(&str, HoldBack); 3] = [
        ("replies", hold_back_by_replies),
        ("budget", hold_back_by_budget),
        ("work", hold_back_by_work),
    ];
    for (way, hold_back) in ways {
        let limits = Limits {
            max_outbound: 1000,
            changes_per_second: 2,
            max_share: 0,
            ..patient()
        };
        let mut world = World::paced(limits);
        let link = world.join("w", &nothing());
        hold_back(&mut world, link);
        let id = world.links[link].id;
        assert!(!world.engine.wants_read(id), "{way}");
        world.arrive(link, usize::MAX);
        assert!(!world.links[link].up.is_empty(), "{way}: it is not read");
        // The engine sends it away. `World::accept` holds that it is named for that.
        for _ in 0..2 {
            world.engine.handle_shutdown(world.now);
        }
        world.finish_turn(Budgets::ALL);
        world.settle();
        assert_eq!(world.goodbye(link), Some("shutting_down"), "{way}");
        assert!(world.links[link].up.is_empty(), "{way}: it is discarded");
        world.eof(link);
        world.turn();
        assert!(!world.links[link].open, "{way}");
    }
}

#[test]
fn a_connection_whose_deferred_frames_are_done_is_read_again_at_once() {
    let mut world = World::paced(Limits {
        max_share: 0,
        ..patient()
    });
    let link = world.join("w", &nothing());
    hold_back_by_work(&mut world, link);
    world.arrive(link, usize::MAX);
    assert!(!world.links[link].up.is_empty(), "it is not read");
    // `World::accept` holds that it is named.
    world.settle();
    assert_eq!(world.reader(link).pongs, 1);
}

#[test]
fn a_goodbye_among_deferred_frames_has_the_rest_read_in_that_turn() {
    let mut world = World::paced(Limits {
        max_share: 0,
        ..patient()
    });
    let link = world.join("w", &nothing());
    let bye = Goodbye {
        code: Text("bye"),
        ..Goodbye::default()
    };
    hold_back_by_work(&mut world, link);
    // Behind the frames that were read, and are handled turn by turn, comes the end and then more.
    world
        .engine
        .handle_bytes(world.links[link].id, &bye.to_frame(), world.now);
    world.arrive(link, usize::MAX);
    assert!(!world.links[link].up.is_empty());
    world.settle();
    assert!(world.links[link].up.is_empty());
    assert!(world.links[link].half_closed);
}

/// What ends the last call that a draining engine waits for.
type Ending = fn(&mut World, caller: usize, provider: usize, call: u64);

#[test]
fn a_draining_engine_stops_in_the_turn_in_which_the_last_call_ends_whatever_ends_it() {
    let ways: [(&str, Ending); 5] = [
        ("an answer", |world, _, provider, _| {
            let id = invoked(world, provider)[0];
            world.answer(provider, id, b"");
        }),
        ("a cancel", |world, caller, _, call| {
            world.cancel(caller, call);
        }),
        ("its deadline", |world, _, _, _| world.wait(50)),
        ("its caller's end", |world, caller, _, _| world.eof(caller)),
        ("its provider's end", |world, _, provider, _| {
            world.reset(provider);
        }),
    ];
    for (way, end) in ways {
        let mut world = World::new(patient());
        let provider = world.provider(&["f"], 1);
        let caller = world.join("c", &nothing());
        let bystander = world.join("b", &nothing());
        let call = world.call(caller, "f", b"", within(50));
        world.turn();
        world.engine.handle_shutdown(world.now);
        world.turn();
        assert_eq!(world.goodbye(bystander), None, "{way}");
        end(&mut world, caller, provider, call);
        world.turn();
        assert_eq!(world.goodbye(bystander), Some("shutting_down"), "{way}");
    }
}

#[test]
fn a_provider_that_has_read_what_it_was_sent_is_given_what_waits_in_that_turn() {
    let limits = Limits {
        max_outbound: 1000,
        ..patient()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 1000);
    let caller = world.join("c", &nothing());
    world.links[provider].capacity = 0;
    for _ in 0..3 {
        world.call(caller, "f", &[0; 1000], CallOptions::default());
        world.turn();
    }
    let waits = world.call(caller, "f", b"waits", waiting());
    world.turn();
    assert_eq!(world.engine.stats().parked, 1);
    // It reads all of it, and answers none.
    world.links[provider].capacity = usize::MAX;
    world.receive(provider, usize::MAX);
    world.turn();
    assert_eq!(world.engine.stats().parked, 0);
    world.turn();
    let last = world.reader(provider).invocations().last().unwrap();
    assert_eq!(last.payload, b"waits");
    assert_eq!(world.call_ending(caller, waits), None);
}

#[test]
fn providers_of_calls_without_a_caller_are_given_what_waits_as_soon_as_half_of_those_are_gone() {
    let limits = Limits {
        max_calls_total: 4,
        ..patient()
    };
    let mut world = World::new(limits);
    let [one, other] = [(); 2].map(|()| world.provider(&["f"], 100));
    let caller = world.join("c", &nothing());
    for _ in 0..4 {
        let call = world.call(caller, "f", b"", CallOptions::default());
        world.turn();
        world.cancel(caller, call);
        world.turn();
    }
    assert_eq!([one, other].map(|it| invoked(&world, it).len()), [2, 2]);
    let pinned = |world: &World, link: usize| CallOptions {
        worker: Some(world.reader(link).welcome.as_ref().unwrap().worker),
        ..waiting()
    };
    // Each waits for one of them.
    for link in [one, other] {
        let options = pinned(&world, link);
        world.call(caller, "f", b"waits", options);
    }
    world.turn();
    assert_eq!(world.engine.stats().parked, 2);
    // One answers both of its own: the other is served as well, without a word from it.
    for id in invoked(&world, one) {
        world.answer(one, id, b"");
    }
    world.turn();
    assert_eq!([one, other].map(|it| invoked(&world, it).len()), [3, 3]);
}

#[test]
fn a_reader_far_behind_is_brought_up_to_date_without_a_further_change() {
    for steps in [4095, 4096, 4097, 8193] {
        let limits = Limits {
            changes_per_second: 0,
            max_share: 0,
            ..patient()
        };
        let mut world = World::new(limits);
        let watcher = world.join("w", &WatchFilter::new(&["far::"], &[]));
        let worker = world.join("p", &nothing());
        world.register(worker, &["far::before"]);
        world.turn();
        world.links[watcher].capacity = 0;
        world.register(worker, &["far::first"]);
        world.turn();
        // So many steps that do not concern it, and then one that does.
        for step in 1..steps {
            if step % 2 == 1 {
                world.register(worker, &["other"]);
            } else {
                world.unregister(worker, &["other"]);
            }
            world.turn();
        }
        world.register(worker, &["far::last"]);
        world.turn();
        world.links[watcher].capacity = usize::MAX;
        world.receive(watcher, usize::MAX);
        // Turns without any news, as long as the engine has something to do.
        world.turn();
        while world.engine.has_more() {
            world.turn();
        }
        let view = &world.reader(watcher).view;
        assert_eq!(view.functions.len(), 3, "{steps} steps: {view:?}");
    }
}

#[test]
fn a_peer_whose_socket_breaks_in_a_write_is_gone_at_the_write_deadline_at_the_latest() {
    let limits = Limits {
        max_outbound: 1000,
        write_deadline: 1000,
        ..patient()
    };
    let mut world = World::new(limits);
    let link = world.join("w", &nothing());
    // It is not read any more, so it has no deadline once it can be written to again.
    hold_back_by_replies(&mut world, link);
    world.links[link].capacity = 200;
    world.receive(link, 50);
    world.wait(1001);
    world.finish_turn(Budgets::writes(0, 0));
    // The next write finds it broken, and the event loop does not hear of that.
    world.links[link].broken = true;
    world.finish_turn(Budgets::ALL);
    for (milliseconds, gone) in [(999, 0), (2, 1)] {
        world.wait(milliseconds);
        world.finish_turn(Budgets::ALL);
        let closed = world.engine.stats().closed;
        assert_eq!(closed.get("too_slow").copied().unwrap_or(0), gone);
    }
}
