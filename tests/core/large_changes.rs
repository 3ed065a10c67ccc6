//! A change that takes long to encode waits behind others, and keeps nobody from hearing of a small one.

use callboard::limits::Limits;

use crate::reader::WatchFilter;
use crate::setup::{many, nothing, register_all};
use crate::turn::{Budget, Budgets};
use crate::world::World;

fn unhurried() -> Limits {
    Limits {
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    }
}

/// Budgets with so many writes of what all are told.
fn news(writes: usize) -> Budgets {
    Budgets {
        news: Budget {
            writes,
            ..Budgets::ALL.news
        },
        ..Budgets::ALL
    }
}

fn names_of(world: &World, link: usize) -> usize {
    world.reader(link).view.functions.len()
}

/// Twenty watchers, no two with the same watch, have a step of 10,000 functions encoded, each for itself. A small change
/// for another watcher waits for none of that; and that goes on while there are small changes in each turn.
#[test]
fn a_small_change_is_told_before_a_large_one_is_encoded_for_many() {
    const WATCHERS: usize = 20;
    let mut world = World::paced(unhurried());
    let watchers: Vec<usize> = (0..WATCHERS)
        .map(|number| world.join("w", &WatchFilter::new(&["svc::"], &[&format!("n{number}")])))
        .collect();
    let other = world.join("o", &WatchFilter::new(&["small::"], &[]));
    let large = world.join("large", &nothing());
    let small = world.join("small", &nothing());
    register_all(&mut world, large, &many(10_000));
    let told = |world: &World| {
        watchers
            .iter()
            .filter(|&&it| names_of(world, it) > 0)
            .count()
    };
    while told(&world) == 0 {
        world.turn();
    }
    let mut changes = 0;
    while told(&world) < WATCHERS {
        changes += 1;
        world.register(small, &[&format!("small::{changes}")]);
        world.turn();
        world.turn();
        assert_eq!(
            names_of(&world, other),
            changes,
            "in the turn after it at the latest"
        );
        assert!(changes < 4 * WATCHERS, "{} were told", told(&world));
    }
    assert!(
        changes > WATCHERS / 4,
        "{changes}: the large change took no time"
    );
    world.settle();
    assert!(watchers.iter().all(|&it| names_of(&world, it) == 10_000));
}

/// An audience that waits with a large change has a small one as well, which is told with it: that is no way to have the
/// large one encoded before the changes of others.
#[test]
fn a_small_change_of_those_who_wait_for_a_large_one_waits_with_it() {
    let mut world = World::new(unhurried());
    let mut large = Vec::new();
    for number in 0..20 {
        let watch = WatchFilter::new(&["svc::", "small::"], &[&format!("n{number}")]);
        large.push(world.join("w", &watch));
    }
    let others: Vec<usize> = (0..100)
        .map(|number| {
            let watch = WatchFilter::new(&["other::"], &[&format!("n{number}")]);
            world.join("o", &watch)
        })
        .collect();
    let worker = world.join("p", &nothing());
    // Three revisions before anything is written: the large one, and a small one for each.
    register_all(&mut world, worker, &many(1_000));
    world.arrive(worker, usize::MAX);
    world.finish_turn(news(0));
    for name in ["small::f", "other::f"] {
        world.register(worker, &[name]);
        world.arrive(worker, usize::MAX);
        world.finish_turn(news(0));
    }
    world.flush(news(100));
    for &link in large.iter().chain(&others) {
        world.receive(link, usize::MAX);
    }
    let told = others.iter().filter(|&&it| names_of(&world, it) == 1);
    assert!(told.count() > 90);
    world.settle();
    assert!(large.iter().all(|&it| names_of(&world, it) == 1_001));
}

/// Two watchers, each with a watch of its own, have a step encoded each for itself while 300 others wait for a small one.
#[test]
fn a_change_of_256_functions_or_more_waits_behind_128_other_writes() {
    for (functions, writes_between) in [(255, 2..=3), (256, 129..=129), (257, 129..=129)] {
        let mut world = World::new(unhurried());
        let large = ["a", "b"].map(|it| world.join("w", &WatchFilter::new(&["svc::"], &[it])));
        let small: Vec<usize> = (0..300)
            .map(|_| world.join("w", &WatchFilter::new(&["small::"], &[])))
            .collect();
        let [many_of, one] = ["p", "q"].map(|name| world.join(name, &nothing()));
        register_all(&mut world, many_of, &many(functions));
        world.register(one, &["small::f"]);
        world.arrive(many_of, usize::MAX);
        world.arrive(one, usize::MAX);
        world.finish_turn(news(1));
        let mut told = [None, None];
        for write in 1..400 {
            for (link, told) in large.iter().zip(&mut told) {
                world.receive(*link, usize::MAX);
                if !world.reader(*link).view.functions.is_empty() {
                    told.get_or_insert(write);
                }
            }
            world.flush(news(1));
        }
        let [Some(first), Some(second)] = told else {
            panic!("{functions}: {told:?}");
        };
        let between = second - first;
        assert!(writes_between.contains(&between), "{functions}: {between}");
        world.settle();
        let has_one = |&link: &usize| world.reader(link).view.functions.len() == 1;
        assert!(small.iter().all(has_one));
    }
}
