//! What a call may rely on: one ending, its own answer, its place in the queue, and isolation from others' faults.

use callboard::limits::Limits;
use callboard::protocol::{
    Bin, CallOptions, Cast, CastOptions, Emit, EmitOptions, Executed, Outcome, Text,
};

use crate::reader::{CallEnding, WatchFilter};
use crate::setup::{everything, nothing};
use crate::turn::Budgets;
use crate::world::World;

pub(crate) fn waiting() -> CallOptions<'static> {
    CallOptions {
        wait: true,
        ..CallOptions::default()
    }
}

pub(crate) fn idempotent() -> CallOptions<'static> {
    CallOptions {
        idempotent: true,
        ..CallOptions::default()
    }
}

pub(crate) fn within(milliseconds: u64) -> CallOptions<'static> {
    CallOptions {
        timeout_ms: Some(milliseconds),
        ..CallOptions::default()
    }
}

/// The ids of what a provider was asked to run, in order.
pub(crate) fn invoked(world: &World, provider: usize) -> Vec<u64> {
    world
        .reader(provider)
        .invocations()
        .map(|it| it.id)
        .collect()
}

fn payloads(world: &World, provider: usize) -> Vec<Vec<u8>> {
    let invocations = world.reader(provider).invocations();
    invocations.map(|it| it.payload.clone()).collect()
}

/// Code and `executed` of a call that failed.
pub(crate) fn failed(world: &World, caller: usize, call: u64) -> (&str, Executed) {
    let failure = world.call_failure(caller, call);
    (&failure.code, failure.executed)
}

pub(crate) fn in_flight(world: &World) -> (u64, u64, u64) {
    let stats = world.engine.stats();
    (stats.calls, stats.parked, stats.retained_bytes)
}

/// What the engine dropped, by reason.
fn dropped(world: &World) -> Vec<(&'static str, u64)> {
    world.engine.stats().dropped.into_iter().collect()
}

#[test]
fn a_call_carries_everything_there_and_back() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("the caller", &nothing());
    let options = CallOptions {
        headers: Bin(b"traceparent"),
        ..within(700)
    };
    let call = world.call(caller, "f", &[0xc1, 0xff], options);
    world.turn();
    let invocation = world.reader(provider).invocations().next().unwrap().clone();
    assert_eq!(invocation.payload, [0xc1, 0xff]);
    assert_eq!(invocation.headers, b"traceparent");
    assert_eq!(invocation.timeout_ms, 700);
    assert_eq!(invocation.caller_name, "the caller");
    let worker = world.reader(caller).welcome.as_ref().unwrap().worker;
    assert_eq!(invocation.caller, worker);
    world.answer(provider, invocation.id, &[0xc1, 1]);
    world.turn();
    let result = CallEnding::Result(vec![0xc1, 1]);
    assert_eq!(world.call_ending(caller, call), Some(&result));
    let second = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    world.answer_failure(
        provider,
        invoked(&world, provider)[1],
        "sold_out",
        "no more",
    );
    world.turn();
    let failure = world.call_failure(caller, second);
    assert_eq!((&*failure.code, &*failure.message), ("sold_out", "no more"));
    assert!(failure.from_function);
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn a_result_counts_once_and_only_from_its_owner() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let other = world.provider(&["g"], 10);
    let caller = world.join("c", &nothing());
    let call = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    let id = invoked(&world, provider)[0];
    world.answer(other, id, b"forged");
    world.answer(caller, id, b"forged");
    world.answer(provider, id + 1, b"never was");
    world.turn();
    assert_eq!(world.call_ending(caller, call), None);
    world.answer(provider, id, b"the answer");
    world.answer(provider, id, b"again");
    world.turn();
    let result = CallEnding::Result(b"the answer".to_vec());
    assert_eq!(world.call_ending(caller, call), Some(&result));
    let reasons = [("foreign_answer", 2), ("unknown_answer", 2)];
    assert_eq!(dropped(&world), reasons);
}

#[test]
fn a_reused_id_closes_the_connection() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let call = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    let again = callboard::protocol::Call {
        id: call,
        function: Text("f"),
        ..Default::default()
    };
    world.say(caller, &again.to_frame());
    world.turn();
    assert_eq!(
        world.reader(caller).goodbye.as_ref().unwrap().0,
        "protocol_error"
    );
    assert_eq!(world.reader(provider).cancels(), invoked(&world, provider));
    // Once it has ended, an id may be used again: the provider's slot is another matter.
    let caller = world.join("c", &nothing());
    let call = world.call(caller, "f", b"", CallOptions::default());
    world.cancel(caller, call);
    world.turn();
    assert_eq!(failed(&world, caller, call), ("cancelled", Executed::Maybe));
    world.say(
        caller,
        &callboard::protocol::Call { id: call, ..again }.to_frame(),
    );
    for link in &mut world.links {
        link.reader.call_endings.clear();
    }
    world.turn();
    assert_eq!(world.reader(caller).goodbye, None);
}

