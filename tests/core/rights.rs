//! Rights, verb by verb: what is allowed works, what is not is `forbidden` whether it exists or not, and what may not
//! be observed appears nowhere. What happens to those who are in when rights change.

use std::collections::BTreeSet;

use callboard::engine::{Credentials, Principal, Rights, Rules, TokenHash, Verb};
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, Bind, BindingEntry, CallOptions, Cast, CastOptions, Definition, Emit, EmitOptions, Hello,
    HelloOptions, NoExtensions, Text, Watch,
};

use crate::fleet::{code, names};
use crate::reader::{CallEnding, Cover, Reader};
use crate::world::{World, plain};

/// What may be asked of names: under which prefixes, and under which not.
type Case = (&'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (&[], &[]),
    (&[""], &[]),
    (&["seen::"], &[]),
    (&["seen::", "other::f"], &[]),
    (&[""], &["other::"]),
    (&["seen::"], &["seen::hidden::"]),
    (&["seen::hidden::"], &["seen::"]),
    (&["seen::"], &[""]),
    (&["s"], &["seen::f"]),
];

const NAMES: &[&str] = &["seen::f", "seen::hidden::f", "other::f", "se"];

/// Whether a case allows a name: said once more, and not as the engine does.
fn expected((allow, deny): Case, name: &str) -> bool {
    let longest = |list: &[&str]| list.iter().filter(|it| name.starts_with(**it)).count();
    longest(allow) > 0 && longest(deny) == 0
}

pub(crate) fn principal(name: &str, rights: Rights) -> Principal {
    Principal {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        tokens: vec![TokenHash::of(&format!("token of {name}"))],
        uids: Vec::new(),
        rights,
    }
}

fn with_one(verb: Verb, (allow, deny): Case) -> Rights {
    let rules = Rules::new(allow.iter().copied(), deny.iter().copied());
    Rights::everything().with(verb, rules)
}

pub(crate) fn admit(world: &mut World, principals: Vec<Principal>) {
    let now = world.now;
    let credentials = Credentials::new(principals);
    world.engine.handle_credentials(&credentials, now);
}

/// An engine with `god`, who may do everything, and `x` with these rights.
fn world_with(rights: Rights) -> World {
    let mut world = World::new(Limits::default());
    admit(
        &mut world,
        vec![
            principal("god", Rights::everything()),
            principal("x", rights),
        ],
    );
    world
}

pub(crate) fn hello_of(
    principal: &str,
    worker: &str,
    cover: &Cover,
    ext: HelloOptions<'_>,
) -> Vec<u8> {
    let texts = |list: &'_ [String]| -> Option<Vec<Text<'static>>> {
        let leaked = |it: &String| Text(Box::leak(it.clone().into_boxed_str()));
        (!list.is_empty()).then(|| list.iter().map(leaked).collect())
    };
    let token = format!("token of {principal}");
    let bindings = (!cover.is_nothing()).then(|| vec![Text("")]);
    Hello {
        versions: vec![1],
        name: Text(worker),
        namespace: Text(""),
        ext: HelloOptions {
            watch: Some(Watch {
                functions: texts(&cover.functions),
                workers: texts(&cover.workers),
                bindings,
            }),
            token: Some(Text(&token)),
            ..ext
        },
    }
    .to_frame()
}

/// Joins as a worker of a principal; with its turn.
pub(crate) fn join(world: &mut World, principal: &str, worker: &str, cover: &Cover) -> usize {
    let link = world.open(Reader::new(cover.clone()));
    world.say(
        link,
        &hello_of(principal, worker, cover, HelloOptions::default()),
    );
    world.turn();
    link
}

fn nothing() -> Cover {
    Cover::new(&[], &[])
}

fn all() -> Cover {
    Cover::new(&[""], &[""])
}

