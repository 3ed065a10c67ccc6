//! A ceiling for the memory of the whole engine: near it caches go first, then logs are trimmed, then what would add to
//! the boards is refused, and what is there stays, of any user.

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::{Config, Relief, Stats};
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, BindingEntry, CallOptions, Definition, Hello, HelloOptions, Register, Text, Watch,
};

use crate::calls::{idempotent, invoked, waiting};
use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::rng::{Rng, seeds, watched};
use crate::setup::{code, everything, functions, nothing};
use crate::world::{World, hello, plain};

/// The smallest ceiling there can be, with the smallest frames.
const CEILING: u64 = 16 * FRAME;
const FRAME: u64 = 131_072;

fn small() -> Limits {
    Limits {
        max_memory: CEILING,
        max_frame: FRAME,
        max_payload: FRAME - 2_000,
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    }
}

fn described<'a>(name: &'a str, description: &'a str) -> Definition<'a> {
    Definition {
        description: Text(description),
        ..plain(name)
    }
}

fn times(stats: &Stats, measure: Relief) -> u64 {
    stats.relieved.get(measure.as_str()).copied().unwrap_or(0)
}

/// Registers functions of so many bytes, one in a turn, until one is refused. Returns the names of those that were not.
fn fill(world: &mut World, link: usize, prefix: &str, bytes: usize) -> Vec<String> {
    let description = "x".repeat(bytes);
    let mut names = Vec::new();
    loop {
        let name = format!("{prefix}::{:04}", names.len());
        let request = world.register_definitions(link, vec![described(&name, &description)]);
        world.turn();
        world.turn();
        match world.ending(link, request) {
            Ok(_) => names.push(name),
            Err((code, message)) => {
                assert_eq!(code, "overloaded");
                assert!(message.contains("(--max-memory)"), "{message}");
                return names;
            }
        }
        assert!(names.len() < 10_000, "there is no ceiling");
    }
}

#[test]
fn near_the_ceiling_caches_go_first_then_logs_are_trimmed_then_registrations_are_refused() {
    let mut world = World::new(small());
    let worker = world.join("p", &nothing());
    let description = "x".repeat(4_000);
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut before = world.engine.stats();
    for number in 0..1_000 {
        let name = format!("f::{number:04}");
        world.register_definitions(worker, vec![described(&name, &description)]);
        world.turn();
        // One who joins has the pages encoded.
        let joined = world.join("w", &functions());
        world.reset(joined);
        world.turn();
        let stats = world.engine.stats();
        for measure in stats.relieved.keys() {
            first.entry(measure).or_insert(number);
        }
        if times(&stats, Relief::CachesDropped) == 0 {
            assert!(stats.cache_bytes > 0 && stats.log_bytes >= before.log_bytes);
        }
        if times(&stats, Relief::LogsTrimmed) == 0 {
            assert!(stats.log_bytes >= before.log_bytes, "a log was trimmed");
        }
        if times(&stats, Relief::GrowthRefused) > 0 {
            // Nothing is left to be freed, but for what logs may always keep.
            assert!(before.log_bytes < CEILING / 16, "{before:?}");
            break;
        }
        before = stats;
    }
    let of = |measure: Relief| first.get(measure.as_str()).copied();
    assert!(of(Relief::CachesDropped) < of(Relief::LogsTrimmed));
    assert!(of(Relief::LogsTrimmed) < of(Relief::GrowthRefused));
    assert!(of(Relief::CachesDropped).is_some(), "{first:?}");
}