#[test]
fn a_payload_over_the_limit_fails_its_call_alone() {
    let limits = Limits {
        max_payload: 1000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let large = world.call(caller, "f", &[7; 1001], CallOptions::default());
    let small = world.call(caller, "f", &[7; 1000], CallOptions::default());
    let third = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(
        failed(&world, caller, large),
        ("payload_too_large", Executed::No)
    );
    assert!(
        world
            .call_failure(caller, large)
            .message
            .contains("--max-payload")
    );
    let ids = invoked(&world, provider);
    assert_eq!(ids.len(), 2);
    world.answer(provider, ids[0], &[7; 1001]);
    world.turn();
    assert_eq!(
        failed(&world, caller, small),
        ("payload_too_large", Executed::Maybe)
    );
    // The same holds for what a failure carries.
    world.answer_failure(provider, ids[1], "f", &"x".repeat(1001));
    world.turn();
    assert_eq!(
        failed(&world, caller, third),
        ("payload_too_large", Executed::Maybe)
    );
    assert!(world.reader(provider).goodbye.is_none() && world.reader(caller).goodbye.is_none());
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn no_caller_can_make_a_frame_that_its_provider_must_refuse() {
    let limits = Limits::default();
    let (frame, payload) = (limits.max_frame as usize, limits.max_payload as usize);
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 10);
    let caller = world.join(&"n".repeat(255), &nothing());
    // As large as a CALL can be: with the caller's name, its INVOKE would be larger than a frame may be.
    let headers = vec![1; frame - payload - 60];
    let options = CallOptions {
        headers: Bin(&headers),
        ..CallOptions::default()
    };
    let call = world.call(caller, "f", &vec![0; payload], options);
    world.turn();
    assert_eq!(
        failed(&world, caller, call),
        ("payload_too_large", Executed::No)
    );
    assert!(invoked(&world, provider).is_empty());
}

#[test]
fn a_call_names_a_function_or_is_refused() {
    let mut world = World::new(Limits::default());
    let caller = world.join("c", &nothing());
    for name in ["", "not a name", &"x".repeat(256)] {
        let call = world.call(caller, name, b"", waiting());
        world.turn();
        assert_eq!(failed(&world, caller, call), ("invalid_name", Executed::No));
    }
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn a_call_without_a_provider_fails_at_once_or_waits_for_one() {
    let mut world = World::new(Limits::default());
    let caller = world.join("c", &nothing());
    let hasty = world.call(caller, "f", b"", CallOptions::default());
    let patient: Vec<u64> = (0..3)
        .map(|n| world.call(caller, "f", &[n], waiting()))
        .collect();
    world.turn();
    assert_eq!(
        failed(&world, caller, hasty),
        ("no_such_function", Executed::No)
    );
    assert_eq!(in_flight(&world), (3, 3, 3));
    let provider = world.join_with_capacity("p", 2);
    world.register(provider, &["f"]);
    world.turn();
    assert_eq!(
        payloads(&world, provider),
        [[0], [1]],
        "first in, first out"
    );
    for at in 0..3 {
        world.answer(provider, invoked(&world, provider)[at], &[at as u8]);
        world.turn();
    }
    for (n, call) in patient.into_iter().enumerate() {
        let result = CallEnding::Result(vec![n as u8]);
        assert_eq!(world.call_ending(caller, call), Some(&result));
    }
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn what_waits_goes_ahead_of_what_is_new_whatever_it_waits_for() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f", "g"], 1);
    let worker = world.reader(provider).welcome.as_ref().unwrap().worker;
    let caller = world.join("c", &nothing());
    world.call(caller, "f", &[0], CallOptions::default());
    let this_one = CallOptions {
        worker: Some(worker),
        ..waiting()
    };
    world.call(caller, "f", &[1], waiting());
    world.call(caller, "f", &[2], waiting());
    world.call(caller, "g", &[3], waiting());
    world.call(caller, "f", &[4], this_one.clone());
    world.call(caller, "f", &[5], waiting());
    world.call(caller, "g", &[6], this_one);
    world.turn();
    for at in 0..7 {
        world.answer(provider, invoked(&world, provider)[at], b"");
        world.call(caller, "f", &[7 + at as u8], waiting());
        world.turn();
    }
    let order: Vec<u8> = payloads(&world, provider).concat();
    assert_eq!(order, (0..8).collect::<Vec<u8>>());
}

#[test]
fn a_deadline_passes_for_the_caller_and_not_for_the_slot() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 1);
    let caller = world.join("c", &nothing());
    let call = world.call(caller, "f", b"", within(100));
    let parked = world.call(
        caller,
        "f",
        b"",
        CallOptions {
            wait: true,
            ..within(50)
        },
    );
    world.turn();
    world.wait(99);
    world.turn();
    assert_eq!(world.call_ending(caller, call), None);
    assert_eq!(
        failed(&world, caller, parked),
        ("deadline_exceeded", Executed::No)
    );
    world.wait(1);
    world.turn();
    assert_eq!(
        failed(&world, caller, call),
        ("deadline_exceeded", Executed::Maybe)
    );
    assert_eq!(world.reader(provider).cancels(), invoked(&world, provider));
    let next = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(failed(&world, caller, next), ("overloaded", Executed::No));
    world.answer(provider, invoked(&world, provider)[0], b"late");
    world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(invoked(&world, provider).len(), 2);
}