pub(crate) fn bind(world: &mut World, link: usize, event: &str, function: &str) -> u64 {
    let id = world.request(link);
    let bindings = vec![BindingEntry {
        event: Text(event),
        function: Text(function),
        ..BindingEntry::default()
    }];
    let ext = NoExtensions {};
    world.say(link, &Bind { id, bindings, ext }.to_frame());
    id
}

pub(crate) fn emit(world: &mut World, link: usize, id: u64, event: &str) {
    let emit = Emit {
        id,
        event: Text(event),
        payload: Bin(&[]),
        ext: EmitOptions::default(),
    };
    world.links[link].reader.calls.insert(id);
    world.say(link, &emit.to_frame());
}

pub(crate) fn cast(world: &mut World, link: usize, function: &str) {
    let cast = Cast {
        function: Text(function),
        payload: Bin(&[]),
        ext: CastOptions::default(),
    };
    world.say(link, &cast.to_frame());
}

/// Calls one of the engine's own functions; its answer as JSON-like text, or the failure's code.
pub(crate) fn ask(
    world: &mut World,
    link: usize,
    function: &str,
    argument: &rmpv::Value,
) -> Result<rmpv::Value, String> {
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, argument).unwrap();
    let id = world.call(link, function, &payload, CallOptions::default());
    world.turn();
    match world.call_ending(link, id) {
        Some(CallEnding::Result(result)) => Ok(rmpv::decode::read_value(&mut &result[..]).unwrap()),
        Some(CallEnding::Failure(failure)) => Err(failure.code.clone()),
        None => panic!("{function} was not answered"),
    }
}

fn listed(world: &mut World, link: usize, list: &str, key: &str) -> Vec<String> {
    let page = ask(world, link, list, &rmpv::Value::Nil).unwrap();
    let entries = page["entries"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| entry[key].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn who_registers_needs_the_right_for_each_name_and_is_refused_in_the_same_words_whatever_there_is()
{
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Register, case));
        let god = join(&mut world, "god", "god", &nothing());
        let worker = join(&mut world, "x", "x", &nothing());
        for &name in NAMES {
            // Nobody has it, somebody shares it, somebody insists on being alone.
            let mut refusals = BTreeSet::new();
            for exclusive in [None, Some(false), Some(true)] {
                if let Some(exclusive) = exclusive {
                    let definition = Definition {
                        exclusive,
                        ..plain(name)
                    };
                    world.register_definitions(god, vec![definition]);
                    world.turn();
                }
                let id = world.register(worker, &[name]);
                world.turn();
                let ending = world.ending(worker, id).clone();
                if expected(case, name) {
                    assert!(
                        ending.is_ok() == (exclusive != Some(true)),
                        "{case:?} {name} {ending:?}"
                    );
                    world.unregister(worker, &[name]);
                } else {
                    let refusal = ending.expect_err(name);
                    assert_eq!(refusal.0, "forbidden", "{case:?} {name}");
                    refusals.insert(refusal);
                }
                if exclusive.is_some() {
                    world.unregister(god, &[name]);
                }
                world.turn();
            }
            assert!(refusals.len() <= 1, "{refusals:?}");
        }
        // All or nothing: one forbidden name among allowed ones.
        if let Some(&forbidden) = NAMES.iter().find(|name| !expected(case, name)) {
            let id = world.register(worker, &["seen::f", forbidden]);
            world.turn();
            assert_eq!(code(world.ending(worker, id)), "forbidden");
        }
    }
}

