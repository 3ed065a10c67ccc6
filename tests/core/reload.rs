//! What rights are to connections that outlive a change of them: sessions, resume points, and everything that a worker
//! has when it may no longer have it.

use callboard::engine::{Principal, Rights, Rules, TokenHash, Verb};
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, HelloOptions};

use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::rights::{
    admit, all, bind, hello_of, join, listed, nothing, principal, with_one, world_with,
};
use crate::setup::{code, names};
use crate::turn::Budgets;
use crate::world::{World, plain};

#[test]
fn a_session_is_its_principals_and_no_others() {
    let mut world = world_with(Rights::everything());
    let holder = join(&mut world, "god", "a", &nothing());
    world.register(holder, &["f"]);
    world.turn();
    let welcome = world.reader(holder).welcome.clone().unwrap();
    let present = |world: &mut World, principal: &str| {
        let link = world.open(Reader::new(nothing()));
        let ext = HelloOptions {
            session: Some(Bin(&welcome.session)),
            ..HelloOptions::default()
        };
        world.say(link, &hello_of(principal, "b", &nothing(), ext));
        world.turn();
        world.reader(link).welcome.clone().unwrap()
    };
    let thief = present(&mut world, "x");
    assert!(!thief.taken_over && thief.worker != welcome.worker);
    assert!(world.reader(holder).goodbye.is_none());
    let heir = present(&mut world, "god");
    assert!(heir.taken_over && heir.worker == welcome.worker);
}

#[test]
fn revoked_tokens_vanished_principals_and_changed_namespaces_end_their_connections() {
    let mut world = World::new(Limits::default());
    let all_of = |name: &str| principal(name, Rights::everything());
    let two_tokens = |tokens: &[&str]| Principal {
        tokens: tokens.iter().map(|token| TokenHash::of(token)).collect(),
        ..all_of("rotating")
    };
    admit(
        &mut world,
        vec![
            all_of("stays"),
            all_of("vanishes"),
            all_of("moves"),
            two_tokens(&["token of old", "token of new"]),
        ],
    );
    let links = ["stays", "vanishes", "moves", "old", "new"]
        .map(|name| join(&mut world, name, name, &nothing()));
    for (link, name) in links.iter().zip(["a", "b", "c", "d", "e"]) {
        world.register(*link, &[name]);
    }
    let watcher = join(&mut world, "stays", "w", &all());
    world.turn();
    let moved = Principal {
        namespace: "elsewhere".to_owned(),
        ..all_of("moves")
    };
    admit(
        &mut world,
        vec![all_of("stays"), moved, two_tokens(&["token of new"])],
    );
    world.turn();
    let told = links.map(|link| world.reader(link).goodbye.clone().map(|(code, ..)| code));
    let gone = Some("unauthorized".to_owned());
    assert_eq!(told, [None, gone.clone(), gone.clone(), gone, None]);
    assert_eq!(names(&world.reader(watcher).view), ["a", "e"]);
    assert_eq!(
        world.reader(watcher).resyncs,
        ["joined"],
        "its rights are the same"
    );
    assert_eq!(
        world.reader(watcher).steps.len(),
        1,
        "all of it is one step"
    );
}