#[test]
fn an_answer_and_an_invocation_never_overtake_a_change() {
    let mut world = World::new(Limits::default());
    let caller = world.join("c", &everything());
    let provider = world.join("p", &everything());
    world.register(provider, &["f"]);
    // In one turn: the caller hears of g before its call is answered, the provider before it is asked.
    world.turn();
    let other = world.join("o", &nothing());
    let call = world.call(caller, "f", b"", CallOptions::default());
    world.register(other, &["g"]);
    world.links[provider].capacity = 0;
    world.turn();
    assert!(world.reader(caller).view.functions.contains_key("g"));
    assert!(invoked(&world, provider).is_empty());
    world.links[provider].capacity = usize::MAX;
    world.receive(provider, usize::MAX);
    world.turn();
    let asked_at = world.reader(provider).invocations().next().unwrap().at;
    assert_eq!(asked_at, world.engine.stats().revisions);
    world.links[caller].capacity = 0;
    world.answer(provider, invoked(&world, provider)[0], b"");
    world.register(other, &["h"]);
    world.turn();
    assert_eq!(world.call_ending(caller, call), None);
    world.links[caller].capacity = usize::MAX;
    // Byte by byte: the reader panics over an answer that comes within or before a change.
    while world.call_ending(caller, call).is_none() {
        world.receive(caller, 1);
        world.flush(Budgets::writes(1, 1));
    }
    assert!(world.reader(caller).view.functions.contains_key("h"));
}

#[test]
fn a_caller_that_does_not_read_is_bounded() {
    let limits = Limits {
        max_outbound: 120_000,
        max_backlog: 200_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 10_000);
    let caller = world.join("c", &nothing());
    let calls: Vec<u64> = (0..1000)
        .map(|_| world.call(caller, "f", b"", CallOptions::default()))
        .collect();
    world.turn();
    world.links[caller].capacity = 0;
    for id in invoked(&world, provider) {
        world.answer(provider, id, &[1; 1000]);
        world.turn();
        let waiting = world.engine.stats().outbound_bytes;
        assert!(waiting < 200_000 + 150 * 1000, "{waiting} bytes");
    }
    assert!(!world.engine.wants_read(world.links[caller].id));
    world.links[caller].capacity = usize::MAX;
    world.receive(caller, usize::MAX);
    world.turn();
    world.turn();
    let overloaded = calls
        .iter()
        .filter(|&&call| match world.call_ending(caller, call) {
            Some(CallEnding::Failure(failure)) => {
                assert_eq!(
                    (&*failure.code, failure.executed),
                    ("overloaded", Executed::Maybe)
                );
                true
            }
            Some(CallEnding::Result(_)) => false,
            None => panic!("call {call} never ended"),
        });
    assert!(overloaded.count() > 700);
    assert!(world.engine.wants_read(world.links[caller].id));
}

