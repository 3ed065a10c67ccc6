//! A turn is short, whatever is asked, and users share the engine evenly: an event that many hear is cast in slices, a
//! large step stands alone in its turn, pages end early, and more connections buy nothing.

use callboard::engine::{Config, Peer, Principal, Rights};
use callboard::limits::Limits;
use callboard::protocol::{BindingEntry, CallOptions, Emit, Ping, Text};

use crate::calls::waiting;
use crate::reader::{CallEnding, Reader};
use crate::rights::{self, principal};
use crate::sessions::claim;
use crate::setup::{functions, many, nothing, register_all};
use crate::world::{World, hello};

/// A world with turns as the server's, and limits that slow nobody.
fn paced() -> World {
    World::paced(Limits {
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    })
}

/// Joins from an address of its own.
pub(crate) fn join_from(world: &mut World, host: u8, name: &str) -> usize {
    let peer = Peer::Tcp(format!("192.0.2.{host}:1").parse().unwrap());
    let link = world.open_from(peer, Reader::new(nothing()));
    world.say(link, &hello(name, "default", &nothing(), None, None));
    world.settle();
    link
}

fn bind(world: &mut World, link: usize, event: &str, names: &[String], deliver_all: bool) {
    for part in names.chunks(5_000) {
        let entry = |name| BindingEntry {
            event: Text(event),
            function: Text(name),
            deliver_all,
            ..BindingEntry::default()
        };
        world.bind(link, part.iter().map(|name| entry(name)).collect());
    }
    world.settle();
}

fn emit(world: &mut World, link: usize, event: &str, payload: &[u8]) -> u64 {
    let id = world.request(link);
    world.links[link].reader.calls.insert(id);
    let emit = Emit {
        id,
        event: Text(event),
        payload: callboard::protocol::Bin(payload),
        ..Emit::default()
    };
    world.say(link, &emit.to_frame());
    id
}

fn dropped(world: &World, why: &str) -> u64 {
    world.engine.stats().dropped.get(why).copied().unwrap_or(0)
}

/// The names of the functions that a provider was sent casts for, in order.
fn casts(world: &World, link: usize) -> Vec<String> {
    world.reader(link).casts.clone()
}

#[test]
fn an_event_that_very_many_hear_is_cast_in_slices_to_each_once_and_answered_behind_the_last() {
    const BOUND: usize = 20_000;
    let mut world = paced();
    let provider = world.join("p", &nothing());
    let names = many(BOUND);
    register_all(&mut world, provider, &names);
    bind(&mut world, provider, "e", &names, false);
    let source = join_from(&mut world, 1, "s");
    let other = join_from(&mut world, 2, "o");
    let request = emit(&mut world, source, "e", b"");
    // What it says behind it waits.
    world.say(source, &Ping::default().to_frame());
    let mut turns = 0;
    while world.call_ending(source, request).is_none() {
        assert_eq!(world.reader(source).pongs, 0);
        world.say(other, &Ping::default().to_frame());
        world.turn();
        turns += 1;
        // The other one has its answer in each turn.
        assert_eq!(world.reader(other).pongs, turns);
        assert!(turns < 1000);
    }
    assert!(turns > 3, "{turns}");
    let mut heard = casts(&world, provider);
    assert_eq!(heard.len(), BOUND);
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), BOUND, "each once");
    world.settle();
    assert_eq!(world.reader(source).pongs, 1);
}

#[test]
fn what_is_bound_throughout_hears_an_event_once_whatever_is_bound_or_unbound_meanwhile() {
    let mut world = paced();
    let provider = world.join("p", &nothing());
    let names = many(10_000);
    register_all(&mut world, provider, &names);
    bind(&mut world, provider, "e", &names, false);
    let source = join_from(&mut world, 1, "s");
    let other = join_from(&mut world, 2, "o");
    let request = emit(&mut world, source, "e", b"");
    let mut changed = Vec::new();
    for turn in 0.. {
        // A function leaves in each turn, from behind, and comes again.
        let name = &names[names.len() - 1 - turn];
        world.unregister(provider, &[name]);
        world.register(provider, &[name]);
        let late = format!("{}::late", names[turn * 13 % names.len()]);
        world.register(provider, &[&late]);
        bind_one(&mut world, provider, &late);
        changed.push(name.clone());
        changed.push(late);
        world.say(other, &Ping::default().to_frame());
        world.turn();
        if world.call_ending(source, request).is_some() {
            break;
        }
        assert!(turn < 1000);
    }
    world.settle();
    let mut heard = casts(&world, provider);
    heard.sort_unstable();
    let count = heard.len();
    heard.dedup();
    assert_eq!(heard.len(), count, "none twice");
    for name in names.iter().filter(|name| !changed.contains(name)) {
        assert!(heard.binary_search(name).is_ok(), "{name}");
    }
}

