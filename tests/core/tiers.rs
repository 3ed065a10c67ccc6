//! Tiers: calls go to the lowest tier with a provider that has room, the board shows that of the lowest tier present, and
//! credentials say how low a worker may go.

use callboard::engine::{Principal, Rights};
use callboard::limits::Limits;
use callboard::protocol::{
    BindingEntry, CallOptions, Cast, Definition, Executed, Hello, HelloOptions, Register, Text,
    Watch,
};

use crate::calls::{failed, idempotent, invoked, waiting, within};
use crate::reader::{CallEnding, Reader, digest};
use crate::rights::{self, admit, ask, hello_of, principal};
use crate::rng::Rng;
use crate::setup::{code, everything, nothing};
use crate::world::World;

/// Joins with a tier and a capacity, and has its turn.
fn join(world: &mut World, tier: Option<u64>, capacity: u64) -> usize {
    let link = world.open(Reader::new(nothing()));
    world.say(link, &hello(tier, capacity, None));
    world.turn();
    link
}

fn hello(tier: Option<u64>, capacity: u64, session: Option<&[u8]>) -> Vec<u8> {
    let hello = Hello {
        versions: vec![1],
        name: Text("provider"),
        namespace: Text(""),
        ext: HelloOptions {
            watch: Some(Watch::default()),
            capacity: Some(capacity),
            tier,
            session: session.map(callboard::protocol::Bin),
            ..HelloOptions::default()
        },
    };
    hello.to_frame()
}

/// A provider of `f` whose definition has its tier as description.
fn provider(world: &mut World, tier: u64, capacity: u64) -> usize {
    let link = join(world, Some(tier), capacity);
    register(world, link, &format!("tier {tier}"), false);
    world.turn();
    link
}

fn register(world: &mut World, link: usize, description: &str, exclusive: bool) -> u64 {
    let id = world.request(link);
    let register = Register {
        id,
        functions: vec![definition(description, exclusive)],
        ..Register::default()
    };
    world.say(link, &register.to_frame());
    id
}

fn call(world: &mut World, caller: usize, options: CallOptions<'_>) -> u64 {
    let call = world.call(caller, "f", b"", options);
    world.turn();
    call
}

/// How many INVOKEs each has had.
fn spread<const N: usize>(world: &World, providers: [usize; N]) -> [usize; N] {
    providers.map(|link| invoked(world, link).len())
}

/// Whether the board that a watcher has shows `f` with this description.
fn shows(world: &World, watcher: usize, description: &str) -> bool {
    world.reader(watcher).view.functions["f"] == digest(&definition(description, false))
}

fn definition(description: &str, exclusive: bool) -> Definition<'_> {
    Definition {
        name: Text("f"),
        description: Text(description),
        exclusive,
        ..Definition::default()
    }
}

fn answer_all(world: &mut World, provider: usize) {
    for id in invoked(world, provider) {
        world.answer(provider, id, b"");
    }
    world.turn();
}

#[test]
fn calls_go_to_the_lowest_tier_with_room_and_come_back() {
    let mut world = World::new(Limits::default());
    // In no order.
    let (second, first, third) = (
        provider(&mut world, 1, 2),
        provider(&mut world, 0, 2),
        provider(&mut world, u64::MAX, 2),
    );
    let caller = world.join("c", &nothing());
    let expected = [
        [1, 0, 0],
        [2, 0, 0],
        [2, 1, 0],
        [2, 2, 0],
        [2, 2, 1],
        [2, 2, 2],
    ];
    for expected in expected {
        call(&mut world, caller, CallOptions::default());
        assert_eq!(spread(&world, [first, second, third]), expected);
    }
    let refused = call(&mut world, caller, CallOptions::default());
    assert_eq!(
        failed(&world, caller, refused),
        ("overloaded", Executed::No)
    );
    // Room in the first one, and it has the next call again.
    answer_all(&mut world, first);
    call(&mut world, caller, CallOptions::default());
    assert_eq!(spread(&world, [first, second, third]), [3, 2, 2]);
}

#[test]
fn a_standby_takes_over_in_the_turn_in_which_the_primary_dies_and_gives_back_and_the_board_is_still()
 {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &crate::setup::functions());
    let primary = join(&mut world, None, 10);
    register(&mut world, primary, "the same", false);
    let standby = join(&mut world, Some(1), 10);
    register(&mut world, standby, "the same", false);
    world.turn();
    let caller = world.join("c", &nothing());
    let steps = world.reader(watcher).steps.len();
    let tried_again = call(&mut world, caller, idempotent());
    assert_eq!(spread(&world, [primary, standby]), [1, 0]);
    world.reset(primary);
    let late = world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    assert_eq!(
        invoked(&world, standby).len(),
        2,
        "in the turn of its death"
    );
    answer_all(&mut world, standby);
    for call in [tried_again, late] {
        assert!(matches!(
            world.call_ending(caller, call),
            Some(CallEnding::Result(_))
        ));
    }
    let primary = join(&mut world, Some(0), 10);
    register(&mut world, primary, "the same", false);
    world.turn();
    call(&mut world, caller, CallOptions::default());
    assert_eq!(spread(&world, [primary, standby]), [1, 2]);
    assert_eq!(world.reader(watcher).steps.len(), steps, "no change");
}

