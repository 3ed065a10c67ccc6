//! What becomes of calls when a peer leaves: a provider, a caller, a worker that drains, the engine itself.

use callboard::limits::Limits;
use callboard::protocol::{CallOptions, Drain, Executed};

use crate::calls::{failed, idempotent, in_flight, invoked, waiting};
use crate::reader::CallEnding;
use crate::setup::{everything, nothing};
use crate::world::World;

#[test]
fn gone_with_a_thousand_calls_each_caller_hears_it_in_the_same_turn() {
    let mut world = World::new(Limits::default());
    let dying = world.provider(&["f"], 2000);
    let bystander = world.provider(&["g"], 2000);
    let callers: Vec<usize> = (0..10).map(|_| world.join("c", &nothing())).collect();
    let mut calls = Vec::new();
    for n in 0..1000 {
        let caller = callers[n % 10];
        let options = if n % 2 == 0 {
            idempotent()
        } else {
            CallOptions::default()
        };
        calls.push((caller, world.call(caller, "f", &[1, 2, 3], options)));
    }
    let other = world.call(callers[0], "g", b"", CallOptions::default());
    world.turn();
    let survivor = world.provider(&["f"], 2000);
    assert_eq!(invoked(&world, dying).len(), 1000);
    assert_eq!(in_flight(&world), (1001, 0, 1500));
    world.reset(dying);
    world.turn();
    assert_eq!(invoked(&world, survivor).len(), 500);
    for id in invoked(&world, survivor) {
        world.answer(survivor, id, b"saved");
    }
    for (n, &(caller, call)) in calls.iter().enumerate() {
        if n % 2 == 1 {
            assert_eq!(
                failed(&world, caller, call),
                ("provider_gone", Executed::Maybe)
            );
        }
    }
    world.turn();
    for (n, &(caller, call)) in calls.iter().enumerate() {
        if n % 2 == 0 {
            let saved = CallEnding::Result(b"saved".to_vec());
            assert_eq!(world.call_ending(caller, call), Some(&saved));
        }
    }
    assert_eq!(world.call_ending(callers[0], other), None);
    assert_eq!(invoked(&world, bystander).len(), 1);
    assert_eq!(in_flight(&world), (1, 0, 0));
}

#[test]
fn an_idempotent_call_ends_with_its_last_provider_unless_it_waits() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let hasty = world.call(caller, "f", b"", idempotent());
    let patient = CallOptions {
        wait: true,
        ..idempotent()
    };
    let patient = world.call(caller, "f", b"", patient);
    world.turn();
    world.reset(provider);
    world.turn();
    assert_eq!(
        failed(&world, caller, hasty),
        ("provider_gone", Executed::Maybe)
    );
    assert_eq!(world.call_ending(caller, patient), None);
    let back = world.provider(&["f"], 10);
    world.answer(back, invoked(&world, back)[0], b"");
    world.turn();
    assert_eq!(
        world.call_ending(caller, patient),
        Some(&CallEnding::Result(Vec::new()))
    );
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn no_more_calls_wait_for_the_next_provider_than_may_wait_at_all() {
    let limits = Limits {
        max_parked: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let patient = CallOptions {
        wait: true,
        ..idempotent()
    };
    let calls = [(); 3].map(|()| world.call(caller, "f", b"", patient.clone()));
    world.turn();
    world.reset(provider);
    world.turn();
    assert_eq!(world.engine.stats().parked, 2);
    assert_eq!(
        failed(&world, caller, calls[2]),
        ("provider_gone", Executed::Maybe)
    );
}

#[test]
fn a_caller_that_goes_frees_its_provider_of_the_work_and_not_of_the_answer() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 1);
    let caller = world.join("c", &nothing());
    let other = world.join("o", &nothing());
    world.call(caller, "f", b"", CallOptions::default());
    world.call(caller, "f", b"", waiting());
    world.turn();
    world.reset(caller);
    world.turn();
    let running = invoked(&world, provider);
    assert_eq!(world.reader(provider).cancels(), running);
    assert_eq!(in_flight(&world), (1, 0, 0));
    let call = world.call(other, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(failed(&world, other, call), ("overloaded", Executed::No));
    world.answer(provider, running[0], b"");
    world.turn();
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn a_draining_worker_gets_nothing_new_and_finishes_what_it_has() {
    let mut world = World::new(Limits::default());
    let leaving = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let running = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    world.say(leaving, &Drain::default().to_frame());
    world.turn();
    let parked = world.call(caller, "f", b"", waiting());
    world.turn();
    world.answer(leaving, invoked(&world, leaving)[0], b"done");
    world.turn();
    assert_eq!(
        world.call_ending(caller, running),
        Some(&CallEnding::Result(b"done".to_vec()))
    );
    assert_eq!(invoked(&world, leaving).len(), 1);
    let next = world.provider(&["f"], 10);
    world.answer(next, invoked(&world, next)[0], b"");
    world.turn();
    assert_eq!(
        world.call_ending(caller, parked),
        Some(&CallEnding::Result(Vec::new()))
    );
}

#[test]
fn shutdown_lets_calls_end_within_the_grace_period() {
    let limits = Limits {
        grace: 1000,
        ..Limits::default()
    };
    for answered in [true, false] {
        let mut world = World::new(limits.clone());
        let provider = world.provider(&["f"], 1);
        let caller = world.join("c", &nothing());
        let running = world.call(caller, "f", b"", idempotent());
        let parked = world.call(caller, "f", b"", waiting());
        world.turn();
        world.engine.handle_shutdown(world.now);
        let late = world.call(caller, "f", b"", waiting());
        world.turn();
        assert_eq!(failed(&world, caller, parked), ("draining", Executed::No));
        assert_eq!(failed(&world, caller, late), ("draining", Executed::No));
        assert_eq!(world.reader(caller).goodbye, None);
        if answered {
            world.answer(provider, invoked(&world, provider)[0], b"in time");
            world.turn();
            let result = CallEnding::Result(b"in time".to_vec());
            assert_eq!(world.call_ending(caller, running), Some(&result));
        } else {
            world.wait(999);
            world.turn();
            assert_eq!(world.call_ending(caller, running), None);
            world.wait(1);
            world.turn();
            assert_eq!(
                failed(&world, caller, running),
                ("draining", Executed::Maybe)
            );
        }
        assert_eq!(
            world.reader(caller).goodbye.as_ref().unwrap().0,
            "shutting_down"
        );
        assert_eq!(in_flight(&world), (0, 0, 0));
    }
}

#[test]
fn a_draining_engine_waits_for_no_closed_connection() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 1);
    let caller = world.join("c", &nothing());
    world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    world.engine.handle_shutdown(world.now);
    world.turn();
    assert_eq!(world.reader(provider).goodbye, None);
    world.reset(caller);
    world.turn();
    assert_eq!(
        world.reader(provider).goodbye.as_ref().unwrap().0,
        "shutting_down"
    );
}