fn bind_one(world: &mut World, link: usize, function: &str) {
    let entry = BindingEntry {
        event: Text("e"),
        function: Text(function),
        ..BindingEntry::default()
    };
    world.bind(link, vec![entry]);
}

#[test]
fn an_event_ends_with_its_emitter_and_that_is_counted() {
    let mut world = paced();
    let provider = world.join("p", &nothing());
    let names = many(20_000);
    register_all(&mut world, provider, &names);
    bind(&mut world, provider, "e", &names, false);
    for ending in ["reset", "goodbye"] {
        let source = join_from(&mut world, 1, "s");
        let before = casts(&world, provider).len();
        emit(&mut world, source, "e", b"");
        world.turn();
        assert!(casts(&world, provider).len() > before);
        world.reset(source);
        let at_its_end = casts(&world, provider).len();
        world.settle();
        assert_eq!(casts(&world, provider).len(), at_its_end, "{ending}");
    }
    assert_eq!(dropped(&world, "event_unfinished"), 2);
    assert_eq!(world.engine.stats().partial_bytes, 0);
}

#[test]
fn a_large_payload_for_many_is_copied_in_slices() {
    let mut world = World::paced(Limits {
        changes_per_second: 0,
        max_share: 0,
        max_outbound_total: 1 << 30,
        ..Limits::default()
    });
    let providers: Vec<usize> = (0..100).map(|_| world.provider(&["f"], 10)).collect();
    world.settle();
    bind(&mut world, providers[0], "e", &["f".to_owned()], true);
    let source = join_from(&mut world, 1, "s");
    let payload = vec![7; 500_000];
    let request = emit(&mut world, source, "e", &payload);
    let (mut turns, mut most, mut before) = (0, 0, 0);
    while world.call_ending(source, request).is_none() {
        world.turn();
        let heard: usize = providers.iter().map(|it| casts(&world, *it).len()).sum();
        most = most.max(heard - before);
        (turns, before) = (turns + 1, heard);
        assert!(turns < 1000);
    }
    assert_eq!(before, providers.len());
    // A thousand units a copy, at least.
    assert!(most as u64 <= Config::TURN_WORK / 900, "{most} in a turn");
}

#[test]
fn a_large_step_stands_alone_in_its_turn_and_small_ones_share_one() {
    let mut world = paced();
    let large = join_from(&mut world, 1, "large");
    let calm = join_from(&mut world, 2, "calm");
    let names = many(20_000);
    let id = register_all(&mut world, large, &names);
    let mut turns = 0;
    while !world.reader(large).endings.contains_key(&id) {
        world.say(calm, &Ping::default().to_frame());
        world.turn();
        turns += 1;
        assert!(turns < 100);
    }
    // Its frames are read, and then it has one turn for itself, in which the other has to wait.
    assert_eq!(world.reader(calm).pongs, turns - 1);
    // As many small registrations as fit are done in one turn.
    let small: Vec<usize> = (3..100)
        .map(|host| join_from(&mut world, host, "s"))
        .collect();
    for link in &small {
        world.register(*link, &["f"]);
    }
    world.turn();
    for link in &small {
        assert!(!world.reader(*link).endings.is_empty());
    }
}

#[test]
fn a_provider_that_unregistered_between_two_slices_of_an_event_does_not_hear_it() {
    let mut world = paced();
    let providers: Vec<usize> = (0..100).map(|_| world.provider(&["f"], 10)).collect();
    world.settle();
    bind(&mut world, providers[0], "e", &["f".to_owned()], true);
    let source = join_from(&mut world, 1, "s");
    emit(&mut world, source, "e", &vec![7; 500_000]);
    world.turn();
    let unheard = |it: &&usize| casts(&world, **it).is_empty();
    let unheard: Vec<usize> = providers.iter().filter(unheard).copied().collect();
    assert!(unheard.len() > 3, "the event has further slices");
    let last = *unheard.last().unwrap();
    let id = world.unregister(last, &["f"]);
    while !world.reader(last).endings.contains_key(&id) {
        world.turn();
    }
    assert!(casts(&world, last).is_empty(), "its turn has not come");
    world.settle();
    assert!(casts(&world, last).is_empty(), "after its RESULT");
}