#[test]
fn who_calls_or_casts_needs_the_right_and_is_refused_in_the_same_words_whatever_there_is() {
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Call, case));
        let provider = join(&mut world, "god", "p", &nothing());
        let caller = join(&mut world, "x", "c", &nothing());
        for &name in NAMES {
            let mut refusals = BTreeSet::new();
            for provided in [false, true] {
                if provided {
                    world.register(provider, &[name]);
                    world.turn();
                }
                let before = world.reader(provider).invocations().count();
                let casts = world.engine.stats().casts;
                let call = world.call(caller, name, b"", CallOptions::default());
                cast(&mut world, caller, name);
                world.turn();
                let came = world.reader(provider).invocations().count() - before;
                let cast_came = world.engine.stats().casts - casts;
                if expected(case, name) {
                    assert_eq!(
                        (came, cast_came),
                        (usize::from(provided), u64::from(provided))
                    );
                    if !provided {
                        assert_eq!(world.call_failure(caller, call).code, "no_such_function");
                    }
                } else {
                    assert_eq!((came, cast_came), (0, 0), "{case:?} {name}");
                    let failure = world.call_failure(caller, call);
                    assert_eq!(failure.code, "forbidden", "{case:?} {name}");
                    refusals.insert(failure.message.clone());
                }
            }
            assert!(refusals.len() <= 1, "{refusals:?}");
        }
        let forbidden = NAMES.iter().filter(|name| !expected(case, name)).count() as u64;
        let dropped = world.engine.stats().dropped;
        assert_eq!(
            dropped.get("cast_forbidden").copied().unwrap_or(0),
            2 * forbidden
        );
    }
}

#[test]
fn who_emits_needs_the_right_for_the_event_and_who_binds_for_event_and_function() {
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Emit, case));
        let worker = join(&mut world, "x", "x", &nothing());
        for &name in NAMES {
            let id = world.request(worker);
            emit(&mut world, worker, id, name);
            emit(&mut world, worker, 0, name);
            world.turn();
            match world.call_ending(worker, id) {
                Some(CallEnding::Result(_)) => assert!(expected(case, name), "{case:?} {name}"),
                Some(CallEnding::Failure(failure)) => {
                    assert_eq!(failure.code, "forbidden");
                    assert!(!expected(case, name), "{case:?} {name}");
                }
                None => panic!("EMIT was not answered"),
            }
        }
        let forbidden = NAMES.iter().filter(|name| !expected(case, name)).count() as u64;
        let dropped = world.engine.stats().dropped;
        assert_eq!(
            dropped.get("event_forbidden").copied().unwrap_or(0),
            forbidden
        );

        let mut world = world_with(with_one(Verb::Bind, case));
        let worker = join(&mut world, "x", "x", &nothing());
        for &event in NAMES {
            for &function in NAMES {
                let id = bind(&mut world, worker, event, function);
                world.turn();
                let ending = world.ending(worker, id);
                if expected(case, event) && expected(case, function) {
                    assert!(ending.is_ok(), "{case:?} {event} {function} {ending:?}");
                } else {
                    assert_eq!(code(ending), "forbidden", "{case:?} {event} {function}");
                }
            }
        }
    }
}