#[test]
fn changed_rights_are_applied_in_place() {
    let mut world = world_with(Rights::everything());
    let watcher = join(&mut world, "god", "w", &all());
    let worker = join(&mut world, "x", "x", &all());
    world.register(worker, &["seen::a", "other::a"]);
    bind(&mut world, worker, "seen::e", "seen::a");
    bind(&mut world, worker, "seen::e", "other::a");
    world.turn();
    let parked = [("seen::later", None), ("other::later", Some("forbidden"))].map(|(name, end)| {
        let ext = CallOptions {
            wait: true,
            ..CallOptions::default()
        };
        (world.call(worker, name, b"", ext), end)
    });
    world.turn();
    let steps = world.reader(watcher).steps.len();
    let seen = |rights: Rights, verb| rights.with(verb, Rules::new(["seen::"], []));
    let narrow = Verb::ALL
        .iter()
        .fold(Rights::everything(), |rights, &verb| seen(rights, verb));
    admit(
        &mut world,
        vec![
            principal("god", Rights::everything()),
            principal("x", narrow),
        ],
    );
    world.turn();
    assert!(world.reader(worker).goodbye.is_none());
    assert_eq!(names(&world.reader(watcher).view), ["seen::a"]);
    assert_eq!(world.reader(watcher).steps.len(), steps + 1, "one change");
    let bound = listed(&mut world, watcher, "engine::bindings::list", "function");
    assert_eq!(bound, ["seen::a"]);
    assert_eq!(world.reader(worker).resyncs, ["joined", "rights_changed"]);
    assert_eq!(names(&world.reader(worker).view), ["seen::a"]);
    for (call, end) in parked {
        let ended = world.call_ending(worker, call).map(|ending| match ending {
            CallEnding::Failure(failure) => failure.code.as_str(),
            CallEnding::Result(_) => "result",
        });
        assert_eq!(ended, end);
    }
    let id = world.register(worker, &["other::a"]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "forbidden");
    // And back: what it wanted to see is not forgotten.
    world.register(watcher, &["other::b"]);
    world.turn();
    admit(
        &mut world,
        vec![
            principal("god", Rights::everything()),
            principal("x", Rights::everything()),
        ],
    );
    world.turn();
    assert_eq!(names(&world.reader(worker).view), ["other::b", "seen::a"]);
    assert_eq!(world.reader(worker).resyncs.len(), 3);
    // The same file once more changes nothing.
    admit(
        &mut world,
        vec![
            principal("god", Rights::everything()),
            principal("x", Rights::everything()),
        ],
    );
    world.turn();
    assert_eq!(world.reader(worker).resyncs.len(), 3);
}

#[test]
fn workers_whose_board_rights_change_are_told_so_and_no_other() {
    let everything = || principal("god", Rights::everything());
    let mut world = world_with(Rights::everything());
    let god = join(&mut world, "god", "g", &all());
    let worker = join(&mut world, "x", "x", &all());
    let leaving = join(&mut world, "x", "leaving", &nothing());
    world.register(worker, &["seen::a", "other::a"]);
    world.turn();
    world.say(leaving, &callboard::protocol::Drain::default().to_frame());
    world.turn();
    let told = |world: &World| [god, worker, leaving].map(|link| world.reader(link).rights);
    // What one may see, call or emit concerns nothing that one has on the board.
    for verb in [Verb::Observe, Verb::Call, Verb::Emit] {
        let narrow = with_one(verb, (&["seen::"], &[]));
        admit(&mut world, vec![everything(), principal("x", narrow)]);
        world.turn();
        assert_eq!(told(&world), [0, 0, 0], "{verb}");
    }
    for (times, verb) in [(1, Verb::Register), (2, Verb::Bind)] {
        let narrow = with_one(verb, (&["seen::"], &[]));
        admit(&mut world, vec![everything(), principal("x", narrow)]);
        world.turn();
        assert_eq!(told(&world), [0, times, times], "{verb}");
    }
    // What it registers again then is there: what it lost, and what it had all the time without a revision.
    assert_eq!(names(&world.reader(god).view), ["seen::a"]);
    let before = world.engine.stats().revisions;
    world.register(worker, &["seen::a"]);
    world.turn();
    assert_eq!(world.engine.stats().revisions, before);
    let id = world.register(worker, &["seen::a", "other::a"]);
    world.turn();
    assert!(world.ending(worker, id).is_ok());
    assert_eq!(names(&world.reader(god).view), ["other::a", "seen::a"]);
}

#[test]
fn a_batch_that_was_begun_with_more_rights_fails_at_its_end() {
    let mut world = world_with(Rights::everything());
    let worker = join(&mut world, "x", "x", &nothing());
    let id = world.request(worker);
    let part = |more, name: &'static str| callboard::protocol::Register {
        id,
        more,
        functions: vec![plain(name)],
        ..callboard::protocol::Register::default()
    };
    world.say(worker, &part(true, "other::a").to_frame());
    world.turn();
    let narrow = with_one(Verb::Register, (&["seen::"], &[]));
    admit(
        &mut world,
        vec![
            principal("god", Rights::everything()),
            principal("x", narrow),
        ],
    );
    world.say(worker, &part(false, "seen::a").to_frame());
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "forbidden");
}

