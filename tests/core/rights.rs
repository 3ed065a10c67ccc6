//! Rights, verb by verb: what is allowed works, what is not is `forbidden` whether it exists or not, and what may not
//! be observed appears nowhere.

use std::collections::BTreeSet;

use callboard::engine::{Credentials, Principal, Rights, Rules, TokenHash, Verb};
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, BindingEntry, CallOptions, Cast, CastOptions, Definition, Emit, EmitOptions, Hello,
    HelloOptions, Inbox, Message, Text, Watch,
};

use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::setup::{code, names};
use crate::turn::Budgets;
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
        weight: 1,
        tier: 0,
        rights,
    }
}

pub(crate) fn with_one(verb: Verb, (allow, deny): Case) -> Rights {
    let rules = Rules::new(allow.iter().copied(), deny.iter().copied());
    Rights::everything().with(verb, rules)
}

pub(crate) fn admit(world: &mut World, principals: Vec<Principal>) {
    let now = world.now;
    let credentials = Credentials::new(principals);
    world.engine.handle_credentials(&credentials, now);
}

/// An engine with `god`, who may do everything, and `x` with these rights.
pub(crate) fn world_with(rights: Rights) -> World {
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
    filter: &WatchFilter,
    ext: HelloOptions<'_>,
) -> Vec<u8> {
    let texts = |list: &'_ [String]| -> Option<Vec<Text<'static>>> {
        let leaked = |it: &String| Text(Box::leak(it.clone().into_boxed_str()));
        (!list.is_empty()).then(|| list.iter().map(leaked).collect())
    };
    let token = format!("token of {principal}");
    let bindings = (!filter.is_nothing()).then(|| vec![Text("")]);
    Hello {
        versions: vec![1],
        name: Text(worker),
        namespace: Text(""),
        ext: HelloOptions {
            watch: Some(Watch {
                functions: texts(&filter.functions),
                workers: texts(&filter.workers),
                bindings,
            }),
            token: Some(Text(&token)),
            ..ext
        },
    }
    .to_frame()
}

/// Joins as a worker of a principal; with its turn.
pub(crate) fn join(world: &mut World, principal: &str, name: &str, filter: &WatchFilter) -> usize {
    let link = world.open(Reader::new(filter.clone()));
    world.say(
        link,
        &hello_of(principal, name, filter, HelloOptions::default()),
    );
    world.turn();
    link
}

pub(crate) fn nothing() -> WatchFilter {
    WatchFilter::new(&[], &[])
}

pub(crate) fn all() -> WatchFilter {
    WatchFilter::new(&[""], &[""])
}

pub(crate) fn bind(world: &mut World, link: usize, event: &str, function: &str) -> u64 {
    let binding = BindingEntry {
        event: Text(event),
        function: Text(function),
        ..BindingEntry::default()
    };
    world.bind(link, vec![binding])
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

pub(crate) fn listed(world: &mut World, link: usize, list: &str, key: &str) -> Vec<String> {
    let page = ask(world, link, list, &rmpv::Value::Nil).unwrap();
    let entries = page["entries"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| entry[key].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn registering_needs_the_right_for_each_name_and_is_refused_in_the_same_words_whatever_there_is() {
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Register, case));
        let god = join(&mut world, "god", "god", &nothing());
        let worker = join(&mut world, "x", "x", &nothing());
        for &name in NAMES {
            // Without a provider, with a shared one, with an exclusive one.
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
fn calling_or_casting_needs_the_right_and_is_refused_in_the_same_words_whatever_there_is() {
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
fn emitting_needs_the_right_for_the_event_and_binding_for_event_and_function() {
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
        // A worker that may register but not see it learns that it is taken, and not by which worker.
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

#[test]
fn a_cast_names_its_event_to_providers_that_may_observe_it() {
    for &case in CASES {
        let mut world = world_with(with_one(Verb::Observe, case));
        let god = join(&mut world, "god", "g", &nothing());
        let provider = join(&mut world, "x", "p", &nothing());
        world.register(provider, &["own"]);
        for &event in NAMES {
            bind(&mut world, god, event, "own");
            world.turn();
            emit(&mut world, god, 0, event);
            let bytes = raw_turn(&mut world, provider);
            let (mut inbox, mut rest) = (Inbox::default(), &bytes[..]);
            let frame = inbox.next(&mut rest, 1 << 21).unwrap().expect("the CAST");
            let Ok(Message::Cast(cast)) = Message::decode(frame) else {
                panic!("{case:?} {event}: no CAST")
            };
            let told = if expected(case, event) { event } else { "" };
            assert_eq!((cast.ext.event.0, cast.ext.caller_name.0), (told, "g"));
        }
    }
}

#[test]
fn watchers_with_the_same_filter_and_rights_share_one_encoding() {
    let observe = |allow: &[&'static str]| {
        let rules = Rules::new(allow.iter().copied(), []);
        Rights::everything().with(Verb::Observe, rules)
    };
    let mut world = World::new(Limits::default());
    let principals = vec![
        principal("god", Rights::everything()),
        principal("one", observe(&["seen::"])),
        principal("two", observe(&["seen::", "more::"])),
    ];
    admit(&mut world, principals);
    let god = join(&mut world, "god", "g", &nothing());
    for who in ["one", "two", "one"] {
        let link = world.open(Reader::new(WatchFilter::new(&["seen::f"], &[])));
        let filter = WatchFilter::new(&["seen::f"], &[]);
        let frame = hello_of(who, who, &filter, HelloOptions::default());
        // Without a word about bindings.
        let message = Message::decode(&frame[4..]).unwrap();
        let Message::Hello(mut hello) = message else {
            unreachable!()
        };
        hello.ext.watch.as_mut().unwrap().bindings = None;
        world.say(link, &hello.to_frame());
    }
    world.turn();
    assert_eq!(world.engine.stats().audiences, 1);
    let before = world.engine.stats().encodings;
    world.register(god, &["seen::f", "more::f"]);
    world.turn();
    assert_eq!(world.engine.stats().encodings, before + 1);
}

/// A turn whose bytes to `link` are returned instead of read.
pub(crate) fn raw_turn(world: &mut World, link: usize) -> Vec<u8> {
    for link in 0..world.links.len() {
        world.arrive(link, usize::MAX);
    }
    world.finish_turn(Budgets::ALL);
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
    let (mut inbox, mut rest) = (Inbox::default(), bytes);
    while let Some(frame) = inbox.next(&mut rest, 1 << 21).unwrap() {
        if let Ok(Message::Outcome(it)) = Message::decode(frame)
            && it.id == id
        {
            return it.ext.matched.expect("EMIT's RESULT tells");
        }
    }
    panic!("EMIT was not answered");
}

#[test]
fn commanding_the_engine_and_reading_its_state_need_the_right() {
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
            let drains = std::mem::take(&mut world.drain_asked);
            assert_eq!(
                drains,
                command == "engine::drain" && expected(case, command)
            );
        }
        // An absent function is `no_such_function`, with rights or without.
        let answer = ask(&mut world, asker, "engine::nonsense", &rmpv::Value::Nil);
        assert_eq!(answer, Err("no_such_function".to_owned()));
    }
}

#[test]
fn a_kicked_worker_is_told_so_and_leaves_in_the_same_turn() {
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
    // A worker cannot kick itself, and an empty question is refused.
    let answer = ask(&mut world, watcher, function, &kick("name", "w".into())).unwrap();
    assert_eq!(answer["kicked"].as_u64(), Some(0));
    let wrong = ask(&mut world, watcher, function, &kick("nam", "w".into()));
    assert_eq!(wrong, Err("invalid_argument".to_owned()));
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
