//! The order of writes: connections that are owed an answer come before watchers that are told of a change; and
//! none waits for ever, whatever a turn's budgets are.

use callboard::limits::Limits;
use callboard::protocol::{CallOptions, Definition, Text};

use crate::reader::WatchFilter;
use crate::rng::Rng;
use crate::setup::{functions, names, nothing};
use crate::turn::Budgets;
use crate::world::{World, plain};

/// Changes are not rationed.
fn limits() -> Limits {
    Limits {
        changes_per_second: 0,
        ..Limits::default()
    }
}

/// What was said arrives, and the turn is sealed; nothing is written yet.
fn hear(world: &mut World) {
    for link in 0..world.links.len() {
        world.arrive(link, usize::MAX);
    }
    world.finish_turn(Budgets::writes(0, 0));
}

fn writes(world: &World, links: &[usize]) -> u64 {
    links.iter().map(|&link| world.links[link].writes).sum()
}

#[test]
fn answers_go_before_what_all_are_told() {
    let mut world = World::new(limits());
    let watchers: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("w{number}"), &functions()))
        .collect();
    let provider = world.provider(&["f"], 10);
    let caller = world.join("caller", &nothing());
    world.turn();
    // In one turn: a change that all watchers hear of, and a call.
    let before = writes(&world, &watchers);
    world.register(provider, &["g"]);
    let call = world.call(caller, "f", b"x", CallOptions::default());
    hear(&mut world);
    let calls = world.links[provider].writes;
    world.flush(Budgets::writes(usize::MAX, 0));
    assert_eq!(world.links[provider].writes, calls + 1, "RESULT and INVOKE");
    assert_eq!(writes(&world, &watchers), before);
    // With the change half told, the answer comes in and goes out before the rest is.
    world.flush(Budgets::writes(0, 5));
    world.receive(provider, usize::MAX);
    let invoke = world.reader(provider).invocations().next().unwrap().id;
    world.answer(provider, invoke, b"y");
    hear(&mut world);
    world.flush(Budgets::writes(usize::MAX, 0));
    world.receive(caller, usize::MAX);
    assert!(world.call_ending(caller, call).is_some());
    assert_eq!(writes(&world, &watchers) - before, 5);
    world.settle();
    assert_eq!(writes(&world, &watchers) - before, 20, "one write each");
}

#[test]
fn an_answer_is_written_with_the_changes_that_it_follows() {
    let mut world = World::new(limits());
    let provider = world.provider(&["f"], 10);
    let watching = world.join("watching", &functions());
    let _others: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("w{number}"), &functions()))
        .collect();
    world.register(provider, &["g"]);
    world.register(watching, &["h"]);
    let call = world.call(watching, "nobody's", b"x", CallOptions::default());
    hear(&mut world);
    // Only those who are owed an answer are written to, and the one who watches has seen both functions by then:
    // its reader holds answers against the view.
    world.flush(Budgets::writes(usize::MAX, 0));
    world.receive(watching, usize::MAX);
    assert!(world.ending(watching, 1).is_ok());
    assert!(world.call_ending(watching, call).is_some());
    assert_eq!(names(&world.reader(watching).view), ["f", "g", "h"]);
}

#[test]
fn the_first_watcher_is_told_before_the_registration_is_acknowledged() {
    let mut world = World::new(limits());
    let worker = world.provider(&["f"], 10);
    let watchers: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("w{number}"), &functions()))
        .collect();
    world.settle();
    for name in ["g", "h", "i"] {
        let (told, answered) = (writes(&world, &watchers), world.links[worker].writes);
        world.register(worker, &[name]);
        hear(&mut world);
        world.flush(Budgets::writes(usize::MAX, 1));
        assert_eq!(writes(&world, &watchers) - told, 1, "the news goes first");
        // But a registration is acknowledged before all watchers are told of it.
        world.flush(Budgets::writes(usize::MAX, 1));
        assert_eq!(world.links[worker].writes - answered, 1);
        world.settle();
        assert_eq!(writes(&world, &watchers) - told, 20, "one write each");
    }
}