#[test]
fn a_provider_that_holds_a_call_past_its_deadline_is_passed_over_for_the_next_tier() {
    let mut world = World::new(Limits::default());
    let hung = provider(&mut world, 0, 100);
    let caller = world.join("c", &nothing());
    call(&mut world, caller, within(50));
    let standby = provider(&mut world, 3, 2);
    world.wait(50);
    world.turn();
    for expected in [[1, 1], [1, 2], [2, 2]] {
        call(&mut world, caller, CallOptions::default());
        assert_eq!(spread(&world, [hung, standby]), expected);
    }
    answer_all(&mut world, hung);
    call(&mut world, caller, CallOptions::default());
    assert_eq!(spread(&world, [hung, standby]), [3, 2]);
}

#[test]
fn of_many_only_those_of_the_lowest_tier_are_sampled() {
    let mut world = World::new(Limits::default());
    let standbys: Vec<usize> = (0..40).map(|_| provider(&mut world, 1, 2)).collect();
    let primaries: Vec<usize> = (0..40).map(|_| provider(&mut world, 0, 2)).collect();
    let caller = world.join("c", &nothing());
    let sum = |world: &World, links: &[usize]| -> usize {
        links.iter().map(|&link| invoked(world, link).len()).sum()
    };
    for calls in 1..=80 {
        call(&mut world, caller, CallOptions::default());
        assert_eq!(
            (sum(&world, &primaries), sum(&world, &standbys)),
            (calls, 0)
        );
    }
    call(&mut world, caller, CallOptions::default());
    assert_eq!(sum(&world, &standbys), 1);
}

#[test]
fn the_board_shows_the_longest_standing_provider_of_the_lowest_tier_present() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let caller = world.join("c", &nothing());
    let standby = provider(&mut world, 2, 1);
    assert!(shows(&world, watcher, "tier 2"));
    let primary = provider(&mut world, 0, 1);
    assert!(shows(&world, watcher, "tier 0"));
    let steps = world.reader(watcher).steps.len();
    // Neither one that comes later nor one between them, nor that the primary fills up, shows.
    let (between, late) = (join(&mut world, Some(1), 1), join(&mut world, None, 1));
    register(&mut world, between, "between", false);
    register(&mut world, late, "late", false);
    for _ in 0..4 {
        call(&mut world, caller, CallOptions::default());
    }
    assert_eq!(spread(&world, [primary, late, between, standby]), [1; 4]);
    let heard = |world: &World| world.reader(watcher).steps.len() - steps;
    assert!(shows(&world, watcher, "tier 0"));
    assert_eq!(heard(&world), 1, "of the two workers");
    for (gone, expected) in [(primary, "late"), (late, "between"), (between, "tier 2")] {
        world.reset(gone);
        world.turn();
        assert!(shows(&world, watcher, expected));
    }
}

#[test]
fn an_exclusive_function_has_one_provider_over_all_tiers() {
    let mut world = World::new(Limits::default());
    let (owner, other) = (join(&mut world, Some(1), 1), join(&mut world, Some(0), 1));
    register(&mut world, owner, "", true);
    let refused = register(&mut world, other, "", false);
    world.turn();
    assert_eq!(code(&world.reader(other).endings[&refused]), "exclusive");
}

#[test]
fn a_parked_call_goes_to_the_lowest_tier_that_has_room_when_it_goes() {
    let mut world = World::new(Limits::default());
    let standby = provider(&mut world, 1, 1);
    let primary = provider(&mut world, 0, 1);
    let caller = world.join("c", &nothing());
    for _ in 0..2 {
        call(&mut world, caller, CallOptions::default());
    }
    call(&mut world, caller, waiting());
    assert_eq!(spread(&world, [primary, standby]), [1, 1]);
    // A third one, of the middle, has room and finds the call.
    let between = provider(&mut world, 1, 1);
    assert_eq!(spread(&world, [primary, standby, between]), [1, 1, 1]);
    call(&mut world, caller, waiting());
    // The standby is free first, so the call is there.
    answer_all(&mut world, standby);
    assert_eq!(spread(&world, [primary, standby, between]), [1, 2, 1]);
}