#[test]
fn a_provider_that_has_ended_gets_no_call_while_what_it_sent_before_is_handled() {
    let mut world = paced();
    let provider = join_from(&mut world, 1, "p");
    world.register(provider, &["f"]);
    let caller = join_from(&mut world, 2, "c");
    world.settle();
    world.say(provider, &Ping::default().to_frame().repeat(9_000));
    world.turn();
    world.eof(provider);
    assert_eq!(world.engine.stats().functions, 1, "a turn does less");
    let call = world.call(caller, "f", b"", CallOptions::default());
    let waits = world.call(caller, "f", b"", waiting());
    world.turn();
    assert_eq!(world.call_failure(caller, call).code, "overloaded");
    assert!(world.call_ending(caller, waits).is_none());
    world.settle();
    assert_eq!(world.engine.stats().functions, 0);
    assert_eq!(world.reader(provider).invocations().count(), 0);
}

#[test]
fn takeovers_of_large_workers_share_no_turn() {
    let mut world = World::with_turns(Limits::default(), 2, 500);
    let olds: Vec<usize> = (0..2)
        .map(|index| {
            let link = join_from(&mut world, index, "w");
            let names: Vec<String> = (0..600).map(|it| format!("w{index}::{it}")).collect();
            register_all(&mut world, link, &names);
            world.settle();
            link
        })
        .collect();
    let newer: Vec<usize> = olds
        .iter()
        .map(|old| {
            let newer = world.open(Reader::new(nothing()));
            claim(&mut world, newer, *old);
            newer
        })
        .collect();
    let welcome = |world: &World| {
        let all = newer.iter();
        all.filter(|it| world.reader(**it).welcome.is_some())
            .count()
    };
    while welcome(&world) == 0 {
        world.turn();
    }
    assert_eq!(
        welcome(&world),
        1,
        "the other one is taken over in a later turn"
    );
    world.settle();
    assert_eq!(welcome(&world), 2);
}

#[cfg(debug_assertions)]
#[test]
fn the_user_of_a_worker_that_goes_pays_for_telling_that() {
    let mut world = World::new(Limits::default());
    world.join("watcher", &functions());
    let worker = join_from(&mut world, 2, "w");
    // Its user stays.
    join_from(&mut world, 2, "w");
    world.register(worker, &["f"]);
    world.settle();
    let user = world.engine.user_of(world.links[worker].id).unwrap();
    // What it registered has been paid for.
    world.turn();
    world.turn();
    world.engine.log_steps();
    world.reset(worker);
    world.settle();
    world.turn();
    let debts = world.engine.take_debts();
    assert!(
        debts.iter().any(|(it, work)| *it == user && *work > 0),
        "{debts:?}"
    );
}

/// Connections come and small workers go in each turn.
#[test]
fn a_large_step_is_the_first_of_its_turn_whatever_comes_and_goes_meanwhile() {
    let mut world = paced();
    let large = join_from(&mut world, 1, "large");
    let flood = join_from(&mut world, 2, "flood");
    let small: Vec<usize> = (0..40)
        .map(|_| {
            let link = join_from(&mut world, 3, "small");
            world.register(link, &["g"]);
            link
        })
        .collect();
    world.settle();
    let id = register_all(&mut world, large, &many(20_000));
    let mut turns = 0;
    while !world.reader(large).endings.contains_key(&id) {
        world.reset(small[turns]);
        let peer = Peer::Tcp("192.0.2.4:1".parse().unwrap());
        world.open_from(peer, Reader::new(nothing()));
        world.say(flood, &Ping::default().to_frame().repeat(5_000));
        world.turn();
        turns += 1;
        assert!(turns < 30);
    }
}

/// The engine stands still for so long that deadlines pass. What was sent in time waits behind a large step.
#[test]
fn what_waits_for_its_turn_is_not_late() {
    let ping = Ping::default().to_frame();
    // One is to say HELLO, the next one the rest of a frame, and one registers again what it had.
    let set_up = || {
        let mut world = World::paced(Limits {
            changes_per_second: 0,
            max_share: 0,
            hello_timeout: 1_000,
            frame_timeout: 1_000,
            ready_timeout: 1_000,
            ..Limits::default()
        });
        let large = join_from(&mut world, 1, "large");
        let slow = join_from(&mut world, 3, "slow");
        let older = join_from(&mut world, 4, "newer");
        world.register(older, &["f"]);
        world.settle();
        let from = |host: u8| Peer::Tcp(format!("192.0.2.{host}:2").parse().unwrap());
        let greeting = world.open_from(from(2), Reader::new(nothing()));
        let newer = world.open_from(from(4), Reader::new(nothing()));
        let key = world
            .reader(older)
            .welcome
            .as_ref()
            .unwrap()
            .session
            .clone();
        let takeover = hello("newer", "default", &nothing(), Some(&key), None);
        world.say(newer, &takeover);
        world.say(slow, &ping[..5]);
        world.turn();
        assert!(world.reader(newer).welcome.is_some());
        let registered = register_all(&mut world, large, &many(20_000));
        (world, [greeting, slow, newer], (large, registered))
    };
    let (mut world, _, (large, registered)) = set_up();
    let mut turns = 0;
    while !world.reader(large).endings.contains_key(&registered) {
        world.turn();
        turns += 1;
    }
    // In one of them the large step stands alone.
    let mut waited = 0;
    for before in 0..turns {
        let (mut world, [greeting, slow, newer], _) = set_up();
        (0..before).for_each(|_| world.turn());
        world.wait(3_000);
        world.say(greeting, &hello("g", "default", &nothing(), None, None));
        world.say(slow, &ping[5..]);
        world.register(newer, &["f"]);
        let ready = world.ready(newer);
        world.turn();
        waited += usize::from(world.reader(slow).pongs == 0);
        // Time passes, and what waits is not read.
        world.wait(3_000);
        world.settle();
        for link in [greeting, slow, newer] {
            assert_eq!(world.goodbye(link), None, "after {before} turns");
        }
        assert!(world.reader(greeting).welcome.is_some());
        assert_eq!(world.reader(slow).pongs, 1);
        assert!(world.reader(newer).endings.contains_key(&ready));
        let limited = world.engine.stats().limited;
        assert!(!limited.contains_key("ready-timeout"), "{limited:?}");
    }
    assert!(waited > 0);
}

