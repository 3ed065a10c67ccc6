//! Several of a kind: what holds for the first, the last or the only one holds for each.

use callboard::engine::{Principal, Rights};
use callboard::limits::Limits;
use callboard::protocol::{BindingEntry, BindingKey, CallOptions, Text, Unbind};

use crate::calls::{failed, invoked, waiting};
use crate::rights::{admit, all, ask, emit, join, nothing, principal};
use crate::setup::{code, everything, names};
use crate::turn::Budgets;
use crate::world::{World, hello};

fn worker_id(world: &World, link: usize) -> u64 {
    world.reader(link).welcome.as_ref().unwrap().worker
}

/// A binding of `f` to the event `e`.
fn binding(id: &str, deliver_all: bool) -> BindingEntry<'_> {
    BindingEntry {
        event: Text("e"),
        function: Text("f"),
        id: Text(id),
        deliver_all,
        ..BindingEntry::default()
    }
}

#[test]
fn an_event_goes_to_all_providers_if_one_of_several_bindings_wants_that() {
    for wishes in 0..8 {
        let mut world = World::new(Limits::default());
        for _ in 0..3 {
            world.provider(&["f"], 10);
        }
        let source = world.join("s", &nothing());
        let bindings = ["a", "b", "c"].into_iter().enumerate();
        let bindings = bindings.map(|(bit, id)| binding(id, wishes >> bit & 1 == 1));
        world.bind(source, bindings.collect());
        world.turn();
        emit(&mut world, source, 0, "e");
        world.turn();
        let casts = if wishes == 0 { 1 } else { 3 };
        assert_eq!(world.engine.stats().casts, casts, "{wishes:03b}");
    }
}

#[test]
fn an_event_for_all_reaches_all_that_read_whichever_does_not() {
    for deaf in 0..3 {
        let mut world = World::new(Limits {
            max_outbound: 1000,
            ..Limits::default()
        });
        let providers = [(); 3].map(|()| world.provider(&["f"], 10));
        let source = world.join("s", &nothing());
        world.bind(source, vec![binding("", true)]);
        world.turn();
        // One of them reads nothing, and is owed more than it may be.
        world.links[providers[deaf]].capacity = 0;
        let pinned = CallOptions {
            worker: Some(worker_id(&world, providers[deaf])),
            ..CallOptions::default()
        };
        world.call(source, "f", &[0; 2000], pinned);
        world.turn();
        emit(&mut world, source, 0, "e");
        world.turn();
        let stats = world.engine.stats();
        assert_eq!((stats.casts, stats.dropped["event_full"]), (2, 1), "{deaf}");
    }
}

#[test]
fn a_kick_ends_workers_of_its_own_namespace_alone() {
    let mut world = World::new(Limits::default());
    let elsewhere = Principal {
        namespace: "elsewhere".to_owned(),
        ..principal("stranger", Rights::everything())
    };
    admit(
        &mut world,
        vec![principal("god", Rights::everything()), elsewhere],
    );
    let admin = join(&mut world, "god", "admin", &nothing());
    let twins = ["god", "stranger", "god"].map(|it| join(&mut world, it, "twin", &nothing()));
    let kick = |key: &str, value: rmpv::Value| rmpv::Value::Map(vec![(key.into(), value)]);
    let function = "engine::workers::kick";
    let foreign = worker_id(&world, twins[1]);
    let arguments = [
        (kick("worker", foreign.into()), 0),
        (kick("name", "twin".into()), 2),
    ];
    for (argument, count) in arguments {
        let answer = ask(&mut world, admin, function, &argument).unwrap();
        assert_eq!(answer["kicked"].as_u64(), Some(count), "{argument}");
    }
    let told = twins.map(|it| world.goodbye(it).map(str::to_owned));
    let kicked = Some("kicked".to_owned());
    assert_eq!(told, [kicked.clone(), None, kicked]);
}

#[test]
fn what_waits_is_served_by_whichever_provider_has_room_first() {
    for first in 0..3 {
        let mut world = World::new(Limits::default());
        let providers = [(); 3].map(|()| world.provider(&["f"], 1));
        let caller = world.join("c", &nothing());
        for _ in 0..3 {
            world.call(caller, "f", b"", CallOptions::default());
        }
        world.turn();
        let waits = world.call(caller, "f", b"waits", waiting());
        world.turn();
        let running = invoked(&world, providers[first])[0];
        world.answer(providers[first], running, b"");
        world.turn();
        let last = world.reader(providers[first]).invocations().last().unwrap();
        assert_eq!(last.payload, b"waits", "{first}");
        assert_eq!(world.call_ending(caller, waits), None);
    }
}

