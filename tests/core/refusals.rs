//! Refused requests, and the words of their refusal.

use callboard::limits::Limits;
use callboard::protocol::{Bin, Definition, Emit, Register};

use crate::reader::{Reader, View, WatchFilter};
use crate::setup::{code, everything, functions, nothing};
use crate::world::{World, hello, plain};

#[test]
fn a_batch_is_all_or_nothing() {
    let limits = Limits {
        max_functions: 3,
        max_entry: 10,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    let long = "x".repeat(256);
    for (names, want) in [
        (vec!["good", ""], "invalid_name"),
        (vec!["good", "b ad"], "invalid_name"),
        (vec!["good", &long], "invalid_name"),
        (vec!["good", "bäd"], "invalid_name"),
        (vec!["good", "engine::stats"], "reserved_name"),
        (vec!["a", "b", "c", "d"], "too_many_functions"),
    ] {
        let id = world.register(worker, &names);
        world.turn();
        assert_eq!(code(world.ending(worker, id)), want, "{names:?}");
    }
    let large = Definition {
        metadata: Bin(&[0; 11]),
        ..plain("large")
    };
    let id = world.register_definitions(worker, vec![plain("good"), large]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "entry_too_large");
    let message = &world.ending(worker, id).as_ref().unwrap_err().1;
    assert!(
        message.contains("large") && message.contains("--max-entry"),
        "{message}"
    );
    let id = world.unregister(worker, &["good"]);
    world.turn();
    assert_eq!(code(world.ending(worker, id)), "not_registered");
    assert_eq!(world.reader(watcher).change_frames, 0);
}

#[test]
fn a_failed_batch_of_several_frames_is_answered_once_at_its_end() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &functions());
    let id = world.request(worker);
    for (more, name) in [(true, "a"), (true, "not a name"), (true, "b"), (false, "c")] {
        let functions = vec![plain(name)];
        world.say(
            worker,
            &Register {
                id,
                more,
                functions,
                ..Register::default()
            }
            .to_frame(),
        );
        world.turn();
        assert_eq!(world.reader(worker).endings.contains_key(&id), !more);
    }
    assert_eq!(code(world.ending(worker, id)), "invalid_name");
    assert_eq!(world.reader(worker).view, View::default());
}

#[test]
fn exclusive_is_refused_with_the_owner_named() {
    let mut world = World::new(Limits::default());
    let owner = world.join("the-owner", &nothing());
    let other = world.join("other", &nothing());
    let exclusive = |name| Definition {
        exclusive: true,
        ..plain(name)
    };
    world.register_definitions(owner, vec![exclusive("mine"), plain("shared")]);
    world.turn();
    for (name, alone) in [("mine", false), ("mine", true), ("shared", true)] {
        let id = world.register_definitions(
            other,
            vec![Definition {
                exclusive: alone,
                ..plain(name)
            }],
        );
        world.turn();
        let (code, message) = world.ending(other, id).clone().unwrap_err();
        assert_eq!(code, "exclusive");
        assert!(
            message.contains("the-owner") && message.contains(name),
            "{message}"
        );
    }
    // The owner may register it again, and unregister it.
    let again = world.register_definitions(owner, vec![exclusive("mine")]);
    world.turn();
    assert!(world.ending(owner, again).is_ok());
    world.reset(owner);
    let id = world.register_definitions(other, vec![exclusive("mine")]);
    world.turn();
    assert!(world.ending(other, id).is_ok());
}

#[test]
fn a_seed_repeats_a_refusal_word_by_word() {
    // Many names that are refused: which of them is told must not be a matter of the system's chance.
    let names: Vec<String> = (0..40).map(|n| format!("mine::{n}")).collect();
    let refusal = || {
        let mut world = World::seeded(Limits::default(), 11);
        let owner = world.join("the-owner", &nothing());
        let other = world.join("other", &nothing());
        let exclusive = names.iter().map(|name| Definition {
            exclusive: true,
            ..plain(name)
        });
        let exclusive: Vec<_> = exclusive.collect();
        world.register_definitions(owner, exclusive.clone());
        world.turn();
        let id = world.register_definitions(other, exclusive);
        world.turn();
        world.ending(other, id).clone()
    };
    let first = refusal();
    assert_eq!(code(&first), "exclusive");
    for _ in 0..4 {
        assert_eq!(refusal(), first);
    }
}