#[test]
fn a_refusal_comes_only_when_caches_and_logs_are_gone() {
    let mut world = World::new(small());
    let worker = world.join("p", &nothing());
    // Less than a third of the room, so that it is nearly full with logs and pages.
    let description = "x".repeat(30_000);
    for number in 0..12 {
        let name = format!("f::{number:04}");
        world.register_definitions(worker, vec![described(&name, &description)]);
        world.turn();
    }
    let joined = world.join("w", &functions());
    world.reset(joined);
    world.turn();
    let stats = world.engine.stats();
    assert!(stats.cache_bytes > 300_000 && stats.log_bytes > 300_000);
    assert!(stats.relieved.is_empty(), "{stats:?}");
    // Too much beside the caches, and room enough without them.
    let register = |world: &mut World, names: [&str; 3]| {
        let large = names.map(|name| described(name, &description));
        let request = world.register_definitions(worker, large.to_vec());
        world.turn();
        world.turn();
        assert!(world.ending(worker, request).is_ok());
        let stats = world.engine.stats();
        let measures = [Relief::CachesDropped, Relief::LogsTrimmed];
        measures.map(|measure| times(&stats, measure))
    };
    assert_eq!(register(&mut world, ["g::1", "g::2", "g::3"]), [1, 0]);
    // Too much beside the log, and room enough without it.
    register(&mut world, ["h::1", "h::2", "h::3"]);
    register(&mut world, ["i::1", "i::2", "i::3"]);
    let [_, trimmed] = register(&mut world, ["j::1", "j::2", "j::3"]);
    assert!(trimmed > 0);
    let stats = world.engine.stats();
    assert_eq!(times(&stats, Relief::GrowthRefused), 0);
}

#[test]
fn a_full_engine_takes_nothing_from_others_and_goes_on_with_all_that_is_there() {
    let mut world = World::new(small());
    let provider = world.provider(&["by::f", "by::g"], 10);
    let caller = world.join("c", &nothing());
    let watcher = world.join("w", &everything());
    let bound = BindingEntry {
        event: Text("e"),
        function: Text("by::f"),
        ..BindingEntry::default()
    };
    world.bind(provider, vec![bound]);
    world.turn();
    let flooder = world.join("x", &nothing());
    let names = fill(&mut world, flooder, "x", 10_000);
    assert!(names.len() > 50);
    // Small ones, until there is no room for any.
    let more = fill(&mut world, flooder, "y", 0);
    let stats = world.engine.stats();
    assert_eq!(stats.limited.get("max-memory"), Some(&2));
    assert_eq!(stats.functions as usize, 2 + names.len() + more.len());
    assert_eq!(stats.bindings, 1);
    for link in [provider, caller, watcher, flooder] {
        assert_eq!(world.goodbye(link), None);
    }
    // Who watches has seen all of it.
    world.settle();
    let view = &world.reader(watcher).view.functions;
    assert_eq!(view.len(), 2 + names.len() + more.len());
    assert!(view.contains_key("by::f"));
    // Calls are made, also those that keep arguments.
    let calls = [CallOptions::default(), idempotent()];
    let calls = calls.map(|options| world.call(caller, "by::f", b"question", options));
    let parked = world.call(caller, "absent::f", b"question", waiting());
    world.turn();
    for asked in invoked(&world, provider) {
        world.answer(provider, asked, b"answer");
    }
    world.turn();
    let answer = CallEnding::Result(b"answer".to_vec());
    for call in calls {
        assert_eq!(world.call_ending(caller, call), Some(&answer));
    }
    assert_eq!(world.call_ending(caller, parked), None);
    // New names are refused to everybody, functions and bindings; what is there may be said again and shrink.
    let refused = world.register_definitions(provider, vec![described("by::h", "new")]);
    let function = "f".repeat(200);
    let bound = BindingEntry {
        event: Text("e"),
        function: Text(&function),
        ..BindingEntry::default()
    };
    let unbound = world.bind(provider, vec![bound]);
    let again = world.register(provider, &["by::f", "by::g"]);
    world.turn();
    world.turn();
    assert_eq!(code(world.ending(provider, refused)), "overloaded");
    assert_eq!(code(world.ending(provider, unbound)), "overloaded");
    assert!(world.ending(provider, again).is_ok());
    let smaller = world.register(flooder, &[&names[0]]);
    world.turn();
    world.turn();
    assert!(world.ending(flooder, smaller).is_ok());
    // What it gave back is there for others.
    let accepted = world.register_definitions(provider, vec![described("by::h", "new")]);
    world.turn();
    world.turn();
    assert!(world.ending(provider, accepted).is_ok());
    // With the flood gone, all is as before.
    world.reset(flooder);
    world.settle();
    assert_eq!(world.reader(watcher).view.functions.len(), 3);
    let room = world.register_definitions(provider, vec![described("by::i", &"x".repeat(30_000))]);
    world.turn();
    world.turn();
    assert!(world.ending(provider, room).is_ok());
}