#[test]
fn what_may_be_observed_is_what_snapshots_changes_lists_and_errors_tell() {
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Observe, case));
        let god = join(&mut world, "god", "owner", &nothing());
        // Once it is in the snapshot, once it is in a change.
        let late = join(&mut world, "x", "late", &all());
        world.register(god, NAMES);
        for &event in NAMES {
            for &function in NAMES {
                bind(&mut world, god, event, function);
            }
        }
        world.turn();
        let early = join(&mut world, "x", "early", &all());
        world.turn();
        let seen: Vec<&str> = NAMES
            .iter()
            .copied()
            .filter(|name| expected(case, name))
            .collect();
        let sorted: BTreeSet<&str> = seen.iter().copied().collect();
        let sorted: Vec<&str> = sorted.into_iter().collect();
        for link in [late, early] {
            let view = &world.reader(link).view;
            assert_eq!(names(view), sorted, "{case:?}");
            let workers: Vec<&BTreeSet<String>> = view.workers.values().map(|(_, it)| it).collect();
            if seen.is_empty() {
                assert!(workers.is_empty(), "{case:?}");
            } else {
                assert!(workers[0].iter().eq(sorted.iter()), "{case:?} {workers:?}");
            }
        }
        assert_eq!(
            listed(&mut world, early, "engine::functions::list", "name"),
            sorted
        );
        let owners = listed(&mut world, early, "engine::workers::list", "name");
        assert_eq!(owners.len(), usize::from(!seen.is_empty()), "{case:?}");
        let bound = listed(&mut world, early, "engine::bindings::list", "function");
        assert_eq!(bound.len(), seen.len() * seen.len(), "{case:?}");
        // A count is an answer too.
        for &event in NAMES {
            let id = world.request(early);
            let frame = Emit {
                id,
                event: Text(event),
                payload: Bin(&[]),
                ext: EmitOptions::default(),
            };
            world.say(early, &frame.to_frame());
            let bytes = raw_turn(&mut world, early);
            let matched = matched_in(&bytes, id);
            let want = if expected(case, event) { seen.len() } else { 0 };
            assert_eq!(matched, want as u64, "{case:?} {event}");
        }
        // Who may register it and not see it learns that somebody has it, and not who.
        for &name in NAMES {
            let definition = Definition {
                exclusive: true,
                ..plain(name)
            };
            let id = world.register_definitions(early, vec![definition]);
            world.turn();
            let (code, message) = world.ending(early, id).clone().expect_err(name);
            assert_eq!(code, "exclusive");
            assert_eq!(
                message.contains("owner"),
                expected(case, name),
                "{case:?} {message}"
            );
        }
        // And all of it goes as it came.
        world.eof(god);
        world.turn();
        assert_eq!(world.reader(early).view, crate::reader::View::default());
        assert_eq!(world.reader(late).view, crate::reader::View::default());
    }
}

/// A turn whose bytes to `link` are returned instead of read.
pub(crate) fn raw_turn(world: &mut World, link: usize) -> Vec<u8> {
    for link in 0..world.links.len() {
        world.arrive(link, usize::MAX);
    }
    world.finish_turn(usize::MAX);
    let bytes = world.links[link].down.clone();
    for other in 0..world.links.len() {
        if other == link {
            world.links[link].down.clear();
        } else {
            world.receive(other, usize::MAX);
        }
    }
    bytes
}

fn matched_in(bytes: &[u8], id: u64) -> u64 {
    let (mut inbox, mut rest) = (callboard::protocol::Inbox::default(), bytes);
    while let Some(frame) = inbox.next(&mut rest, 1 << 21).unwrap() {
        if let Ok(callboard::protocol::Message::Outcome(it)) =
            callboard::protocol::Message::decode(frame)
            && it.id == id
        {
            return it.ext.matched.expect("EMIT's RESULT tells");
        }
    }
    panic!("EMIT was not answered");
}

#[test]
fn the_engine_is_commanded_by_those_who_may_and_told_of_by_those_who_may() {
    const COMMANDS: &[&str] = &["engine::stats", "engine::workers::kick", "engine::drain"];
    let cases: &[Case] = &[
        (&[], &[]),
        (&[""], &[]),
        (&["engine::stats"], &[]),
        (&["engine::"], &["engine::drain"]),
        (&["engine::workers::"], &[]),
    ];
    for &case in cases {
        let mut world = world_with(with_one(Verb::Admin, case));
        let asker = join(&mut world, "x", "x", &nothing());
        for &command in COMMANDS {
            let argument = rmpv::Value::Map(vec![("name".into(), "nobody".into())]);
            let answer = ask(&mut world, asker, command, &argument);
            match answer {
                Ok(answer) => {
                    assert!(expected(case, command), "{case:?} {command}");
                    if command.ends_with("kick") {
                        assert_eq!(answer["kicked"].as_u64(), Some(0));
                    }
                }
                Err(code) => {
                    assert_eq!(code, "forbidden");
                    assert!(!expected(case, command), "{case:?} {command}");
                }
            }
            let asked = world.engine.take_drain();
            assert_eq!(asked, command == "engine::drain" && expected(case, command));
        }
        // What is not there is not there, with rights or without.
        let answer = ask(&mut world, asker, "engine::nonsense", &rmpv::Value::Nil);
        assert_eq!(answer, Err("no_such_function".to_owned()));
    }
}