#[test]
fn the_deaths_of_large_workers_have_a_turn_each_and_no_call_goes_to_a_dead_provider() {
    for (code, break_off) in [("eof", false), ("reset", true)] {
        let mut world = paced();
        let caller = join_from(&mut world, 1, "c");
        let large: Vec<usize> = (0..5)
            .map(|host| join_from(&mut world, 10 + host, "l"))
            .collect();
        for link in &large {
            register_all(&mut world, *link, &many(6_000));
            world.settle();
        }
        for link in &large {
            if break_off {
                world.reset(*link);
            } else {
                world.eof(*link);
            }
        }
        let dead = |world: &World| world.engine.stats().closed.get(code).copied().unwrap_or(0);
        let mut seen = vec![0, dead(&world)];
        while dead(&world) < 5 {
            let call = world.call(caller, "f0", b"", CallOptions::default());
            world.turn();
            seen.push(dead(&world));
            if let Some(CallEnding::Failure(failure)) = world.call_ending(caller, call) {
                assert_eq!(failure.code, "no_such_function");
            }
            assert!(seen.len() < 20);
        }
        assert!(seen.windows(2).all(|it| it[1] - it[0] <= 1), "{seen:?}");
        world.settle();
        assert_eq!(world.engine.stats().functions, 0);
        for link in &large {
            assert_eq!(world.reader(*link).invocations().count(), 0, "{code}");
        }
    }
}

#[test]
fn more_connections_buy_no_more_of_a_contended_engine() {
    let mut world = paced();
    // Both ask for much more than a turn has; one with fifty connections.
    let many_links: Vec<usize> = (0..50).map(|_| join_from(&mut world, 1, "m")).collect();
    let single = join_from(&mut world, 2, "s");
    let pings = Ping::default().to_frame().repeat(20_000);
    for _ in 0..40 {
        for link in many_links.iter().chain([&single]) {
            if world.links[*link].up.is_empty() {
                world.say(*link, &pings);
            }
        }
        world.turn();
    }
    let of_many: u64 = many_links.iter().map(|it| world.reader(*it).pongs).sum();
    let of_one = world.reader(single).pongs;
    let ratio = of_many as f64 / of_one as f64;
    assert!((0.7..1.4).contains(&ratio), "{of_many} against {of_one}");
}

#[test]
fn a_principal_has_as_much_of_a_contended_engine_as_its_weight_says_also_after_a_reload() {
    let mut world = paced();
    let weighted = |name, weight| Principal {
        weight,
        tier: 0,
        ..principal(name, Rights::everything())
    };
    let pings = Ping::default().to_frame().repeat(20_000);
    rights::admit(&mut world, vec![weighted("a", 3), weighted("b", 1)]);
    let links = ["a", "b"].map(|it| rights::join(&mut world, it, it, &nothing()));
    for weights in [[3, 1], [1, 4]] {
        let [a, b] = weights;
        rights::admit(&mut world, vec![weighted("a", a), weighted("b", b)]);
        let before = links.map(|it| world.reader(it).pongs);
        for _ in 0..40 {
            for link in links {
                if world.links[link].up.is_empty() {
                    world.say(link, &pings);
                }
            }
            world.turn();
        }
        let [of_a, of_b] = [0, 1].map(|it| world.reader(links[it]).pongs - before[it]);
        let ratio = of_a as f64 / of_b as f64 / (f64::from(a) / f64::from(b));
        assert!(
            (0.7..1.4).contains(&ratio),
            "{weights:?}: {of_a} and {of_b}"
        );
        world.settle();
    }
}
