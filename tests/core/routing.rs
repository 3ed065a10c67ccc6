//! Where a call goes: how load is spread, what makes a provider be passed over, and what follows a session.

use callboard::limits::Limits;
use callboard::protocol::{CallOptions, Executed};

use crate::calls::{failed, idempotent, invoked, waiting};
use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::setup::nothing;
use crate::world::{World, hello};

/// How many INVOKEs each of `providers` has had.
fn spread(world: &World, providers: &[usize]) -> Vec<usize> {
    let count = |&link: &usize| invoked(world, link).len();
    providers.iter().map(count).collect()
}

fn call_times(world: &mut World, caller: usize, times: usize) -> Vec<u64> {
    let calls = (0..times).map(|_| world.call(caller, "f", b"", CallOptions::default()));
    let calls = calls.collect();
    world.turn();
    calls
}

#[test]
fn equals_take_turns() {
    let mut world = World::new(Limits::default());
    let providers: Vec<usize> = (0..4).map(|_| world.provider(&["f"], 100)).collect();
    let caller = world.join("c", &nothing());
    for round in 1..=5 {
        for _ in 0..4 {
            call_times(&mut world, caller, 1);
        }
        assert_eq!(spread(&world, &providers), [round; 4]);
        // All are idle again, and the turn goes on.
        for &link in &providers {
            world.answer(link, *invoked(&world, link).last().unwrap(), b"");
        }
        world.turn();
    }
}

#[test]
fn up_to_16_providers_have_exactly_as_many_calls_each() {
    for count in [2, 15, 16] {
        let mut world = World::new(Limits::default());
        let providers: Vec<usize> = (0..count).map(|_| world.provider(&["f"], 100)).collect();
        let caller = world.join("c", &nothing());
        for round in 1..=5 {
            call_times(&mut world, caller, count);
            assert_eq!(spread(&world, &providers), vec![round; count]);
        }
    }
}

#[test]
fn load_follows_capacity() {
    let mut world = World::new(Limits::default());
    let providers = [10, 20, 70].map(|capacity| world.provider(&["f"], capacity));
    let caller = world.join("c", &nothing());
    call_times(&mut world, caller, 50);
    assert_eq!(spread(&world, &providers), [5, 10, 35]);
    let calls = call_times(&mut world, caller, 51);
    assert_eq!(spread(&world, &providers), [10, 20, 70], "all are full");
    let failure = world.call_failure(caller, calls[50]);
    assert_eq!(
        (&*failure.code, failure.executed),
        ("overloaded", Executed::No)
    );
    assert!(failure.retryable);
}

#[test]
fn the_provider_with_the_least_load_is_next() {
    let mut world = World::new(Limits::default());
    let providers = [4, 4, 4].map(|capacity| world.provider(&["f"], capacity));
    let caller = world.join("c", &nothing());
    call_times(&mut world, caller, 9);
    for &id in &invoked(&world, providers[1])[..2] {
        world.answer(providers[1], id, b"");
    }
    world.turn();
    let before = spread(&world, &providers);
    call_times(&mut world, caller, 2);
    let after = spread(&world, &providers);
    assert_eq!(after, [before[0], before[1] + 2, before[2]]);
}

#[test]
fn of_many_the_better_of_two_takes_it_and_no_provider_starves() {
    let mut world = World::new(Limits::default());
    let providers: Vec<usize> = (0..40).map(|_| world.provider(&["f"], 100)).collect();
    let caller = world.join("c", &nothing());
    call_times(&mut world, caller, 2000);
    let spread_now = spread(&world, &providers);
    assert_eq!(spread_now.iter().sum::<usize>(), 2000);
    let (least, most) = (
        spread_now.iter().min().unwrap(),
        spread_now.iter().max().unwrap(),
    );
    assert!(*least >= 44 && *most <= 56, "{spread_now:?}");
    // The last free slots are found, wherever they are.
    let calls = call_times(&mut world, caller, 2000);
    assert_eq!(spread(&world, &providers), [100; 40]);
    assert!(
        calls
            .iter()
            .all(|&call| world.call_ending(caller, call).is_none())
    );
}

#[test]
fn a_provider_that_holds_a_call_past_its_deadline_is_passed_over_while_another_has_room() {
    let mut world = World::new(Limits::default());
    let hung = world.provider(&["f"], 100);
    let caller = world.join("c", &nothing());
    let short = CallOptions {
        timeout_ms: Some(50),
        ..CallOptions::default()
    };
    world.call(caller, "f", b"", short);
    world.turn();
    let healthy = world.provider(&["f"], 3);
    world.wait(50);
    world.turn();
    call_times(&mut world, caller, 3);
    assert_eq!(spread(&world, &[hung, healthy]), [1, 3]);
    // Better the overdue one than none.
    call_times(&mut world, caller, 1);
    assert_eq!(spread(&world, &[hung, healthy]), [2, 3]);
    // Its late answer makes it one like any other.
    world.answer(hung, invoked(&world, hung)[0], b"late");
    for id in invoked(&world, healthy) {
        world.answer(healthy, id, b"");
    }
    world.turn();
    call_times(&mut world, caller, 4);
    let [hung, healthy] = [hung, healthy].map(|link| invoked(&world, link).len());
    assert!(hung > 2 && healthy > 3, "{hung} and {healthy}");
}