#[test]
fn a_watcher_whose_place_in_the_log_was_trimmed_gets_a_snapshot() {
    let mut world = World::new(small());
    let worker = world.join("p", &nothing());
    let watcher = world.join("w", &functions());
    world.links[watcher].capacity = 0;
    let names = fill(&mut world, worker, "f", 10_000);
    assert!(times(&world.engine.stats(), Relief::LogsTrimmed) > 0);
    world.settle();
    assert_eq!(world.reader(watcher).view.functions.len(), names.len());
    assert_eq!(world.engine.stats().resyncs.get("log_trimmed"), Some(&1));
}

#[test]
fn frames_are_cached_only_as_long_as_any_are_to_be_written() {
    let mut world = World::new(Limits::default());
    let source = world.join("s", &nothing());
    world.join("watcher", &everything());
    world.settle();
    let empty = world.engine.stats().cache_bytes;
    let long = "d".repeat(10_000);
    for round in 0..3 {
        let name = format!("f{round}");
        world.register_definitions(source, vec![described(&name, &long)]);
        world.turn();
        assert!(world.engine.stats().cache_bytes > empty + 10_000);
        world.turn();
        assert_eq!(world.engine.stats().cache_bytes, empty);
    }
}

#[test]
fn whoever_keeps_up_is_told_changes_however_full_the_engine_is() {
    let mut world = World::new(small());
    let worker = world.join("p", &nothing());
    let watcher = world.join("w", &functions());
    let large = fill(&mut world, worker, "f", 30_000);
    fill(&mut world, worker, "g", 500);
    // Steps larger than what all logs may keep, in an engine without room for a log: only what that is takes a little.
    world.unregister(worker, &[&large[4]]);
    let description = "x".repeat(30_000);
    let names: Vec<&str> = large[..4].iter().map(|name| &**name).collect();
    for _ in 0..5 {
        world.unregister(worker, &names);
        world.turn();
        let all = names.iter().map(|name| described(name, &description));
        let request = world.register_definitions(worker, all.collect());
        world.turn();
        world.turn();
        assert!(world.ending(worker, request).is_ok());
    }
    assert!(times(&world.engine.stats(), Relief::LogsTrimmed) > 5);
    assert_eq!(world.reader(watcher).resyncs, ["joined"]);
    assert!(world.reader(watcher).view.functions.contains_key(names[0]));
}

/// A HELLO with much to say about itself.
fn talkative(world: &mut World, namespace: &str, session: Option<&[u8]>) -> usize {
    let link = world.open(Reader::new(nothing()));
    let frame = Hello {
        versions: vec![1],
        name: Text("t"),
        namespace: Text(namespace),
        ext: HelloOptions {
            watch: Some(Watch::default()),
            metadata: Bin(&[7; 4_000]),
            session: session.map(Bin),
            ..HelloOptions::default()
        },
    };
    world.say(link, &frame.to_frame());
    world.turn();
    link
}

#[test]
fn without_memory_for_newcomers_those_who_are_here_may_still_come_back() {
    let mut world = World::new(small());
    let provider = world.provider(&["by::f"], 10);
    let flooder = world.join("x", &nothing());
    fill(&mut world, flooder, "x", 1_000);
    let mut joined = 0;
    let refused = loop {
        let link = talkative(&mut world, "default", None);
        if world.goodbye(link).is_some() {
            break link;
        }
        joined += 1;
        assert!(joined < 1_000, "there is no ceiling");
    };
    // Registrations leave room for those who only connect.
    assert!(joined > 10, "{joined}");
    let (code, message, _) = world.reader(refused).goodbye.clone().unwrap();
    assert_eq!(code, "too_many_connections");
    assert!(message.contains("(--max-memory)"), "{message}");
    assert_eq!(times(&world.engine.stats(), Relief::ConnectionRefused), 1);
    let session = world.session(provider);
    let newer = talkative(&mut world, "default", Some(&session));
    assert!(world.reader(newer).welcome.clone().unwrap().taken_over);
    let again = world.register(newer, &["by::f"]);
    world.turn();
    world.turn();
    assert!(world.ending(newer, again).is_ok());
}