#[test]
fn a_batch_with_one_unknown_name_takes_nothing_off_wherever_it_stands() {
    for unknown in 0..3 {
        let mut world = World::new(Limits::default());
        let watcher = world.join("w", &everything());
        let worker = world.join("p", &nothing());
        world.register(worker, &["a", "b", "c"]);
        world.bind(worker, ["a", "b", "c"].map(|id| binding(id, false)).into());
        world.turn();
        let mut batch = ["a", "b", "c"];
        batch[unknown] = "never registered";
        let functions = world.unregister(worker, &batch);
        let id = world.request(worker);
        let bindings = batch.map(|id| BindingKey {
            event: Text("e"),
            function: Text("f"),
            id: Text(id),
        });
        let unbind = Unbind {
            id,
            bindings: bindings.into(),
            ..Unbind::default()
        };
        world.say(worker, &unbind.to_frame());
        world.turn();
        for request in [functions, id] {
            assert_eq!(code(world.ending(worker, request)), "not_registered");
        }
        assert_eq!(names(&world.reader(watcher).view), ["a", "b", "c"]);
        assert_eq!(world.engine.stats().bindings, 3);
    }
}

#[test]
fn each_namespace_that_changed_in_a_turn_has_its_revision_whichever_did_not() {
    for unchanged in 0..3 {
        let mut world = World::new(Limits::default());
        let namespaces = ["one", "two", "three"];
        let pairs = namespaces.map(|namespace| {
            [everything(), nothing()].map(|filter| {
                let link = world.open(crate::reader::Reader::new(filter.clone()));
                world.say(link, &hello("w", namespace, &filter, None, None));
                world.turn();
                link
            })
        });
        for (index, [_, worker]) in pairs.into_iter().enumerate() {
            if index != unchanged {
                world.register(worker, &["f"]);
            }
        }
        world.turn();
        for (index, [watcher, _]) in pairs.into_iter().enumerate() {
            let seen = names(&world.reader(watcher).view).len();
            assert_eq!(seen, usize::from(index != unchanged), "{index} {unchanged}");
        }
    }
}

#[test]
fn a_reload_reaches_those_behind_one_that_it_sends_away() {
    // In the order in which they came: some are sent away, the others lose what they may see.
    for gone in 0..4 {
        let mut world = World::new(Limits::default());
        let of = |name: &str, rights| principal(name, rights);
        let all_names = ["a", "b", "c", "d"];
        let every = all_names.map(|name| of(name, Rights::everything()));
        let provider = of("provider", Rights::everything());
        admit(
            &mut world,
            [&every[..], std::slice::from_ref(&provider)].concat(),
        );
        let worker = join(&mut world, "provider", "p", &nothing());
        let watchers = all_names.map(|name| join(&mut world, name, name, &all()));
        world.register(worker, &["f"]);
        world.turn();
        let staying = all_names.into_iter().enumerate();
        let staying = staying.filter(|(index, _)| *index != gone);
        let blind = callboard::engine::Verb::Observe;
        let staying = staying.map(|(_, name)| of(name, crate::rights::with_one(blind, (&[], &[]))));
        admit(&mut world, staying.chain([provider]).collect());
        world.finish_turn(Budgets::ALL);
        for (index, watcher) in watchers.into_iter().enumerate() {
            world.receive(watcher, usize::MAX);
            if index == gone {
                assert_eq!(world.goodbye(watcher), Some("unauthorized"));
            } else {
                assert!(
                    names(&world.reader(watcher).view).is_empty(),
                    "{index} {gone}"
                );
            }
        }
    }
}

#[test]
fn each_of_several_waiting_calls_whose_right_is_lost_ends_and_the_others_wait_on() {
    let mut world = World::new(Limits::default());
    let caller_with = |rights| vec![principal("caller", rights)];
    admit(&mut world, caller_with(Rights::everything()));
    let caller = join(&mut world, "caller", "c", &nothing());
    let functions = ["lost::a", "kept::a", "lost::b", "kept::b", "lost::a"];
    let calls = functions.map(|name| world.call(caller, name, b"", waiting()));
    world.turn();
    let kept = crate::rights::with_one(callboard::engine::Verb::Call, (&["kept::"], &[]));
    admit(&mut world, caller_with(kept));
    world.turn();
    for (name, call) in functions.into_iter().zip(calls) {
        if name.starts_with("lost") {
            assert_eq!(failed(&world, caller, call).0, "forbidden", "{name}");
        } else {
            assert_eq!(world.call_ending(caller, call), None, "{name}");
        }
    }
    assert_eq!(world.engine.stats().parked, 2);
}
