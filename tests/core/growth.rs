//! What a peer could once make grow beyond its limit, or beyond all limits: seen from the outside, in bytes.

use callboard::limits::Limits;
use callboard::protocol::{
    Bin, BindingEntry, CallOptions, Cast, Definition, Emit, Executed, HEADER_LEN, Ping, Pong, Text,
};

use crate::calls::{idempotent, invoked};
use crate::reader::{CallEnding, Reader};
use crate::setup::{code, many, nothing, register_all};
use crate::world::{World, hello, plain};

/// Bytes of a GOODBYE's or a FAILURE's message at the most: it is for people, and goes into the log.
const MESSAGE_MAX: usize = 2000;

#[test]
fn answers_of_the_engine_s_own_functions_do_not_pile_up_beyond_the_limit() {
    let limits = Limits {
        max_outbound: 100_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let worker = world.join("p", &nothing());
    register_all(&mut world, worker, &many(1000));
    world.turn();
    // Small frames in one read, each of which asks for a hundred kilobytes.
    let asker = world.join("a", &nothing());
    world.links[asker].capacity = 0;
    let calls: Vec<u64> = (0..500)
        .map(|_| {
            let function = "engine::functions::list";
            world.call(asker, function, b"", CallOptions::default())
        })
        .collect();
    world.turn();
    let held = world.engine.stats().outbound_bytes;
    assert!(held < 500_000, "{held} bytes wait");
    world.settle();
    let (mut answered, mut refused) = (0, 0);
    for call in calls {
        match world.call_ending(asker, call) {
            Some(CallEnding::Result(_)) => answered += 1,
            Some(CallEnding::Failure(failure)) => {
                assert_eq!(
                    (&*failure.code, failure.executed),
                    ("overloaded", Executed::No)
                );
                assert!(failure.message.contains("--max-outbound"));
                refused += 1;
            }
            None => panic!("no ending"),
        }
    }
    assert!(answered > 0 && refused > 400);
}

#[test]
fn a_refusal_is_short_however_long_the_name_that_it_is_about() {
    let mut world = World::new(Limits::default());
    let long = "\u{1}".repeat(1_000_000);
    let worker = world.join("p", &nothing());
    let said = [
        (world.register(worker, &[&long]), "invalid_name"),
        (world.unregister(worker, &[&long]), "not_registered"),
        (
            world.bind(
                worker,
                vec![BindingEntry {
                    event: Text(&long),
                    function: Text("f"),
                    ..BindingEntry::default()
                }],
            ),
            "invalid_name",
        ),
    ];
    let unknown = format!("engine::{long}");
    let asked = world.call(worker, &unknown, b"", CallOptions::default());
    let called = world.call(worker, &long, b"", CallOptions::default());
    // Arguments that are no map, but a very long text.
    let arguments = rmp_serde::to_vec(&long).unwrap();
    let misread = world.call(
        worker,
        "engine::functions::list",
        &arguments,
        CallOptions::default(),
    );
    world.turn();
    for (id, want) in said {
        let (told, message) = world.ending(worker, id).as_ref().unwrap_err();
        assert_eq!(told, want);
        assert!(message.len() < MESSAGE_MAX, "{} bytes", message.len());
    }
    for call in [asked, called, misread] {
        let message = &world.call_failure(worker, call).message;
        assert!(message.len() < MESSAGE_MAX, "{} bytes", message.len());
    }
    // A text where a number should be.
    let body = rmp_serde::to_vec(&(67, &long)).unwrap();
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    assert!(frame.len() > HEADER_LEN + 1_000_000);
    world.say(worker, &frame);
    world.turn();
    let (code, message, _) = world.reader(worker).goodbye.clone().unwrap();
    assert_eq!(code, "protocol_error");
    assert!(message.len() < MESSAGE_MAX, "{} bytes", message.len());
}

#[test]
fn binding_again_what_one_has_takes_no_further_room() {
    let limits = Limits {
        max_bindings: 3,
        max_metadata: 100,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let worker = world.join("p", &nothing());
    let three = || {
        ["a", "b", "c"].map(|event| BindingEntry {
            event: Text(event),
            function: Text("f"),
            ..BindingEntry::default()
        })
    };
    for _ in 0..3 {
        let id = world.bind(worker, three().to_vec());
        world.turn();
        assert!(world.ending(worker, id).is_ok());
    }
    // The same twice in a batch is one.
    let twice = [three(), three()].concat();
    let id = world.bind(worker, twice);
    world.turn();
    assert!(world.ending(worker, id).is_ok());
    let mut fourth = three()[0].clone();
    fourth.id = Text("x");
    let id = world.bind(worker, vec![fourth.clone()]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "too_many_bindings");
    // Names take room, too.
    let mut world = World::new(Limits {
        max_metadata: 100,
        ..Limits::default()
    });
    let worker = world.join("p", &nothing());
    let long = "x".repeat(101);
    fourth.id = Text(&long);
    let id = world.bind(worker, vec![fourth]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "metadata_too_large");
}

#[test]
fn arguments_are_not_kept_for_callers_that_do_not_wait_any_more() {
    let limits = Limits {
        max_retained: 1000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let hung = world.provider(&["f"], 100);
    let caller = world.join("c", &nothing());
    let cancelled = world.call(caller, "f", &[0; 900], idempotent());
    world.turn();
    assert_eq!(invoked(&world, hung).len(), 1);
    assert_eq!(world.engine.stats().retained_bytes, 900);
    world.cancel(caller, cancelled);
    world.turn();
    assert_eq!(world.engine.stats().retained_bytes, 0);
    let gone = world.join("g", &nothing());
    world.call(gone, "f", &[0; 900], idempotent());
    world.turn();
    world.reset(gone);
    world.turn();
    assert_eq!(world.engine.stats().retained_bytes, 0);
    // The provider never answered; another caller has all of the room.
    let other = world.join("o", &nothing());
    let call = world.call(other, "f", &[0; 1000], idempotent());
    world.turn();
    assert!(world.call_ending(other, call).is_none());
    // The provider dies: the abandoned call is dropped, the other is tried again.
    let next = world.provider(&["f"], 100);
    world.reset(hung);
    world.turn();
    assert_eq!(invoked(&world, next).len(), 1);
    world.answer(next, invoked(&world, next)[0], b"");
    world.turn();
    let stats = world.engine.stats();
    assert_eq!((stats.calls, stats.retained_bytes), (0, 0));
}

#[test]
fn connections_that_are_told_of_the_limit_are_limited_themselves() {
    let limits = Limits {
        max_connections: 10,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let first = world.join("w", &nothing());
    // None of them closes what it has opened.
    for _ in 0..3000 {
        world.open(Reader::new(nothing()));
    }
    world.turn();
    assert!(world.engine.stats().connections <= 10 + 1024);
    let last = world.links.last().unwrap();
    assert!(!last.open && last.reader.goodbye.is_none());
    world.say(first, &Ping::default().to_frame());
    world.turn();
    assert_eq!(world.reader(first).pongs, 1);
}

#[test]
fn small_replies_pile_up_no_further_than_large_ones() {
    let limits = Limits {
        max_outbound: 100_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let asker = world.join("a", &nothing());
    world.links[asker].capacity = 0;
    let ping = Ping::default().to_frame();
    for _ in 0..300 {
        for _ in 0..100 {
            world.say(asker, &ping);
        }
        world.turn();
    }
    // They wait back to back, and nothing more is read once they are over the limit.
    let said = 300 * 100 - world.links[asker].up.len() / ping.len();
    let each = Pong::default().to_frame().len();
    let waits = said * each;
    assert!(
        (100_000..100_000 + 200 * each).contains(&waits),
        "{waits} bytes wait"
    );
    assert!(world.engine.stats().outbound_bytes < waits as u64 + 100);
}

/// A worker that bound this many functions, none of which has a provider, to the event `e`.
fn event_with_bindings(world: &mut World, count: usize) {
    let binder = world.join("b", &nothing());
    let functions = many(count);
    let entries = functions.iter().map(|function| BindingEntry {
        event: Text("e"),
        function: Text(function),
        ..BindingEntry::default()
    });
    let id = world.bind(binder, entries.collect());
    world.settle();
    assert!(world.ending(binder, id).is_ok());
}

fn emit(world: &mut World, link: usize, id: u64) {
    let emit = Emit {
        id,
        event: Text("e"),
        ..Emit::default()
    };
    // Its RESULT has no revision, as a call's.
    world.links[link].reader.calls.insert(id);
    world.say(link, &emit.to_frame());
}

#[test]
fn small_frames_that_make_much_work_are_spread_over_turns_and_none_is_lost() {
    const BOUND: usize = 5000;
    let mut world = World::paced(Limits::default());
    event_with_bindings(&mut world, BOUND);
    let source = world.join("s", &nothing());
    for id in 1..=100 {
        emit(&mut world, source, id);
    }
    world.say(source, &Ping::default().to_frame());
    // It goes right behind what it has sent: the end is taken behind the rest.
    let (mut turns, mut most, mut before) = (0, 0, 0);
    loop {
        world.turn();
        turns += 1;
        if turns == 1 {
            world.eof(source);
        }
        let stats = world.engine.stats();
        let done = stats.dropped.get("event_nobody").copied().unwrap_or(0);
        most = most.max(done - before);
        before = done;
        assert!(turns < 1000);
        if stats.closed.contains_key("eof") {
            break;
        }
        assert!(world.engine.has_more(), "the loop would go to sleep");
        assert!(!world.engine.wants_read(world.links[source].id));
    }
    assert_eq!(before, 100 * BOUND as u64, "none is lost");
    assert!(most <= 3 * 10_000, "{most} deliveries in a turn");
    world.turn();
    let reader = world.reader(source);
    assert_eq!((reader.call_endings.len(), reader.pongs), (100, 1));
    assert_eq!(world.engine.stats().partial_bytes, 0);
}

#[test]
fn an_event_for_very_many_costs_none_of_them_its_connection() {
    let limits = Limits {
        max_outbound_total: 300_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let providers = [(); 8].map(|()| world.provider(&["f"], 10));
    let source = world.join("s", &nothing());
    let to_all = BindingEntry {
        event: Text("e"),
        function: Text("f"),
        deliver_all: true,
        ..BindingEntry::default()
    };
    world.bind(source, vec![to_all]);
    world.turn();
    let emit = Emit {
        event: Text("e"),
        payload: Bin(&vec![0; 100_000]),
        ..Emit::default()
    };
    world.say(source, &emit.to_frame());
    world.turn();
    world.turn();
    // There was room for some; the rest was refused.
    let stats = world.engine.stats();
    assert_eq!((stats.casts, stats.dropped["event_full"]), (3, 5));
    for provider in providers {
        assert_eq!(world.reader(provider).goodbye, None);
    }
}

#[test]
fn a_reader_is_closed_for_nothing_that_another_sends_it_at_once() {
    let limits = Limits {
        max_outbound_total: 30_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let overloaded = |world: &World, call| match world.call_ending(caller, call) {
        Some(CallEnding::Failure(failure)) => {
            assert_eq!(failure.code, "overloaded");
            assert!(failure.message.contains("--max-outbound-total"));
            failure.executed
        }
        other => panic!("{other:?}"),
    };
    let large = vec![0; 70_000];
    // As arguments, as headers, as a cast.
    let by_payload = world.call(caller, "f", &large, CallOptions::default());
    let headers = CallOptions {
        headers: Bin(&large),
        ..CallOptions::default()
    };
    let by_headers = world.call(caller, "f", b"", headers);
    let cast = Cast {
        function: Text("f"),
        payload: Bin(&large),
        ..Cast::default()
    };
    world.say(caller, &cast.to_frame());
    let small = world.call(caller, "f", b"small", CallOptions::default());
    world.turn();
    assert_eq!(overloaded(&world, by_payload), Executed::No);
    assert_eq!(overloaded(&world, by_headers), Executed::No);
    assert_eq!(world.engine.stats().dropped["cast_full"], 1);
    // As a result.
    let [invoke] = invoked(&world, provider)[..] else {
        panic!("the small call is the only one that comes");
    };
    world.answer(provider, invoke, &large);
    world.turn();
    assert_eq!(overloaded(&world, small), Executed::Maybe);
    for link in [provider, caller] {
        assert_eq!(world.reader(link).goodbye, None);
    }
    let again = world.call(caller, "f", b"again", CallOptions::default());
    world.turn();
    world.answer(provider, invoked(&world, provider)[1], b"done");
    world.turn();
    let ending = world.call_ending(caller, again);
    assert_eq!(ending, Some(&CallEnding::Result(b"done".to_vec())));
}

#[test]
fn what_is_left_of_a_read_is_given_up_with_its_connection() {
    let mut world = World::paced(Limits::default());
    event_with_bindings(&mut world, 5000);
    let source = world.join("s", &nothing());
    for id in 1..=100 {
        emit(&mut world, source, id);
    }
    world.turn();
    assert!(world.engine.stats().partial_bytes > 0);
    world.reset(source);
    world.turn();
    let done = world.engine.stats().dropped["event_nobody"];
    world.turn();
    let stats = world.engine.stats();
    assert_eq!(
        (stats.dropped["event_nobody"], stats.partial_bytes),
        (done, 0)
    );
    assert!(done < 100 * 5000);
}

#[test]
fn a_newcomer_under_another_name_is_the_same_worker_to_the_limits() {
    let limits = Limits {
        max_functions: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let older = world.join("p", &nothing());
    world.register_definitions(older, vec![plain("a"), Definition { ..plain("b") }]);
    world.turn();
    let session = world.session(older);
    let newer = world.open(Reader::new(nothing()));
    world.say(
        newer,
        &hello("q", "default", &nothing(), Some(&session), None),
    );
    world.turn();
    let id = world.register(newer, &["a", "b"]);
    world.turn();
    assert!(world.ending(newer, id).is_ok());
    let id = world.register(newer, &["c"]);
    world.turn();
    assert_eq!(code(world.ending(newer, id)), "too_many_functions");
}