#[test]
fn namespaces_that_nobody_uses_make_room() {
    let mut world = World::new(small());
    let mut left = Vec::new();
    for namespace in ["a", "b", "c"] {
        let link = world.open(Reader::new(nothing()));
        world.say(link, &hello("p", namespace, &nothing(), None, None));
        world.turn();
        let description = "x".repeat(20_000);
        for number in 0..10 {
            let name = format!("f::{number}");
            world.register_definitions(link, vec![described(&name, &description)]);
            world.turn();
        }
        world.reset(link);
        world.turn();
        left.push(world.engine.stats().log_bytes);
    }
    assert!(left.is_sorted() && left[2] > 500_000, "{left:?}");
    let worker = world.join("p", &nothing());
    fill(&mut world, worker, "f", 10_000);
    let stats = world.engine.stats();
    assert_eq!(stats.namespaces, 1);
    assert!(times(&stats, Relief::LogsTrimmed) > 0);
}

#[test]
fn a_ceiling_lowers_the_limits_of_what_passes_so_that_all_of_it_fits() {
    let mut world = World::new(small());
    let caller = world.join("c", &nothing());
    // A thirty-second of the ceiling for one user.
    let payload = vec![7; 30_000];
    let calls: Vec<u64> = (0..3)
        .map(|_| world.call(caller, "absent", &payload, waiting()))
        .collect();
    world.turn();
    let endings = calls.iter().map(|call| world.call_ending(caller, *call));
    assert_eq!(endings.filter(Option::is_none).count(), 2);
    let failure = world.call_failure(caller, calls[2]);
    assert_eq!(failure.code, "overloaded");
    assert!(failure.message.contains("--max-retained"), "{failure:?}");
    assert!(world.engine.stats().retained_bytes <= CEILING / 32);
}

/// The documented slack: one eighth of the ceiling, for the steps of a turn.
const SLACK: u64 = CEILING / 8;

/// A worker of the seeded run, and what the engine has acknowledged of it.
struct Actor {
    link: usize,
    has: BTreeSet<String>,
    asked: Vec<(u64, Vec<String>, bool)>,
}

impl Actor {
    /// Notes what came of its requests.
    fn note(&mut self, world: &World) {
        let endings = &world.reader(self.link).endings;
        self.asked.retain(|(request, names, adds)| {
            let Some(ending) = endings.get(request) else {
                return true;
            };
            match (ending, adds) {
                (Ok(_), true) => self.has.extend(names.iter().cloned()),
                (Ok(_), false) => names.iter().for_each(|name| {
                    self.has.remove(name);
                }),
                (Err((code, message)), _) => {
                    assert_eq!(code, "overloaded", "{message}");
                }
            }
            false
        });
    }
}

