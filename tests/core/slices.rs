//! What takes long is done in slices, and nothing that comes in between sees half of it: a reload, a kick, parked calls
//! that go out at once, deadlines that pass at once.

use std::collections::BTreeMap;

use callboard::engine::{Peer, Rights, Rules, Verb};
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, Definition, Goodbye, HelloOptions, Ping};

use crate::calls::{failed, idempotent, in_flight, invoked, waiting};
use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::rights::{admit, all, hello_of, join, listed, nothing, principal};
use crate::sessions::claim;
use crate::setup::{many, names, register_all};
use crate::world::{World, hello, plain};

/// Work of a turn: some connections are judged in one.
const SHORT: u64 = 400;

/// A world with short turns, and limits that slow no connection.
fn short_turns() -> World {
    let limits = Limits {
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    };
    World::with_turns(limits, 1, SHORT)
}

/// A world with credentials for `god`, for `x` and for `gone`, who may all do everything; as many connections of `x` as
/// take many turns to judge have joined.
fn crowd(count: usize) -> (World, Vec<usize>) {
    let mut world = short_turns();
    let everything = ["god", "x", "gone"].map(|it| principal(it, Rights::everything()));
    admit(&mut world, everything.into());
    let crowd = (0..count).map(|_| joined(&mut world, "x", &nothing()));
    let crowd = crowd.collect();
    (world, crowd)
}

fn joined(world: &mut World, name: &str, filter: &WatchFilter) -> usize {
    let link = join(world, name, name, filter);
    world.settle();
    assert!(world.reader(link).welcome.is_some());
    link
}

/// `x` may no longer do this; `gone` may no longer connect.
fn reload_without(world: &mut World, verb: Verb) {
    let less = Rights::everything().with(verb, Rules::nothing());
    let god = principal("god", Rights::everything());
    admit(world, vec![god, principal("x", less)]);
    assert!(world.engine.has_more(), "the reload takes several turns");
}

#[test]
fn after_a_reload_no_frame_is_handled_by_older_rights_and_a_turn_judges_few() {
    let (mut world, crowd) = crowd(100);
    let provider = joined(&mut world, "god", &nothing());
    world.register(provider, &["f"]);
    world.settle();
    // Those come first that the reload has not come to.
    reload_without(&mut world, Verb::Call);
    let calls: Vec<(usize, u64)> = crowd
        .iter()
        .rev()
        .map(|link| (*link, world.call(*link, "f", b"", CallOptions::default())))
        .collect();
    world.turn();
    assert!(world.engine.has_more());
    world.settle();
    for (link, call) in calls {
        assert_eq!(failed(&world, link, call).0, "forbidden");
    }
    assert!(invoked(&world, provider).is_empty());
}

#[test]
fn to_judge_a_worker_is_as_much_work_as_it_has_registrations() {
    let (mut world, crowd) = crowd(20);
    for (index, link) in crowd.iter().enumerate() {
        world.register(*link, &[&format!("f{index}"), &format!("g{index}")]);
    }
    world.settle();
    reload_without(&mut world, Verb::Call);
    let mut turns = 0;
    while world.engine.has_more() {
        world.turn();
        turns += 1;
    }
    // About 50 each, where a turn has 100 for that.
    assert!((5..=20).contains(&turns), "{turns}");
}

#[test]
fn after_a_reload_nothing_is_written_to_those_who_may_no_longer_have_it() {
    let (mut world, _crowd) = crowd(100);
    let revoked: Vec<usize> = (0..20)
        .map(|_| joined(&mut world, "gone", &all()))
        .collect();
    let narrowed: Vec<usize> = (0..20).map(|_| joined(&mut world, "x", &all())).collect();
    let source = joined(&mut world, "god", &nothing());
    let waiting_for = world.call(revoked[0], "never::there", b"", waiting());
    world.turn();
    reload_without(&mut world, Verb::Observe);
    world.register(source, &["late"]);
    world.settle();
    for link in revoked {
        let told = world.reader(link);
        assert_eq!(world.goodbye(link), Some("unauthorized"));
        assert!(names(&told.view).is_empty(), "{:?}", names(&told.view));
    }
    assert!(world.call_ending(0, waiting_for).is_none());
    for link in narrowed {
        assert!(names(&world.reader(link).view).is_empty());
        assert_eq!(world.reader(link).resyncs, ["joined", "rights_changed"]);
    }
}