#[test]
fn many_registering_and_many_watching_keep_no_other_waiting() {
    let mut world = World::new(limits());
    let workers: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("p{number}"), &nothing()))
        .collect();
    let watchers: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("w{number}"), &functions()))
        .collect();
    world.settle();
    let (told, answered) = (writes(&world, &watchers), writes(&world, &workers));
    for (number, &worker) in workers.iter().enumerate() {
        world.register(worker, &[&format!("f{number:02}")]);
    }
    hear(&mut world);
    for round in 1..=20 {
        world.flush(Budgets::writes(usize::MAX, 2));
        assert_eq!(writes(&world, &watchers) - told, round);
        assert_eq!(writes(&world, &workers) - answered, round);
    }
}

#[test]
fn an_audience_whose_board_never_rests_does_not_keep_the_others_waiting() {
    let mut world = World::new(limits());
    let restless = world.provider(&["a::f"], 10);
    let _many: Vec<usize> = (0..10)
        .map(|number| world.join(&format!("w{number}"), &WatchFilter::new(&["a::"], &[])))
        .collect();
    let other = world.provider(&["b::f"], 10);
    let one = world.join("one", &WatchFilter::new(&["b::"], &[]));
    world.settle();
    world.register(other, &["b::g"]);
    for round in 0..30 {
        // Each turn brings the restless board further, and tells one of its watchers.
        let name = format!("a::{round:02}");
        world.register(restless, &[&name]);
        hear(&mut world);
        // The one who registered, and one of those who watch.
        world.flush(Budgets::writes(usize::MAX, 2));
        world.receive(one, usize::MAX);
        if names(&world.reader(one).view).contains(&"b::g") {
            assert!(
                round <= 11,
                "after a round of the restless audience at the latest"
            );
            return;
        }
    }
    panic!("it never heard of it");
}

#[test]
fn a_reader_of_a_large_board_does_not_keep_the_news_from_the_others() {
    let mut world = World::new(limits());
    let watchers: Vec<usize> = (0..20)
        .map(|number| world.join(&format!("w{number}"), &functions()))
        .collect();
    let worker = world.provider(&["f"], 10);
    let description = "x".repeat(10_000);
    for batch in 0..20 {
        let names: Vec<String> = (0..50).map(|number| format!("g{batch}_{number}")).collect();
        let described = names.iter().map(|name| Definition {
            description: Text(&description),
            ..plain(name)
        });
        world.register_definitions(worker, described.collect());
        world.settle();
    }
    // A joiner with ten megabytes to read, whose link takes all that it is offered.
    let joiner = world.hello("joiner", &functions());
    world.register(worker, &["h"]);
    hear(&mut world);
    world.flush(Budgets::writes(usize::MAX, 0));
    let (before, sent) = (writes(&world, &watchers), world.links[joiner].writes);
    world.flush(Budgets::writes(usize::MAX, 20));
    assert!(writes(&world, &watchers) - before >= 9);
    assert!(world.links[joiner].writes - sent >= 9);
    world.settle();
    assert!(world.reader(joiner).is_synced());
}

#[test]
fn all_watchers_are_told_of_everything_while_others_come_and_go() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut world = World::seeded(limits(), seed);
        let worker = world.provider(&["f"], 10);
        let mut watchers: Vec<usize> = (0..8)
            .map(|number| world.join(&format!("w{number}"), &functions()))
            .collect();
        for round in 0..60 {
            match rng.below(5) {
                0 if !watchers.is_empty() => {
                    let at = rng.below(watchers.len());
                    world.reset(watchers.swap_remove(at));
                }
                1 => watchers.push(world.hello(&format!("n{round}"), &functions())),
                2 | 3 => {
                    let name = format!("g{round}");
                    world.register(worker, &[&name]);
                }
                _ => {}
            }
            hear(&mut world);
            world.flush(Budgets::writes(usize::MAX, rng.below(4)));
            for &watcher in &watchers {
                world.receive(watcher, usize::MAX);
            }
        }
        world.settle();
        let stats = world.engine.stats();
        assert_eq!(stats.behind, 0, "seed {seed}");
        let worker = world.join("late", &functions());
        for &watcher in &watchers {
            let (seen, board) = (&world.reader(watcher).view, &world.reader(worker).view);
            assert_eq!(seen, board, "seed {seed}");
        }
    }
}