fn act(world: &mut World, rng: &mut Rng, actor: &mut Actor, number: usize) {
    let link = actor.link;
    let size = [0, 100, 3_000, 30_000][rng.below(4)];
    let description = "x".repeat(size);
    let name = |rng: &mut Rng| format!("w{number}::{}", rng.below(60));
    match rng.below(12) {
        0..=3 => {
            let names = vec![name(rng)];
            let all = vec![described(&names[0], &description)];
            let request = world.register_definitions(link, all);
            actor.asked.push((request, names, true));
        }
        4 => {
            // A batch in two frames.
            let request = world.request(link);
            let names = vec![name(rng), format!("w{number}::last")];
            for (more, name) in [(true, &names[0]), (false, &names[1])] {
                let register = Register {
                    id: request,
                    more,
                    functions: vec![described(name, &description)],
                    ..Register::default()
                };
                world.say(link, &register.to_frame());
            }
            actor.asked.push((request, names, true));
        }
        5 => {
            let Some(name) = actor.has.iter().next().cloned() else {
                return;
            };
            if actor.asked.is_empty() {
                let request = world.unregister(link, &[&name]);
                actor.asked.push((request, vec![name], false));
            }
        }
        6 => {
            let function = name(rng);
            let bound = BindingEntry {
                event: Text("e"),
                function: Text(&function),
                config: Bin(&description.as_bytes()[..size.min(3_000)]),
                ..BindingEntry::default()
            };
            world.bind(link, vec![bound]);
        }
        7 => {
            let options = [idempotent(), waiting()][rng.below(2)].clone();
            let of = rng.below(4);
            let name = format!("w{of}::{}", rng.below(60));
            world.call(link, &name, description.as_bytes(), options);
        }
        8 => {
            // A beginning of a frame that takes its time.
            let mut begun = 100_000u32.to_be_bytes().to_vec();
            begun.resize(50_000, 0x91);
            let stranger = world.open(Reader::new(nothing()));
            world.say(stranger, &begun[..4_000]);
        }
        9 => {
            let prefix = format!("w{}", rng.below(100));
            let filter = WatchFilter::new(&[&prefix], &[]);
            let joined = world.open(Reader::new(filter.clone()));
            let namespace = ["default", "other"][rng.below(2)];
            world.say(joined, &hello("w", namespace, &filter, None, None));
            if rng.one_in(2) {
                world.links[joined].capacity = 1_000;
            }
        }
        10 => {
            for invoke in invoked(world, link).into_iter().take(1) {
                if rng.one_in(2) {
                    world.answer(link, invoke, description.as_bytes());
                }
            }
        }
        _ => {
            for _ in 0..rng.below(16) {
                talkative(world, "default", None);
            }
        }
    }
}

#[test]
fn whatever_happens_the_ceiling_holds_and_nobody_loses_what_the_engine_took() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut most = 0;
    for seed in watched(
        "whatever_happens_the_ceiling_holds_and_nobody_loses_what_the_engine_took",
        seeds(0..12),
    ) {
        let mut rng = Rng::new(seed);
        let mut world = World::with_turns(small(), seed, Config::TURN_WORK);
        let watcher = world.join("w", &functions());
        let mut actors: Vec<Actor> = (0..4)
            .map(|_| Actor {
                link: world.join("p", &nothing()),
                has: BTreeSet::new(),
                asked: Vec::new(),
            })
            .collect();
        for _ in 0..300 {
            for _ in 0..rng.below(4) {
                let number = rng.below(actors.len());
                act(&mut world, &mut rng, &mut actors[number], number);
            }
            if rng.one_in(40) {
                world.links[watcher].capacity = [0, 5_000, usize::MAX][rng.below(3)];
            }
            world.turn();
            world.engine.check_books(world.now);
            world.wait(rng.below(50) as u64);
            let stats = world.engine.stats();
            most = most.max(stats.memory_bytes);
            assert!(stats.memory_bytes <= CEILING + SLACK, "{seed}: {stats:?}");
        }
        world.settle();
        for (measure, times) in world.engine.stats().relieved {
            *seen.entry(measure).or_default() += times;
        }
        for actor in &mut actors {
            actor.note(&world);
            assert_eq!(world.goodbye(actor.link), None, "{seed}");
            assert!(actor.asked.is_empty(), "{seed}");
        }
        let wanted: BTreeSet<&String> = actors.iter().flat_map(|it| &it.has).collect();
        // One that read nothing may have been closed, and may not have read why.
        if world.links[watcher].open && world.goodbye(watcher).is_none() {
            let view: BTreeSet<&String> = world.reader(watcher).view.functions.keys().collect();
            assert_eq!(view, wanted, "{seed}");
        }
        assert_eq!(world.engine.stats().functions as usize, wanted.len());
    }
    println!("{most} of {CEILING} bytes at the most; {seen:?}");
    for measure in Relief::ALL {
        assert!(seen.contains_key(measure.as_str()), "{seen:?}");
    }
}