#[test]
fn after_a_reload_no_call_or_cast_goes_to_a_provider_that_lost_the_function() {
    let (mut world, _crowd) = crowd(100);
    let caller = joined(&mut world, "god", &nothing());
    let keeps = joined(&mut world, "god", &nothing());
    let loses: Vec<usize> = (0..20)
        .map(|_| {
            let link = joined(&mut world, "x", &nothing());
            world.register(link, &["f", "g"]);
            world.settle();
            link
        })
        .collect();
    world.register(keeps, &["f"]);
    crate::rights::bind(&mut world, keeps, "e", "f");
    world.settle();
    reload_without(&mut world, Verb::Register);
    let calls: Vec<u64> = (0..20)
        .map(|_| world.call(caller, "f", b"", CallOptions::default()))
        .collect();
    let none = world.call(caller, "g", b"", CallOptions::default());
    let again = world.call(caller, "g", b"", idempotent());
    crate::rights::emit(&mut world, caller, 1 << 40, "e");
    world.settle();
    assert_eq!(invoked(&world, keeps).len(), calls.len());
    assert_eq!(failed(&world, caller, none).0, "no_such_function");
    assert_eq!(failed(&world, caller, again).0, "no_such_function");
    assert_eq!(world.reader(keeps).casts, ["f"]);
    for link in loses {
        assert!(invoked(&world, link).is_empty() && world.reader(link).casts.is_empty());
    }
}

#[test]
fn after_a_reload_an_exclusive_name_and_a_session_pass_on_as_the_new_rights_say() {
    let (mut world, _crowd) = crowd(100);
    let heir = joined(&mut world, "god", &all());
    let owner = joined(&mut world, "x", &nothing());
    let exclusive = Definition {
        exclusive: true,
        ..plain("only::one")
    };
    world.register_definitions(owner, vec![exclusive.clone()]);
    world.settle();
    reload_without(&mut world, Verb::Register);
    // Before the owner is judged in its turn.
    let id = world.register_definitions(heir, vec![exclusive]);
    world.turn();
    assert!(world.ending(heir, id).is_ok());
    world.settle();
    assert_eq!(world.reader(owner).rights, 1, "it is told");

    let (mut world, _crowd) = crowd(100);
    let god = joined(&mut world, "god", &nothing());
    let worker = joined(&mut world, "x", &nothing());
    world.register(worker, &["f"]);
    world.settle();
    let key = world.session(worker);
    reload_without(&mut world, Verb::Register);
    let link = world.open(Reader::new(nothing()));
    let ext = HelloOptions {
        session: Some(Bin(&key)),
        ..HelloOptions::default()
    };
    world.say(link, &hello_of("x", "x", &nothing(), ext));
    world.turn();
    let list = listed(&mut world, god, "engine::functions::list", "name");
    assert!(list.is_empty(), "{list:?}");
}

#[test]
fn a_call_that_waits_is_not_run_for_a_caller_that_may_no_longer_call() {
    let (mut world, crowd) = crowd(100);
    let last = *crowd.last().unwrap();
    let call = world.call(last, "f", b"", waiting());
    let provider = joined(&mut world, "god", &nothing());
    world.settle();
    reload_without(&mut world, Verb::Call);
    world.register(provider, &["f"]);
    world.settle();
    assert_eq!(failed(&world, last, call).0, "forbidden");
    assert!(invoked(&world, provider).is_empty());
}

#[test]
fn a_reload_before_the_last_one_has_ended_begins_anew_and_the_newest_rights_hold() {
    let (mut world, crowd) = crowd(100);
    let provider = joined(&mut world, "god", &nothing());
    world.register(provider, &["f"]);
    world.settle();
    reload_without(&mut world, Verb::Call);
    world.turn();
    reload_without(&mut world, Verb::Observe);
    let calls: Vec<u64> = crowd
        .iter()
        .map(|link| world.call(*link, "f", b"", CallOptions::default()))
        .collect();
    world.settle();
    assert_eq!(invoked(&world, provider).len(), calls.len());
}