#[test]
fn a_pinned_call_goes_to_its_worker_or_nowhere() {
    let mut world = World::new(Limits::default());
    let providers = [1, 1].map(|capacity| world.provider(&["f"], capacity));
    let caller = world.join("c", &nothing());
    let second = world.reader(providers[1]).welcome.as_ref().unwrap().worker;
    let pinned = CallOptions {
        worker: Some(second),
        ..CallOptions::default()
    };
    let calls: Vec<u64> = [pinned.clone(), pinned.clone()]
        .into_iter()
        .map(|options| world.call(caller, "f", b"", options))
        .collect();
    world.turn();
    assert_eq!(spread(&world, &providers), [0, 1]);
    assert_eq!(world.call_failure(caller, calls[1]).code, "overloaded");
    world.reset(providers[1]);
    let gone = world.call(caller, "f", b"", pinned);
    world.turn();
    assert_eq!(world.call_failure(caller, calls[0]).code, "provider_gone");
    let failure = world.call_failure(caller, gone);
    assert_eq!(
        (&*failure.code, failure.executed),
        ("no_such_function", Executed::No)
    );
}

#[test]
fn a_provider_that_does_not_read_is_given_no_more_until_it_does() {
    let limits = Limits {
        max_outbound: 10_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 1000);
    let caller = world.join("c", &nothing());
    world.links[provider].capacity = 0;
    let mut refused = Vec::new();
    for _ in 0..30 {
        refused.push(world.call(caller, "f", &[0; 1000], CallOptions::default()));
    }
    let patient = world.call(caller, "f", b"patient", waiting());
    world.turn();
    assert!(world.engine.stats().outbound_bytes < 12_000);
    let codes = refused
        .iter()
        .filter_map(|&call| world.call_ending(caller, call));
    assert_eq!(codes.count(), 20, "the rest is overloaded at once");
    world.links[provider].capacity = 5_000;
    for _ in 0..10 {
        world.receive(provider, usize::MAX);
        world.turn();
    }
    let last = world.reader(provider).invocations().last().unwrap();
    assert_eq!(last.payload, b"patient");
    assert_eq!(world.call_ending(caller, patient), None);
}

fn take_over(world: &mut World, older: usize) -> usize {
    let key = world.session(older);
    let link = world.open(Reader::new(nothing()));
    let frame = hello("newcomer", "", &nothing(), Some(&key), None);
    world.say(link, &frame);
    world.turn();
    assert_eq!(
        world.reader(older).goodbye.as_ref().unwrap().0,
        "session_taken_over"
    );
    link
}

#[test]
fn a_takeover_ends_what_ran_and_what_waited_goes_to_the_newcomer() {
    let mut world = World::new(Limits::default());
    let older = world.provider(&["f"], 2);
    let caller = world.join("c", &nothing());
    let plain = world.call(caller, "f", b"plain", CallOptions::default());
    let again = world.call(caller, "f", b"again", idempotent());
    let parked = world.call(caller, "f", b"parked", waiting());
    world.turn();
    assert_eq!(invoked(&world, older).len(), 2);
    let newcomer = take_over(&mut world, older);
    world.turn();
    let failure = world.call_failure(caller, plain);
    assert_eq!(
        (&*failure.code, failure.executed),
        ("provider_gone", Executed::Maybe)
    );
    let came: Vec<_> = world.reader(newcomer).invocations().collect();
    let came: Vec<&[u8]> = came.iter().map(|it| &*it.payload).collect();
    assert_eq!(came.len(), 2, "{came:?}");
    // The older connection may answer what it likes.
    for id in [invoked(&world, older), invoked(&world, newcomer)].concat() {
        world.answer(older, id, b"from the grave");
    }
    world.turn();
    assert_eq!(world.call_ending(caller, again), None);
    for id in invoked(&world, newcomer) {
        world.answer(newcomer, id, b"fine");
    }
    world.turn();
    for call in [again, parked] {
        let fine = CallEnding::Result(b"fine".to_vec());
        assert_eq!(world.call_ending(caller, call), Some(&fine));
    }
    let stats = world.engine.stats();
    assert_eq!((stats.calls, stats.parked, stats.retained_bytes), (0, 0, 0));
}

#[test]
fn a_taken_over_caller_waits_for_nothing_any_more() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 1);
    let older = world.join("c", &nothing());
    world.call(older, "f", b"", CallOptions::default());
    world.call(older, "f", b"", waiting());
    world.turn();
    let newcomer = take_over(&mut world, older);
    assert_eq!(world.reader(provider).cancels(), invoked(&world, provider));
    world.answer(provider, invoked(&world, provider)[0], b"");
    world.turn();
    assert_eq!(world.reader(older).call_endings.len(), 0);
    assert_eq!(world.reader(newcomer).call_endings.len(), 0);
    assert_eq!(world.engine.stats().calls, 0);
}

#[test]
fn announced_is_callable_by_each_reader() {
    let mut world = World::new(Limits::default());
    let caller = world.join("c", &WatchFilter::new(&[""], &[]));
    let provider = world.join("p", &nothing());
    for n in 0..50 {
        let name = format!("f{n}");
        world.register(provider, &[&name]);
        world.turn();
        assert!(world.reader(caller).view.functions.contains_key(&name));
        world.call(caller, &name, b"", CallOptions::default());
        world.turn();
        assert_eq!(invoked(&world, provider).len(), n + 1);
    }
}

#[test]
fn a_cached_function_is_not_called_when_another_has_its_place() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("caller", &nothing());
    for _ in 0..2 {
        world.call(caller, "f", b"", CallOptions::default());
        world.turn();
    }
    assert_eq!(invoked(&world, provider).len(), 2);
    world.unregister(provider, &["f"]);
    world.turn();
    world.register(provider, &["g"]);
    world.turn();
    let late = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(
        failed(&world, caller, late),
        ("no_such_function", Executed::No)
    );
    assert_eq!(invoked(&world, provider).len(), 2);
    // Nor is it mistaken when it is back, in another place.
    world.register(provider, &["f"]);
    world.turn();
    world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(invoked(&world, provider).len(), 3);
}