#[test]
fn a_resume_is_good_for_the_rights_that_it_was_made_with() {
    let narrow =
        |prefix: &'static str| Rights::everything().with(Verb::Observe, Rules::new([prefix], []));
    let mut world = world_with(narrow("seen::"));
    let god = join(&mut world, "god", "g", &nothing());
    world.register(god, &["seen::a", "other::a"]);
    world.turn();
    let resume = |world: &mut World, from: usize| {
        world.eof(from);
        world.turn();
        let reader = std::mem::replace(&mut world.links[from].reader, Reader::new(all()));
        let (welcome, mine) = (reader.welcome.clone().unwrap(), reader.mine);
        let ext = HelloOptions {
            resume: Some(callboard::protocol::Resume {
                epoch: welcome.epoch,
                revision: mine,
                digest: Bin(&welcome.digest),
            }),
            ..HelloOptions::default()
        };
        let frame = hello_of("x", "x", &all(), ext);
        let link = world.open(reader.reconnected());
        world.say(link, &frame);
        world.turn();
        link
    };
    let first = join(&mut world, "x", "x", &all());
    world.register(god, &["seen::b", "other::b"]);
    let second = resume(&mut world, first);
    assert!(world.reader(second).welcome.as_ref().unwrap().resumed);
    assert_eq!(names(&world.reader(second).view), ["seen::a", "seen::b"]);
    // Away while the rights change, and change back.
    for prefix in ["other::", "seen::"] {
        world.eof(second);
        world.turn();
        let rights = narrow(prefix);
        admit(
            &mut world,
            vec![
                principal("god", Rights::everything()),
                principal("x", rights),
            ],
        );
        world.register(god, &[&format!("{prefix}c")]);
        world.turn();
    }
    let third = resume(&mut world, second);
    assert_eq!(world.reader(third).resyncs, ["other_watch"]);
    assert_eq!(
        names(&world.reader(third).view),
        ["seen::a", "seen::b", "seen::c"]
    );
}

#[test]
fn a_view_that_followed_other_rights_in_between_is_not_resumed_as_if_it_had_not() {
    let (wide, narrow) = (
        Rights::everything(),
        with_one(Verb::Observe, (&["seen::"], &[])),
    );
    let mut world = world_with(wide.clone());
    let god = join(&mut world, "god", "g", &nothing());
    world.register(god, &["seen::a", "other::a"]);
    world.turn();
    let functions = WatchFilter::new(&[""], &[]);
    let first = join(&mut world, "x", "x", &functions);
    let with = |rights: &Rights| {
        vec![
            principal("god", wide.clone()),
            principal("x", rights.clone()),
        ]
    };
    admit(&mut world, with(&narrow));
    world.turn();
    assert_eq!(names(&world.reader(first).view), ["seen::a"]);
    let (mine, welcome) = (
        world.reader(first).mine,
        world.reader(first).welcome.clone().unwrap(),
    );
    world.eof(first);
    world.turn();
    admit(&mut world, with(&wide));
    let ext = HelloOptions {
        resume: Some(callboard::protocol::Resume {
            epoch: welcome.epoch,
            revision: mine,
            digest: Bin(&welcome.digest),
        }),
        ..HelloOptions::default()
    };
    let link = world.open(Reader::new(functions.clone()));
    world.say(link, &hello_of("x", "x", &functions, ext));
    world.turn();
    assert_eq!(world.reader(link).resyncs, ["other_watch"]);
    assert_eq!(names(&world.reader(link).view), ["other::a", "seen::a"]);
}

#[test]
fn a_revoked_connection_gets_nothing_that_it_may_no_longer_have() {
    let mut world = world_with(Rights::everything());
    let god = join(&mut world, "god", "g", &nothing());
    let reader = join(&mut world, "x", "x", &all());
    // A reply that waits for the turn's changes, and a change of the same turn.
    world.register(reader, &["mine::a"]);
    world.register(god, &["seen::a"]);
    for link in [reader, god] {
        world.arrive(link, usize::MAX);
    }
    admit(&mut world, vec![principal("god", Rights::everything())]);
    world.finish_turn(Budgets::ALL);
    let bytes = world.links[reader].down.clone();
    assert!(!bytes.windows(7).any(|it| it == b"seen::a"), "{bytes:?}");
    world.receive(reader, usize::MAX);
    let told = world.reader(reader).goodbye.clone().map(|(code, ..)| code);
    assert_eq!(told.as_deref(), Some("unauthorized"));
}