/// An administrator, `count` workers named "old", and one with 1,000 functions.
fn old_workers(world: &mut World, count: usize) -> (usize, Vec<usize>, usize) {
    let peer = Peer::Unix {
        pid: Some(1),
        uid: Some(0),
    };
    world.engine.set_owner(0);
    let admin = world.open_from(peer, Reader::new(all()));
    world.say(admin, &hello("admin", "default", &all(), None, None));
    let workers: Vec<usize> = (0..count)
        .map(|index| {
            let link = world.join("old", &nothing());
            world.register(link, &[&format!("f{index}")]);
            world.settle();
            link
        })
        .collect();
    let large = world.join("old", &nothing());
    register_all(world, large, &many(1_000));
    world.settle();
    (admin, workers, large)
}

/// The administrator kicks all that are named "old".
fn kick_old(world: &mut World, admin: usize) -> u64 {
    let argument = rmp_serde::to_vec_named(&BTreeMap::from([("name", "old")]));
    let kick = "engine::workers::kick";
    world.call(admin, kick, &argument.unwrap(), CallOptions::default())
}

/// How many were kicked, by the answer.
fn kicked(world: &World, admin: usize, call: u64) -> u64 {
    let CallEnding::Result(answer) = world.call_ending(admin, call).unwrap() else {
        panic!("refused");
    };
    let answer: BTreeMap<String, u64> = rmp_serde::from_slice(answer).unwrap();
    answer["kicked"]
}

#[test]
fn a_kick_of_many_disconnects_them_in_slices_and_is_answered_behind_the_last() {
    let mut world = short_turns();
    let (admin, workers, large) = old_workers(&mut world, 50);
    let bystander = world.join("new", &nothing());
    world.settle();
    let call = kick_old(&mut world, admin);
    let mut turns = 0;
    let present = |world: &World| names(&world.reader(admin).view).len();
    while world.call_ending(admin, call).is_none() {
        let before = present(&world);
        world.say(bystander, &Ping::default().to_frame());
        world.turn();
        turns += 1;
        let left = before - present(&world);
        // One that is larger than a turn stands alone.
        assert!(left <= 40 || left == 1_000, "{left} in one turn");
        assert!(turns < 200);
    }
    assert!(turns > 2, "{turns}");
    assert_eq!(kicked(&world, admin, call), 51);
    assert_eq!(present(&world), 0, "all have left when it is answered");
    assert!(
        workers
            .iter()
            .chain([&large])
            .all(|it| world.goodbye(*it) == Some("kicked"))
    );
    assert!(world.goodbye(bystander).is_none() && world.reader(bystander).pongs > 0);
}

#[test]
fn a_worker_that_comes_back_between_two_slices_of_a_kick_is_kicked() {
    let mut world = short_turns();
    let (admin, _, large) = old_workers(&mut world, 200);
    let call = kick_old(&mut world, admin);
    world.turn();
    assert!(world.call_ending(admin, call).is_none() && world.goodbye(large).is_none());
    // From another address: its user owes nothing for those who were kicked before.
    let peer = Peer::Tcp("192.0.2.77:1".parse().unwrap());
    let newer = world.open_from(peer, Reader::new(nothing()));
    claim(&mut world, newer, large);
    world.settle();
    assert_eq!(world.goodbye(large), Some("session_taken_over"));
    assert_eq!(world.goodbye(newer), Some("kicked"));
    assert_eq!(kicked(&world, admin, call), 201);
    assert!(names(&world.reader(admin).view).is_empty());
}

#[test]
fn parked_calls_go_out_in_slices_in_the_order_in_which_they_came() {
    let mut world = short_turns();
    let caller = world.join("c", &nothing());
    let calls: Vec<u64> = (0..200)
        .map(|index: u32| world.call(caller, "f", &index.to_be_bytes(), waiting()))
        .collect();
    world.settle();
    assert_eq!(in_flight(&world).1, 200);
    let provider = world.provider(&["f"], 1_000);
    let (mut turns, mut late) = (0, 0);
    while invoked(&world, provider).len() < calls.len() + late {
        let before = invoked(&world, provider).len();
        // One that may wait does, behind those that came before it.
        if turns < 3 {
            let number = (calls.len() + late) as u32;
            world.call(caller, "f", &number.to_be_bytes(), waiting());
            late += 1;
        }
        world.turn();
        turns += 1;
        let sent = invoked(&world, provider).len() - before;
        assert!(sent <= 60, "{sent} in one turn");
        assert!(turns < 500);
    }
    assert!(turns > 3, "{turns}");
    let payloads = world.reader(provider).invocations();
    let order = payloads.map(|it| u32::from_be_bytes(*it.payload.first_chunk().unwrap()));
    assert!(order.eq(0..(calls.len() + late) as u32));
}

