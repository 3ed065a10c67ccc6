//! Departures: which worker left, when, why, after how long and with what; as far as the asker may observe.

use callboard::engine::Verb;
use callboard::limits::Limits;
use callboard::protocol::{BindingEntry, Drain, Goodbye, Text};

use crate::reader::Reader;
use crate::rights::{self, admit, ask, principal, with_one};
use crate::sessions::claim;
use crate::setup::{many, nothing, register_all};
use crate::world::World;

/// A page of departures, as the engine tells it.
fn page(world: &mut World, asker: usize, arguments: Vec<(&str, rmpv::Value)>) -> rmpv::Value {
    let arguments = arguments
        .into_iter()
        .map(|(key, value)| (key.into(), value));
    let arguments = rmpv::Value::Map(arguments.collect());
    ask(world, asker, "engine::workers::departures", &arguments).unwrap()
}

/// The names of those who left, the last one first.
pub(crate) fn departures(world: &mut World, asker: usize) -> Vec<String> {
    told(world, asker).into_iter().map(|row| row.0).collect()
}

/// Name, code, functions and bindings of each, the last one first.
fn told(world: &mut World, asker: usize) -> Vec<(String, String, u64, u64)> {
    let page = page(world, asker, Vec::new());
    let rows = page["entries"].as_array().unwrap();
    let row = |it: &rmpv::Value| {
        (
            it["name"].as_str().unwrap().to_owned(),
            it["code"].as_str().unwrap().to_owned(),
            it["functions"].as_u64().unwrap(),
            it["bindings"].as_u64().unwrap(),
        )
    };
    rows.iter().map(row).collect()
}

fn provider(world: &mut World, name: &str, functions: &[&str]) -> usize {
    let link = world.join(name, &nothing());
    world.register(link, functions);
    world.turn();
    link
}

#[test]
fn each_worker_that_had_something_is_told_with_the_reason_and_the_last_one_first() {
    let mut world = World::new(Limits::default());
    let asker = world.join("asker", &nothing());
    let eof = provider(&mut world, "eof", &["a", "b"]);
    let reset = provider(&mut world, "reset", &["a"]);
    let bye = provider(&mut world, "bye", &["a"]);
    let drain = provider(&mut world, "drain", &["a", "b", "c"]);
    let wrong = provider(&mut world, "wrong", &["a"]);
    let binder = world.join("binder", &nothing());
    let binding = BindingEntry {
        event: Text("e"),
        function: Text("a"),
        ..BindingEntry::default()
    };
    world.bind(binder, vec![binding]);
    // Those who provide nothing, or nothing any more, and one that is taken over, do not count.
    let spectator = world.join("spectator", &nothing());
    let former = provider(&mut world, "former", &["a"]);
    world.unregister(former, &["a"]);
    let older = provider(&mut world, "older", &["a"]);
    let newer = world.open(Reader::new(nothing()));
    claim(&mut world, newer, older);
    world.settle();
    assert!(told(&mut world, asker).is_empty());

    world.eof(eof);
    world.turn();
    world.reset(reset);
    world.turn();
    world.say(bye, &Goodbye::default().to_frame());
    world.turn();
    world.say(drain, &Drain::default().to_frame());
    world.turn();
    world.reset(drain);
    world.say(wrong, &[1]);
    world.turn();
    for link in [binder, spectator, former] {
        world.reset(link);
        world.turn();
    }
    let expected = [
        ("binder", "reset", 0, 1),
        ("wrong", "protocol_error", 1, 0),
        ("drain", "drain", 3, 0),
        ("bye", "bye", 1, 0),
        ("reset", "reset", 1, 0),
        ("eof", "eof", 2, 0),
    ];
    let expected = expected.map(|(name, code, functions, bindings)| {
        (name.to_owned(), code.to_owned(), functions, bindings)
    });
    assert_eq!(told(&mut world, asker), expected);
}

