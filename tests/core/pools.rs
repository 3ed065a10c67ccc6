//! What all connections share is shared out by user: no user empties a pool, takes all watches or namespaces, or costs
//! another its connections by what it does not read; and counters say which user met a limit.

use callboard::engine::Peer;
use callboard::limits::Limits;
use callboard::protocol::{Bin, CallOptions, Cast, Text};

use crate::calls::{invoked, waiting};
use crate::fairness::join_from;
use crate::reader::{CallEnding, Reader, WatchFilter};
use crate::setup::nothing;
use crate::world::{World, hello};

/// A pool: its name, limits with a small one, and an attempt to take some of it. Returns whether it succeeded.
type Pool = (&'static str, fn(&mut Limits), fn(&mut World, usize) -> bool);

/// A call that waits. Returns whether it is not refused.
fn wait(world: &mut World, link: usize, payload: &[u8]) -> bool {
    let call = world.call(link, "nobody's", payload, waiting());
    world.turn();
    match world.call_ending(link, call) {
        None => true,
        Some(CallEnding::Failure(failure)) => {
            assert_eq!(failure.code, "overloaded");
            false
        }
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn no_user_empties_a_pool_however_many_connections_it_has_and_one_alone_gets_the_limit() {
    const LIMIT: usize = 12;
    let pools: [Pool; 3] = [
        (
            "parked",
            |limits| limits.max_parked = LIMIT as u64,
            |world, link| wait(world, link, b""),
        ),
        (
            "calls",
            |limits| limits.max_calls_total = LIMIT as u64,
            |world, link| wait(world, link, b""),
        ),
        (
            "retained",
            |limits| {
                limits.max_retained = 100 * LIMIT as u64;
                limits.max_retained_each = 100 * LIMIT as u64;
            },
            |world, link| wait(world, link, &[0; 100]),
        ),
    ];
    for (name, set, take) in pools {
        let mut limits = Limits {
            max_share: 0,
            ..Limits::default()
        };
        set(&mut limits);
        let mut world = World::new(limits);
        let mut parts = Vec::new();
        for host in 1..=4 {
            // Each takes as much as it can, over several connections.
            let links: Vec<usize> = (0..3).map(|_| join_from(&mut world, host, "x")).collect();
            let taken = (0..2 * LIMIT).filter(|it| take(&mut world, links[it % 3]));
            parts.push(taken.count());
        }
        assert_eq!(parts, [LIMIT, LIMIT / 2, LIMIT / 4, 1], "{name}");
        // What one gives back is there for the others again.
        for link in 0..3 {
            world.reset(link);
        }
        let late = join_from(&mut world, 9, "late");
        assert!(take(&mut world, late), "{name}");
    }
}

#[test]
fn no_user_takes_all_watches_or_namespaces_from_the_others() {
    let mut world = World::new(Limits {
        max_audiences: 8,
        max_namespaces: 9,
        ..Limits::default()
    });
    let join = |world: &mut World, host: u8, namespace: &str, filter: &WatchFilter| {
        let peer = Peer::Tcp(format!("192.0.2.{host}:1").parse().unwrap());
        let link = world.open_from(peer, Reader::new(filter.clone()));
        world.say(link, &hello("x", namespace, filter, None, None));
        world.turn();
        world.reader(link).welcome.is_some()
    };
    let mut parts = [Vec::new(), Vec::new()];
    for host in 1..=3 {
        let odd = |it: &usize| WatchFilter::new(&[&format!("p{host}x{it}")], &[]);
        let watches = (0..20).filter(|it| join(&mut world, host, "default", &odd(it)));
        parts[0].push(watches.count());
        let own = |it: &usize| format!("n{host}x{it}");
        let namespaces = (0..20).filter(|it| join(&mut world, host, &own(it), &nothing()));
        parts[1].push(namespaces.count());
    }
    assert_eq!(parts, [[8, 4, 2], [8, 4, 2]]);
    // A watch and a namespace that are there already cost nothing.
    assert!(join(&mut world, 9, "n1x0", &nothing()));
    assert!(join(
        &mut world,
        9,
        "default",
        &WatchFilter::new(&["p1x0"], &[])
    ));
}

#[test]
fn the_oldest_incomplete_frame_that_is_given_up_is_that_of_the_user_who_holds_the_most() {
    let mut world = World::new(Limits {
        max_partial: 10_000,
        ..Limits::default()
    });
    let calm = join_from(&mut world, 1, "calm");
    world.links[calm].up.extend([0, 0, 1, 0, 7]);
    world.turn();
    for host in [2, 2, 2] {
        let greedy = join_from(&mut world, host, "greedy");
        world.links[greedy].up.extend([0, 0, 0x40, 0]);
        world.links[greedy].up.extend([7; 4_000]);
        world.turn();
    }
    assert_eq!(world.goodbye(calm), None);
    assert_eq!(world.goodbye(1), Some("frame_timeout"));
}

#[test]
fn what_one_user_does_not_read_costs_another_neither_its_connections_nor_its_casts() {
    const LIMIT: usize = 1_000_000;
    let mut world = World::new(Limits {
        max_outbound_total: LIMIT as u64,
        max_outbound: 2 * LIMIT as u64,
        ..Limits::default()
    });
    let source = world.join("s", &nothing());
    let reader = |world: &mut World, host: u8, function: &str| {
        let link = join_from(world, host, "r");
        world.register(link, &[function]);
        world.settle();
        link
    };
    let slow = reader(&mut world, 1, "slow");
    let greedy: Vec<usize> = (0..10)
        .map(|index| reader(&mut world, 2, &format!("g{index}")))
        .collect();
    // They read nothing from here on.
    for link in greedy.iter().chain([&slow]) {
        world.links[*link].capacity = 0;
    }
    let cast = |world: &mut World, function: &str| {
        let cast = Cast {
            function: Text(function),
            payload: Bin(&vec![7; 50_000]),
            ..Cast::default()
        };
        world.say(source, &cast.to_frame());
        world.turn();
    };
    for _ in 0..4 {
        cast(&mut world, "slow");
    }
    for round in 0..100 {
        cast(&mut world, &format!("g{}", round % 10));
    }
    // The other one still may have its part, though the first one wants more all the time.
    let before = world.engine.stats();
    cast(&mut world, "slow");
    let after = world.engine.stats();
    assert_eq!(after.casts, before.casts + 1);
    assert!(world.links[slow].open && world.goodbye(slow).is_none());
    let pressing = &after.limited_by["192.0.2.2"];
    assert!(pressing["max-outbound-total"] >= 5, "{pressing:?}");
    assert!(!after.limited_by.contains_key("192.0.2.1"));
    assert!(after.outbound_bytes as usize <= 2 * LIMIT);
    let closed = greedy
        .iter()
        .filter(|it| world.goodbye(**it).is_some() || !world.links[**it].open);
    assert!(closed.count() > 0 || after.closed["too_slow"] > 0);
}

#[test]
fn of_one_user_as_many_connections_are_closed_as_hold_what_is_too_much() {
    const LIMIT: u64 = 1_000_000;
    let mut world = World::new(Limits {
        max_outbound_total: LIMIT,
        ..Limits::default()
    });
    let provider = world.provider(&["f"], 100);
    let callers: Vec<usize> = (0..10).map(|_| join_from(&mut world, 1, "c")).collect();
    world.settle();
    let ask = |world: &mut World| {
        for caller in &callers {
            world.links[*caller].capacity = 0;
            world.call(*caller, "f", b"", CallOptions::default());
        }
        world.turn();
        invoked(world, provider).split_off(invoked(world, provider).len() - 10)
    };
    // All are blocked. Then a turn brings as much as may ever wait within one: twice the limit.
    for invoke in ask(&mut world) {
        world.answer(provider, invoke, b"");
    }
    let asked = ask(&mut world);
    assert_eq!(world.engine.stats().closed.get("too_slow"), None);
    for invoke in asked {
        world.answer(provider, invoke, &vec![7; 400_000]);
    }
    world.turn();
    let stats = world.engine.stats();
    assert!(stats.outbound_bytes <= LIMIT);
    assert_eq!(stats.closed["too_slow"], 2);
}

/// Each of its calls fails, and these answers wait, too.
#[test]
fn a_connection_may_be_closed_whose_end_makes_more_wait_than_its_outbox_held() {
    let mut world = World::new(Limits {
        max_outbound_total: 1_000,
        ..Limits::default()
    });
    let provider = world.provider(&["f"], 100);
    let caller = world.join("c", &nothing());
    world.links[provider].capacity = 0;
    let calls: Vec<u64> = (0..30)
        .map(|_| world.call(caller, "f", b"", CallOptions::default()))
        .collect();
    world.turn();
    world.turn();
    assert_eq!(world.engine.stats().closed["too_slow"], 1);
    for call in calls {
        assert!(world.call_ending(caller, call).is_some());
    }
}

#[test]
fn counters_say_which_user_met_a_limit_also_when_it_is_gone() {
    let mut world = World::new(Limits {
        max_parked: 2,
        ..Limits::default()
    });
    let greedy = join_from(&mut world, 7, "g");
    let modest = join_from(&mut world, 8, "m");
    for _ in 0..5 {
        wait(&mut world, greedy, b"");
    }
    assert!(wait(&mut world, modest, b""));
    world.reset(greedy);
    world.settle();
    let stats = world.engine.stats();
    assert_eq!(stats.limited["max-parked"], 3);
    let by_user: Vec<(&str, u64)> = stats
        .limited_by
        .iter()
        .map(|(user, flags)| (&**user, flags["max-parked"]))
        .collect();
    assert_eq!(by_user, [("192.0.2.7", 3)]);
}