/// More calls are parked than go out at once. The standby is free before the rest has gone to the primary, which has room
/// for all.
#[test]
fn a_standby_takes_no_parked_call_while_the_primary_still_takes_them() {
    const PARKED: usize = 400;
    let mut world = World::paced(Limits::default());
    let primary = join(&mut world, Some(0), 1_000);
    let standby = provider(&mut world, 1, 1);
    let caller = world.join("c", &nothing());
    for _ in 0..PARKED {
        world.call(caller, "f", b"", waiting());
    }
    world.turn();
    assert_eq!(spread(&world, [primary, standby]), [0, 1]);
    register(&mut world, primary, "", false);
    let first = invoked(&world, standby)[0];
    world.answer(standby, first, b"");
    world.turn();
    assert_eq!(spread(&world, [primary, standby]), [PARKED - 1, 1]);
}

#[test]
fn a_pinned_call_goes_to_its_worker_whatever_its_tier() {
    let mut world = World::new(Limits::default());
    let primary = provider(&mut world, 0, 1);
    let standby = provider(&mut world, 7, 1);
    let caller = world.join("c", &nothing());
    let worker = world.reader(standby).welcome.as_ref().unwrap().worker;
    let pinned = CallOptions {
        worker: Some(worker),
        ..CallOptions::default()
    };
    call(&mut world, caller, pinned);
    assert_eq!(spread(&world, [primary, standby]), [0, 1]);
}

#[test]
fn a_cast_goes_to_the_lowest_tier_and_an_event_for_all_to_all() {
    let mut world = World::new(Limits::default());
    let standby = provider(&mut world, 1, 10);
    let primary = provider(&mut world, 0, 10);
    let source = world.join("s", &nothing());
    let cast = Cast {
        function: Text("f"),
        ..Cast::default()
    };
    world.say(source, &cast.to_frame());
    world.turn();
    let casts = |world: &World| [primary, standby].map(|it| world.reader(it).casts.len());
    assert_eq!(casts(&world), [1, 0]);
    for (event, deliver_all, expected) in [("one", false, [2, 0]), ("all", true, [3, 1])] {
        let binding = BindingEntry {
            event: Text(event),
            function: Text("f"),
            deliver_all,
            ..BindingEntry::default()
        };
        world.bind(standby, vec![binding]);
        rights::emit(&mut world, source, 0, event);
        world.turn();
        world.turn();
        rights::emit(&mut world, source, 0, event);
        world.turn();
        let now = casts(&world);
        assert!(now[0] > 1, "{event}");
        assert_eq!(now[1] > 0, expected[1] > 0, "{event}: {now:?}");
    }
}

#[test]
fn a_takeover_with_another_tier_moves_what_the_worker_provides() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let caller = world.join("c", &nothing());
    let worker = provider(&mut world, 1, 10);
    let other = provider(&mut world, 0, 10);
    assert!(shows(&world, watcher, "tier 0"));
    let mut older = worker;
    // In tier 0 it comes before the other, as it was there first.
    for (tier, share, expected) in [(0, 1, "tier 1"), (3, 0, "tier 0"), (0, 1, "tier 1")] {
        let session = world.session(older);
        let newer = world.open(Reader::new(nothing()));
        world.say(newer, &hello(Some(tier), 10, Some(&session)));
        world.turn();
        assert!(world.reader(newer).welcome.as_ref().unwrap().taken_over);
        assert!(shows(&world, watcher, expected), "{tier}");
        for _ in 0..2 {
            call(&mut world, caller, CallOptions::default());
        }
        assert_eq!(invoked(&world, newer).len(), share, "{tier}");
        // They are idle again.
        for link in [newer, other] {
            answer_all(&mut world, link);
        }
        older = newer;
    }
    world.reset(other);
    world.turn();
    assert!(shows(&world, watcher, "tier 1"), "its own definition");
}

fn with_tier(name: &str, tier: u64) -> Principal {
    Principal {
        tier,
        ..principal(name, Rights::everything())
    }
}

fn join_as(world: &mut World, name: &str, tier: Option<u64>) -> usize {
    let link = world.open(Reader::new(nothing()));
    let ext = HelloOptions {
        tier,
        ..HelloOptions::default()
    };
    world.say(link, &hello_of(name, name, &nothing(), ext));
    world.turn();
    link
}

/// The tiers of the workers that provide something, in the order in which they came.
fn listed(world: &mut World, asker: usize) -> Vec<u64> {
    let arguments = rmpv::Value::Map(vec![]);
    let page = ask(world, asker, "engine::workers::list", &arguments).unwrap();
    let rows = page["entries"].as_array().unwrap();
    rows.iter()
        .map(|row| row["tier"].as_u64().unwrap_or(0))
        .collect()
}