#[test]
fn who_is_kicked_is_told_so_and_leaves_in_the_same_turn() {
    let mut world = world_with(Rights::everything());
    let watcher = join(&mut world, "god", "w", &all());
    let twins = [(); 2].map(|()| join(&mut world, "x", "twin", &nothing()));
    let other = join(&mut world, "x", "other", &nothing());
    for (link, name) in [(twins[0], "a"), (twins[1], "b"), (other, "c")] {
        world.register(link, &[name]);
    }
    world.turn();
    let kick = |key: &str, value: rmpv::Value| rmpv::Value::Map(vec![(key.into(), value)]);
    let function = "engine::workers::kick";
    let answer = ask(&mut world, watcher, function, &kick("name", "twin".into())).unwrap();
    assert_eq!(answer["kicked"].as_u64(), Some(2));
    for twin in twins {
        let (code, _, retry) = world.reader(twin).goodbye.clone().expect("GOODBYE");
        assert_eq!((&*code, retry), ("kicked", None));
    }
    assert_eq!(names(&world.reader(watcher).view), ["c"]);
    assert_eq!(
        world.reader(watcher).steps.len(),
        2,
        "registered together, gone together"
    );
    let id = world.reader(other).welcome.as_ref().unwrap().worker;
    let answer = ask(&mut world, watcher, function, &kick("worker", id.into())).unwrap();
    assert_eq!(answer["kicked"].as_u64(), Some(1));
    assert!(names(&world.reader(watcher).view).is_empty());
    // Nobody kicks himself, and a question that says nothing is none.
    let answer = ask(&mut world, watcher, function, &kick("name", "w".into())).unwrap();
    assert_eq!(answer["kicked"].as_u64(), Some(0));
    let wrong = ask(&mut world, watcher, function, &kick("nam", "w".into()));
    assert_eq!(wrong, Err("invalid_argument".to_owned()));
}

#[test]
fn a_session_is_its_principals_and_nobody_elses() {
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
fn unknown_wrong_and_missing_tokens_and_other_namespaces_are_one_kind_of_refusal() {
    let mut world = world_with(Rights::everything());
    let refused = |world: &mut World, frame: &[u8]| {
        let link = world.open(Reader::new(nothing()));
        world.say(link, frame);
        world.turn();
        let (code, message, retry) = world.reader(link).goodbye.clone().expect("GOODBYE");
        assert_eq!(code, "unauthorized");
        let retry = retry.expect("it may be mended");
        assert!((5000..=11_000).contains(&retry), "{retry}");
        message
    };
    let unknown = refused(
        &mut world,
        &hello_of("nobody", "w", &nothing(), HelloOptions::default()),
    );
    let wrong = refused(
        &mut world,
        &hello_of("x ", "w", &nothing(), HelloOptions::default()),
    );
    assert_eq!(unknown, wrong);
    let mut elsewhere = Hello {
        versions: vec![1],
        name: Text("w"),
        namespace: Text("elsewhere"),
        ext: HelloOptions {
            token: Some(Text("token of x")),
            ..HelloOptions::default()
        },
    };
    refused(&mut world, &elsewhere.to_frame());
    elsewhere.ext.token = None;
    refused(&mut world, &elsewhere.to_frame());
    let stats = world.engine.stats();
    assert_eq!(stats.failed_logins, 4);
    assert_eq!(stats.closed.get("unauthorized"), Some(&4));
    assert_eq!(stats.namespaces, 0, "who is not let in makes nothing");
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
    // The same file once more concerns nobody.
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
    let functions = Cover::new(&[""], &[]);
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