#[test]
fn a_worker_calls_itself() {
    let mut world = World::new(Limits::default());
    let worker = world.provider(&["f"], 1);
    let call = world.call(worker, "f", b"", CallOptions::default());
    world.turn();
    world.answer(worker, invoked(&world, worker)[0], b"mine");
    world.turn();
    assert_eq!(
        world.call_ending(worker, call),
        Some(&CallEnding::Result(b"mine".to_vec()))
    );
    world.call(worker, "f", b"", idempotent());
    world.call(worker, "f", b"", waiting());
    world.turn();
    world.reset(worker);
    world.turn();
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn arguments_are_kept_only_as_far_as_there_is_room() {
    let limits = Limits {
        max_retained: 10,
        max_parked: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let caller = world.join("c", &nothing());
    let first = world.call(caller, "f", &[0; 10], waiting());
    let second = world.call(caller, "f", &[0; 1], waiting());
    let third = world.call(caller, "f", b"", waiting());
    let fourth = world.call(caller, "f", b"", waiting());
    world.turn();
    assert_eq!(world.call_ending(caller, first), None);
    assert_eq!(world.call_ending(caller, third), None);
    for (call, flag) in [(second, "--max-retained"), (fourth, "--max-parked")] {
        assert_eq!(failed(&world, caller, call), ("overloaded", Executed::No));
        assert!(world.call_failure(caller, call).message.contains(flag));
    }
    world.cancel(caller, first);
    world.cancel(caller, third);
    world.turn();
    assert_eq!(failed(&world, caller, first), ("cancelled", Executed::No));
    assert_eq!(in_flight(&world), (0, 0, 0));
}

#[test]
fn an_unknown_answer_or_cancel_is_counted_and_nothing_else() {
    let mut world = World::new(Limits::default());
    let link = world.join("c", &WatchFilter::new(&[""], &[]));
    world.cancel(link, 77);
    world.answer(link, u64::MAX, b"");
    world.answer(link, 0, b"");
    world.say(link, &Outcome::default().to_frame());
    world.turn();
    let reasons = [("late_cancel", 1), ("unknown_answer", 3)];
    assert_eq!(dropped(&world), reasons);
    assert_eq!(world.reader(link).goodbye, None);
}

#[test]
fn casts_and_events_whose_headers_leave_no_room_reach_no_provider() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    // As large as a frame of the caller may be: with its name and the event it would be larger.
    let headers = vec![0; 1_114_112 - 100];
    let cast = Cast {
        function: Text("f"),
        ext: CastOptions {
            headers: Bin(&headers),
            ..CastOptions::default()
        },
        ..Cast::default()
    };
    world.say(caller, &cast.to_frame());
    let id = world.request(caller);
    let ext = EmitOptions {
        headers: Bin(&headers),
    };
    world.say(
        caller,
        &Emit {
            id,
            event: Text("e"),
            ext,
            ..Emit::default()
        }
        .to_frame(),
    );
    world.turn();
    assert_eq!(
        crate::setup::code(world.ending(caller, id)),
        "payload_too_large"
    );
    assert_eq!(dropped(&world), [("cast_too_large", 1)]);
    assert!(world.reader(provider).goodbye.is_none());
}

#[test]
fn a_call_that_goes_nowhere_counts_by_its_outcome() {
    let mut world = World::new(Limits::default());
    let caller = world.join("c", &nothing());
    let call = callboard::protocol::Call {
        id: 1,
        function: Text("none"),
        ..Default::default()
    };
    world.say(caller, &call.to_frame());
    world.turn();
    assert_eq!(
        world.engine.stats().endings.get("no_such_function"),
        Some(&1)
    );
}

#[test]
fn providers_that_hold_abandoned_calls_do_not_use_up_others_limits() {
    let limits = Limits {
        max_calls_total: 4,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let hoarder = world.provider(&["hoard"], 100);
    let honest = world.provider(&["f"], 100);
    let caller = world.join("c", &nothing());
    for _ in 0..4 {
        let call = world.call(caller, "hoard", b"", CallOptions::default());
        world.turn();
        world.cancel(caller, call);
        world.turn();
        assert_eq!(failed(&world, caller, call), ("cancelled", Executed::Maybe));
    }
    assert_eq!(in_flight(&world).0, 4);
    // A provider that holds none of them is called as ever.
    let call = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    world.answer(honest, invoked(&world, honest)[0], b"ok");
    world.turn();
    let result = CallEnding::Result(b"ok".to_vec());
    assert_eq!(world.call_ending(caller, call), Some(&result));
    // The hoarder gets no more, and what waits for it is served first once it answered half.
    let refused = world.call(caller, "hoard", b"", CallOptions::default());
    let waits = world.call(caller, "hoard", b"waits", waiting());
    world.turn();
    assert_eq!(
        failed(&world, caller, refused),
        ("overloaded", Executed::No)
    );
    let held = invoked(&world, hoarder);
    assert_eq!(held.len(), 4);
    world.answer(hoarder, held[0], b"late");
    world.turn();
    assert_eq!(invoked(&world, hoarder).len(), 4);
    world.answer(hoarder, held[1], b"late");
    world.turn();
    let new = world.call(caller, "hoard", b"new", CallOptions::default());
    world.turn();
    assert_eq!(
        payloads(&world, hoarder)[4..],
        [b"waits".to_vec(), b"new".to_vec()]
    );
    for call in [waits, new] {
        assert_eq!(world.call_ending(caller, call), None);
    }
}

#[test]
fn a_worker_runs_no_more_calls_than_one_connection_may_have_in_flight() {
    let limits = Limits {
        max_calls: 3,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 1_000_000);
    let mut calls = Vec::new();
    for name in ["a", "b"] {
        let caller = world.join(name, &nothing());
        for _ in 0..2 {
            let call = world.call(caller, "f", b"", CallOptions::default());
            calls.push((caller, call));
        }
        world.turn();
    }
    assert_eq!(invoked(&world, provider).len(), 3);
    let (caller, last) = calls[3];
    assert_eq!(failed(&world, caller, last), ("overloaded", Executed::No));
}