#[test]
fn credentials_say_how_low_a_worker_may_go_and_lists_tell_its_tier() {
    let mut world = World::new(Limits::default());
    admit(
        &mut world,
        vec![with_tier("god", 0), with_tier("canary", 2)],
    );
    let god = join_as(&mut world, "god", None);
    for (tier, welcome) in [
        (Some(0), false),
        (Some(1), false),
        (Some(2), true),
        (Some(9), true),
        (None, true),
    ] {
        let link = join_as(&mut world, "canary", tier);
        assert_eq!(world.reader(link).welcome.is_some(), welcome, "{tier:?}");
        if welcome {
            register(&mut world, link, "", false);
            continue;
        }
        assert_eq!(world.goodbye(link), Some("unauthorized"));
        let (_, message, _) = world.reader(link).goodbye.clone().unwrap();
        let expected = format!(
            "principal `canary` may ask for tier 2 or higher, not {}",
            tier.unwrap()
        );
        assert_eq!(message, expected);
    }
    register(&mut world, god, "", false);
    world.turn();
    assert_eq!(listed(&mut world, god), [0, 2, 9, 2]);
    let arguments = rmpv::Value::Map(vec![]);
    let page = ask(&mut world, god, "engine::functions::list", &arguments).unwrap();
    let providers = page["entries"][0]["providers"].as_array().unwrap();
    let tiers: Vec<_> = providers.iter().map(|it| it["tier"].as_u64()).collect();
    assert_eq!(tiers, [None, Some(2), Some(2), Some(9)]);
}

#[test]
fn a_reload_moves_who_named_no_tier_and_closes_who_asked_for_one_that_is_now_too_low() {
    let mut world = World::new(Limits::default());
    admit(&mut world, vec![with_tier("god", 0), with_tier("x", 0)]);
    let watcher = rights::join(&mut world, "god", "w", &everything());
    let [implied, asked, high] = [None, Some(0), Some(5)].map(|tier| {
        let link = join_as(&mut world, "x", tier);
        register(&mut world, link, &format!("{tier:?}"), false);
        world.turn();
        link
    });
    let other = join_as(&mut world, "god", Some(1));
    register(&mut world, other, "other", false);
    world.turn();
    assert!(shows(&world, watcher, "None"));
    admit(&mut world, vec![with_tier("god", 0), with_tier("x", 2)]);
    world.settle();
    assert_eq!(world.goodbye(asked), Some("unauthorized"));
    assert_eq!(world.goodbye(implied), None);
    assert_eq!(world.goodbye(high), None);
    assert_eq!(listed(&mut world, watcher), [2, 5, 1]);
    assert!(shows(&world, watcher, "other"));
    admit(&mut world, vec![with_tier("god", 0), with_tier("x", 0)]);
    world.settle();
    assert_eq!(listed(&mut world, watcher), [0, 5, 1]);
    assert!(shows(&world, watcher, "None"));
}

/// What the model knows of a provider.
struct Known {
    link: usize,
    tier: u64,
    capacity: usize,
    holds: Vec<u64>,
}

/// Whatever comes, goes and answers: each call goes to a provider of the lowest tier in which one has room, and to none if
/// none has.
#[test]
fn each_call_goes_to_the_lowest_tier_with_room_whatever_comes_and_goes() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(Limits::default());
        let caller = world.join("c", &nothing());
        let mut known: Vec<Known> = Vec::new();
        for _ in 0..150 {
            match rng.below(10) {
                0 | 1 if known.len() < 25 => {
                    let (tier, capacity) = (rng.below(4) as u64, 1 + rng.below(4));
                    let link = provider(&mut world, tier, capacity as u64);
                    known.push(Known {
                        link,
                        tier,
                        capacity,
                        holds: Vec::new(),
                    });
                }
                2 if !known.is_empty() && rng.below(3) == 0 => {
                    let gone = known.swap_remove(rng.below(known.len()));
                    world.reset(gone.link);
                    world.turn();
                }
                3..=5 if !known.is_empty() => {
                    let at = rng.below(known.len());
                    let provider = &mut known[at];
                    if let Some(id) = provider.holds.pop() {
                        world.answer(provider.link, id, b"");
                        world.turn();
                    }
                }
                _ => {
                    let before: Vec<usize> = known
                        .iter()
                        .map(|it| invoked(&world, it.link).len())
                        .collect();
                    let call = call(&mut world, caller, CallOptions::default());
                    let with_room = known.iter().filter(|it| it.holds.len() < it.capacity);
                    let lowest = with_room.map(|it| it.tier).min();
                    let went = known.iter_mut().zip(before).find_map(|(it, before)| {
                        let invoked = invoked(&world, it.link);
                        it.holds.extend(&invoked[before..]);
                        (invoked.len() > before).then_some(it.tier)
                    });
                    assert_eq!(went, lowest, "seed {seed}");
                    if lowest.is_none() {
                        let expected = if known.is_empty() {
                            "no_such_function"
                        } else {
                            "overloaded"
                        };
                        assert_eq!(failed(&world, caller, call).0, expected);
                    }
                }
            }
        }
    }
}