#[test]
fn a_request_of_an_unknown_kind_gets_a_typed_answer() {
    let mut world = World::new(Limits::default());
    let link = world.join("w", &nothing());
    for kind in [63u8, 200] {
        let unknown = rmp_serde::to_vec(&(kind, 7u8, "whatever")).unwrap();
        let mut frame = (unknown.len() as u32).to_be_bytes().to_vec();
        frame.extend(unknown);
        world.say(link, &frame);
    }
    world.say(link, &Emit::default().to_frame());
    world.turn();
    assert_eq!(code(world.ending(link, 7)), "unsupported");
    assert_eq!(
        world.reader(link).endings.len(),
        1,
        "an event of id 0 is never answered"
    );
    let stats = world.engine.stats();
    assert_eq!(stats.dropped.get("unknown_kind"), Some(&1));
    assert_eq!(stats.refused.get("unsupported"), Some(&1));
}

#[test]
fn too_many_of_anything_is_refused_with_its_flag() {
    let limits = Limits {
        max_connections: 4,
        max_audiences: 2,
        max_namespaces: 1,
        max_workers: 1,
        max_prefixes: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let first = world.join("1", &functions());
    world.join("2", &everything());
    let goodbye = |world: &World, link: usize| world.reader(link).goodbye.clone().unwrap();
    let mut refused = |namespace: &str, filter: WatchFilter, flag: &str| {
        let link = world.open(Reader::new(filter.clone()));
        world.say(link, &hello("x", namespace, &filter, None, None));
        world.turn();
        let (code, message, _) = goodbye(&world, link);
        assert!(message.contains(flag), "{code}: {message}");
        world.eof(link);
        world.turn();
        code
    };
    let third = WatchFilter::new(&["x"], &[]);
    assert_eq!(
        refused("default", third, "--max-audiences"),
        "too_many_audiences"
    );
    assert_eq!(
        refused("more", nothing(), "--max-namespaces"),
        "too_many_namespaces"
    );
    let wide = WatchFilter::new(&["a", "b", "c"], &[]);
    assert_eq!(
        refused("default", wide, "--max-prefixes"),
        "too_many_prefixes"
    );
    let second = world.join("3", &nothing());
    world.register(first, &["a"]);
    world.turn();
    let id = world.register(second, &["b"]);
    world.turn();
    assert_eq!(code(world.ending(second, id)), "too_many_workers");
    world.join("4", &nothing());
    let fifth = world.open(Reader::new(nothing()));
    world.turn();
    let (code, message, retry) = world.reader(fifth).goodbye.clone().unwrap();
    assert_eq!(
        (code.as_str(), retry.is_some()),
        ("too_many_connections", true)
    );
    assert!(message.contains("--max-connections"));
}

#[test]
fn an_idle_namespace_makes_room_for_another_and_default_has_its_own() {
    let mut world = World::new(Limits {
        max_namespaces: 3,
        ..Limits::default()
    });
    let in_namespace = |world: &mut World, namespace: &str| {
        let link = world.open(Reader::new(nothing()));
        world.say(link, &hello("x", namespace, &nothing(), None, None));
        world.turn();
        link
    };
    let first = in_namespace(&mut world, "first");
    let epoch = world.reader(first).welcome.as_ref().unwrap().epoch;
    in_namespace(&mut world, "second");
    world.reset(first);
    world.turn();
    let back = in_namespace(&mut world, "first");
    assert_eq!(
        world.reader(back).welcome.as_ref().unwrap().epoch,
        epoch,
        "it was kept"
    );
    world.reset(back);
    in_namespace(&mut world, "third");
    let anew = in_namespace(&mut world, "first");
    assert_eq!(
        world.reader(anew).goodbye.as_ref().unwrap().0,
        "too_many_namespaces"
    );
    // However many others there are.
    let default = in_namespace(&mut world, "default");
    assert!(world.reader(default).welcome.is_some());
}