#[test]
fn a_departure_says_how_long_ago_after_how_long_and_the_first_of_many_functions() {
    let mut world = World::new(Limits::default());
    let asker = world.join("asker", &nothing());
    let older = world.join("w", &nothing());
    world.wait(3_000);
    let newer = world.open(Reader::new(nothing()));
    claim(&mut world, newer, older);
    register_all(&mut world, newer, &many(40));
    world.turn();
    world.wait(4_000);
    world.reset(newer);
    world.turn();
    world.wait(1_500);
    let page = page(&mut world, asker, Vec::new());
    let row = &page["entries"][0];
    assert_eq!(row["ago_ms"].as_u64(), Some(1_500));
    assert_eq!(
        row["stayed_ms"].as_u64(),
        Some(7_000),
        "over both connections"
    );
    assert_eq!(row["functions"].as_u64(), Some(40));
    let first: Vec<&str> = row["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(first, many(40)[..16]);
    assert!(!row["peer"].as_str().unwrap().is_empty());
    assert!(row["worker"].is_u64());
}

#[test]
fn pages_go_back_in_time_and_the_oldest_are_forgotten() {
    let limits = Limits {
        max_departures: 5,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let asker = world.join("asker", &nothing());
    for number in 0..8 {
        let link = provider(&mut world, &format!("w{number}"), &["f"]);
        world.reset(link);
        world.turn();
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let mut arguments = vec![("limit", 2.into())];
        arguments.extend(after.take().map(|after: String| ("after", after.into())));
        let page = page(&mut world, asker, arguments);
        let rows = page["entries"].as_array().unwrap();
        names.extend(
            rows.iter()
                .map(|row| row["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
        // One more leaves meanwhile: what is still to come does not change, but for the oldest.
        let link = provider(&mut world, "late", &["f"]);
        world.reset(link);
        world.turn();
    }
    assert_eq!(names, ["w7", "w6", "w5", "w4"]);
    let arguments = vec![("prefix", "late".into())];
    let late = page(&mut world, asker, arguments);
    assert_eq!(late["entries"].as_array().unwrap().len(), 1);
    let wrong = rmpv::Value::Map(vec![("after".into(), "w7".into())]);
    let refused = ask(&mut world, asker, "engine::workers::departures", &wrong);
    assert_eq!(refused.unwrap_err(), "invalid_argument");
}

#[test]
fn who_may_observe_a_part_is_told_of_that_part_only() {
    let mut world = World::new(Limits::default());
    let rights = with_one(Verb::Observe, (&["seen::"], &[]));
    admit(
        &mut world,
        vec![
            principal("god", callboard::engine::Rights::everything()),
            principal("x", rights),
        ],
    );
    let god = rights::join(&mut world, "god", "g", &nothing());
    let asker = rights::join(&mut world, "x", "x", &nothing());
    for (name, functions) in [
        ("mixed", &["seen::f", "hidden::f"][..]),
        ("hidden", &["hidden::g"]),
    ] {
        let link = rights::join(&mut world, "god", name, &nothing());
        world.register(link, functions);
        rights::bind(&mut world, link, "seen::e", "seen::f");
        world.turn();
        world.reset(link);
        world.turn();
    }
    let all = told(&mut world, god);
    assert_eq!(all.len(), 2);
    assert_eq!((all[1].2, all[1].3), (2, 1));
    let part = told(&mut world, asker);
    assert_eq!(part, [("mixed".to_owned(), "reset".to_owned(), 1, 0)]);
    let page = page(&mut world, asker, Vec::new());
    let first = page["entries"][0]["first"].as_array().unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].as_str(), Some("seen::f"));
}

#[test]
fn a_namespace_tells_of_its_own_only() {
    let mut world = World::new(Limits::default());
    let other = world.open(Reader::new(nothing()));
    world.say(
        other,
        &crate::world::hello("o", "other", &nothing(), None, None),
    );
    world.turn();
    let link = provider(&mut world, "w", &["f"]);
    world.reset(link);
    world.turn();
    assert!(told(&mut world, other).is_empty());
}