#[test]
fn what_a_draining_engine_fails_is_off_its_books() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 1);
    let caller = world.join("c", &nothing());
    world.call(caller, "f", b"some bytes", idempotent());
    let other = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    world.engine.handle_shutdown(world.now);
    world.reset(provider);
    world.turn();
    assert_eq!(failed(&world, caller, other), ("overloaded", Executed::No));
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn a_snapshot_of_a_draining_engine_shows_the_workers_that_left_since_its_last_revision() {
    let mut world = World::new(Limits::default());
    let runner = world.provider(&["runs"], 1);
    let caller = world.join("caller", &nothing());
    let leaver = world.provider(&["gone", "stays"], 1);
    let halved = world.provider(&["a", "b", "c"], 1);
    // What it runs keeps the engine from ending.
    world.call(caller, "runs", b"", CallOptions::default());
    // Its snapshot is still to be made when the engine begins to drain.
    let late = world.hello("late", &everything());
    world.links[late].capacity = 0;
    world.turn();
    world.engine.handle_shutdown(world.now);
    world.reset(leaver);
    world.unregister(halved, &["b"]);
    world.turn();
    world.links[late].capacity = usize::MAX;
    world.turn();
    world.turn();
    let reader = world.reader(late);
    assert!(reader.is_synced(), "{:?}", reader.goodbye);
    let listed: Vec<usize> = reader.view.workers.values().map(|it| it.1.len()).collect();
    assert_eq!(listed, [1, 2, 3], "the functions of each worker");
    assert_eq!(reader.view.functions.len(), 6);
    assert_eq!(world.reader(runner).invocations().count(), 1);
}

#[test]
fn a_hello_to_a_draining_engine_is_refused_like_a_new_connection() {
    let mut world = World::new(Limits::default());
    world.provider(&["runs"], 1);
    let caller = world.join("caller", &nothing());
    world.call(caller, "runs", b"", CallOptions::default());
    world.turn();
    let late = world.hello("late", &everything());
    // Its HELLO is under way when the engine begins to drain.
    world.engine.handle_shutdown(world.now);
    world.turn();
    let goodbye = world.reader(late).goodbye.clone();
    assert_eq!(goodbye.map(|it| it.0), Some("shutting_down".to_owned()));
    assert!(world.reader(caller).goodbye.is_none());
}