#[test]
fn users_take_turns_at_a_provider_with_room_however_many_calls_each_has_parked() {
    let mut world = short_turns();
    let from = |world: &mut World, host: u8| {
        let peer = Peer::Tcp(format!("192.0.2.{host}:1").parse().unwrap());
        let link = world.open_from(peer, Reader::new(nothing()));
        world.say(link, &hello("c", "default", &nothing(), None, None));
        world.settle();
        link
    };
    let (greedy, modest) = (from(&mut world, 1), from(&mut world, 2));
    for index in 0..30 {
        world.call(greedy, ["f", "g"][index % 2], b"", waiting());
    }
    world.settle();
    let of_modest: Vec<u64> = (0..3)
        .map(|_| world.call(modest, "g", b"", waiting()))
        .collect();
    world.settle();
    let provider = world.provider(&["f", "g"], 1);
    world.settle();
    // One slot: each answer frees it for the next user.
    for _ in 0..6 {
        let invoke = *invoked(&world, provider).last().unwrap();
        world.answer(provider, invoke, b"");
        world.settle();
    }
    for call in of_modest {
        let ending = world.call_ending(modest, call);
        assert!(matches!(ending, Some(CallEnding::Result(_))), "{ending:?}");
    }
}

#[test]
fn deadlines_that_pass_at_once_are_met_over_several_turns_and_none_is_forgotten() {
    let mut world = short_turns();
    let caller = world.join("c", &nothing());
    let within = CallOptions {
        timeout_ms: Some(50),
        ..waiting()
    };
    for _ in 0..300 {
        world.call(caller, "f", b"", within.clone());
    }
    world.settle();
    world.wait(1_000);
    let mut turns = 0;
    while in_flight(&world).1 > 0 {
        let before = in_flight(&world).1;
        world.turn();
        let ended = before - in_flight(&world).1;
        assert!(ended <= SHORT / 20 + 1, "{ended} in one turn");
        assert!(
            world
                .engine
                .next_deadline()
                .is_some_and(|at| at <= world.now)
                || ended > 0
        );
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns >= 5, "{turns}");
}

#[test]
fn a_goodbye_of_a_large_worker_stands_alone_in_its_turn() {
    let mut world = short_turns();
    let large = world.join("large", &nothing());
    register_all(&mut world, large, &many(1_000));
    let peer = Peer::Tcp("192.0.2.7:1".parse().unwrap());
    let other = world.open_from(peer, Reader::new(nothing()));
    world.say(other, &hello("o", "default", &nothing(), None, None));
    world.settle();
    // The other one is served first.
    world.say(other, &Ping::default().to_frame());
    world.say(large, &Goodbye::default().to_frame());
    let mut functions = Vec::new();
    for _ in 0..3 {
        world.say(other, &Ping::default().to_frame());
        world.turn();
        functions.push((world.engine.stats().functions, world.reader(other).pongs));
    }
    let alone = functions.windows(2).find(|it| it[1].0 == 0 && it[0].0 > 0);
    let alone = alone.expect("it left in one of the turns behind the first");
    assert_eq!(alone[0].1, alone[1].1, "{functions:?}");
}

#[test]
fn a_connection_whose_end_waits_is_not_asked_whether_it_is_there() {
    let mut world = short_turns();
    let large = world.join("large", &all());
    register_all(&mut world, large, &many(1_000));
    world.settle();
    let other = world.open_from(
        Peer::Tcp("192.0.2.77:1".parse().unwrap()),
        Reader::new(nothing()),
    );
    world.say(other, &hello("other", "default", &nothing(), None, None));
    let small = world.join("small", &nothing());
    world.register(small, &["f"]);
    world.settle();
    // Both have sent more than a turn handles, for so long that its deadline passes.
    for link in [large, other] {
        world.say(link, &Ping::default().to_frame().repeat(3_000));
    }
    world.turn();
    world.wait(Limits::default().ping_after + 1);
    world.turn();
    // It reads nothing, and breaks behind another one.
    world.links[large].capacity = 0;
    world.turn();
    world.reset(small);
    world.reset(large);
    let ended = world.engine.stats().closed["reset"];
    assert_eq!(ended, 1, "the end of the large one waits for the next turn");
    world.engine.check_books(world.now);
    world.settle();
    assert_eq!(world.engine.stats().closed["reset"], 2);
}
