//! The work that one connection may cause in a second. A connection that asks for more is read more slowly,
//! and no other.

use std::collections::{BTreeMap, BTreeSet};

use callboard::limits::Limits;
use callboard::protocol::{
    BindingEntry, BindingKey, Changes, Emit, HEADER_LEN, MAX_ELEMENTS, Register, Snapshot, Text,
    Unbind,
};

use crate::reader::{Event, Reader};
use crate::rng::{Rng, seeds, watched};
use crate::setup::{functions, many, nothing, register_all};
use crate::turn::Budgets;
use crate::world::{World, hello, plain};

#[test]
fn a_worker_that_changes_the_board_too_fast_is_slowed_and_no_other_is() {
    let mut world = World::new(Limits {
        changes_per_second: 100,
        ..Limits::default()
    });
    let watcher = world.join("w", &functions());
    let (fast, calm) = (
        world.join("fast", &nothing()),
        world.join("calm", &nothing()),
    );
    // In one virtual second it may make 100 steps on top of its burst of 100.
    for turn in 0..1000u32 {
        if world.links[fast].up.is_empty() {
            let name = format!("f{turn}");
            world.register(fast, &[&name]);
        }
        world.turn();
        world.wait(1);
    }
    let steps = world.reader(watcher).steps.len();
    assert!((150..=260).contains(&steps), "{steps} steps in a second");
    let id = world.register(calm, &["calm"]);
    world.turn();
    assert!(world.ending(calm, id).is_ok());
    // While it is not read its silence does not count, and in the end all of it is done.
    world.settle();
    assert_eq!(world.goodbye(fast), None);
}

#[test]
fn one_batch_is_one_step_of_the_budget() {
    let mut world = World::new(Limits {
        changes_per_second: 2,
        ..Limits::default()
    });
    let worker = world.join("p", &nothing());
    let names: Vec<String> = (0..1000).map(|index| format!("f{index}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    world.register(worker, &names);
    world.turn();
    assert!(world.engine.wants_read(world.links[worker].id));
}

/// Something that makes work, said once more by `link`; `names` are those of functions.
type Busy = fn(world: &mut World, link: usize, names: &[&str]);

fn bind(world: &mut World, link: usize, names: &[&str]) {
    let entry = |name| BindingEntry {
        event: Text("e"),
        function: Text(name),
        ..BindingEntry::default()
    };
    world.bind(link, names.iter().copied().map(entry).collect());
}

fn unbind(world: &mut World, link: usize, names: &[&str]) {
    let key = |name| BindingKey {
        event: Text("e"),
        function: Text(name),
        ..BindingKey::default()
    };
    let unbind = Unbind {
        id: world.request(link),
        bindings: names.iter().copied().map(key).collect(),
        ..Unbind::default()
    };
    world.say(link, &unbind.to_frame());
}

fn emit(world: &mut World, link: usize) {
    let emit = Emit {
        event: Text("e"),
        ..Emit::default()
    };
    world.say(link, &emit.to_frame());
}

/// A request, and the units of work that it makes with 2,000 names.
const BUSY: [(&str, usize, Busy); 8] = [
    ("the same functions again", 10_000, |world, link, names| {
        world.register(link, names);
    }),
    ("a batch that is refused", 10_005, |world, link, names| {
        let refused = [names, &["engine::mine"]].concat();
        world.register(link, &refused);
    }),
    ("a batch without an end", 10_000, |world, link, names| {
        let frame = Register {
            id: 77,
            more: true,
            functions: names.iter().map(|name| plain(name)).collect(),
            ..Register::default()
        };
        world.say(link, &frame.to_frame());
    }),
    ("what nobody registered", 10_000, |world, link, names| {
        world.unregister(link, names);
    }),
    ("the same bindings again", 10_000, bind),
    ("what nobody bound", 10_000, unbind),
    ("an event that many hear", 4_000, |world, link, _| {
        emit(world, link);
    }),
    ("what nobody looks at", 10_000, |world, link, _| {
        let junk = vec![vec![0u8; 50_000]; 2];
        let body = rmp_serde::to_vec(&(50, world.request(link), junk)).unwrap();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        world.say(link, &[&length[..], &body].concat());
    }),
];

/// Units of work in a hundredth of a second of the engine.
const PERCENT: usize = 100_000;

#[test]
fn requests_that_make_much_work_are_slowed_whatever_comes_of_them() {
    for (what, units, say) in BUSY {
        let mut world = World::new(Limits {
            max_share: 1,
            ..Limits::default()
        });
        let (busy, calm) = (
            world.join("busy", &nothing()),
            world.join("calm", &nothing()),
        );
        let names = many(2_000);
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        bind(&mut world, calm, &names);
        world.contend();
        let mut said = 0;
        for _ in 0..1000 {
            if world.links[busy].up.is_empty() {
                say(&mut world, busy, &names);
                said += 1;
            }
            world.turn();
            world.wait(1);
        }
        // The burst, and what the second brought.
        let (made, least) = (said * units, 3 * PERCENT / 2);
        assert!((least..=9 * PERCENT / 4).contains(&made), "{what}: {made}");
        assert!(world.engine.stats().limited["max-share"] > 0, "{what}");
        let id = world.register(calm, &["calm"]);
        world.turn();
        assert!(world.ending(calm, id).is_ok());
        // It is slowed, not closed, and its silence meanwhile does not count.
        for _ in 0..10 {
            world.wait(1_000);
            world.turn();
        }
        assert_eq!(world.goodbye(busy), None, "{what}");
    }
}

#[test]
fn what_was_sent_at_once_is_slowed_as_what_comes_one_by_one() {
    const EVENTS: usize = 200;
    let mut world = World::paced(Limits {
        max_share: 1,
        ..Limits::default()
    });
    let (busy, calm) = (
        world.join("busy", &nothing()),
        world.join("calm", &nothing()),
    );
    let names = many(2_000);
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    bind(&mut world, calm, &names);
    world.settle();
    world.contend();
    for _ in 0..EVENTS {
        emit(&mut world, busy);
    }
    let ready = world.ready(busy);
    let casts = |world: &World| world.engine.stats().dropped["event_nobody"] as usize;
    for _ in 0..1000 {
        world.turn();
        world.wait(1);
    }
    // Two units each; all that was sent has arrived with the first read.
    assert!(world.links[busy].up.is_empty());
    let walked = casts(&world);
    assert!(walked <= 9 * PERCENT / 8, "{walked}");
    // All of it is done in the end, in the order in which it was said.
    for _ in 0..10_000 {
        if world.reader(busy).endings.contains_key(&ready) {
            break;
        }
        world.turn();
        world.wait(1);
    }
    assert!(world.ending(busy, ready).is_ok());
    assert_eq!(casts(&world), EVENTS * names.len());
    world.settle();
    assert!(world.engine.wants_read(world.links[busy].id));
}

#[test]
fn what_one_worker_may_have_is_within_the_burst() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &nothing());
    let all = many(Limits::default().max_functions as usize);
    let id = register_all(&mut world, worker, &all);
    let names: Vec<&str> = all.iter().map(|name| &**name).collect();
    for part in names.chunks(10_000) {
        bind(&mut world, worker, part);
    }
    // Each turn takes as much as a turn may have; no time passes.
    for _ in 0..100 {
        world.turn();
    }
    assert!(world.ending(worker, id).is_ok());
    assert!(world.engine.wants_read(world.links[worker].id));
    assert_eq!(world.engine.stats().limited.get("max-share"), None);
}

#[test]
fn a_newcomer_that_is_not_read_may_take_its_time_to_confirm() {
    let limits = Limits {
        max_share: 1,
        ready_timeout: 1_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let watcher = world.join("w", &functions());
    let older = world.join("p", &nothing());
    world.register(older, &["a", "b"]);
    world.turn();
    let steps = world.reader(watcher).steps.clone();
    let session = world.session(older);
    let newer = world.open(Reader::new(nothing()));
    let frame = hello("p", "default", &nothing(), Some(&session), None);
    world.say(newer, &frame);
    world.contend();
    // Three seconds' worth, the same one again and again; then it is not read for a while.
    world.register(newer, &vec!["a"; 60_000]);
    world.turn();
    world.register(newer, &["b"]);
    let ready = world.ready(newer);
    world.turn();
    assert!(!world.engine.wants_read(world.links[newer].id));
    world.wait(2_000);
    world.turn();
    assert_eq!(world.reader(watcher).steps, steps, "nothing has left");
    world.settle();
    assert!(world.ending(newer, ready).is_ok());
    assert_eq!(world.reader(watcher).steps, steps);
}

#[test]
fn a_list_that_no_request_may_have_ends_the_connection_unread() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &nothing());
    let more = u32::try_from(MAX_ELEMENTS + 1).unwrap();
    let list = [&[0x94, 1, 1, 0xc2, 0xdd][..], &more.to_be_bytes()].concat();
    let body = [list, vec![0x80; MAX_ELEMENTS + 1]].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    assert_eq!(length.len(), HEADER_LEN);
    world.say(worker, &[&length[..], &body].concat());
    world.turn();
    let (code, message, _) = world.reader(worker).goodbye.clone().unwrap();
    assert_eq!(code, "protocol_error");
    assert!(message.contains("more than 65536 elements"), "{message}");
}

#[test]
fn what_the_engine_alone_may_say_is_not_read() {
    // Nonsense follows the kind: it is not looked at.
    for (kind, name) in [(Snapshot::KIND, "SNAPSHOT"), (Changes::KIND, "CHANGES")] {
        let mut world = World::new(Limits::default());
        let worker = world.join("p", &nothing());
        world.say(worker, &[0, 0, 0, 3, 0x92, kind as u8, 0xa1]);
        world.turn();
        let (code, message, _) = world.reader(worker).goodbye.clone().unwrap();
        assert_eq!(code, "protocol_error");
        assert_eq!(message, format!("only the engine sends {name}"));
    }
}

/// Someone who asks for much, and what of it the engine owes an answer.
#[derive(Debug, Default)]
struct Asker {
    asked: Vec<u64>,
    /// What it provides when all of that is done.
    functions: BTreeSet<String>,
    left: bool,
}

impl Asker {
    /// One of the things that it does, small or far more than a turn may have.
    fn act(&mut self, world: &mut World, link: usize, rng: &mut Rng) {
        let count = [1, 4_100][rng.below(2)];
        let name = format!("of::{link}::{}", rng.below(3));
        match rng.below(5) {
            0 => {
                self.asked.push(world.register(link, &vec![&*name; count]));
                self.functions.insert(name);
            }
            1 if self.functions.contains(&name) => {
                self.asked
                    .push(world.unregister(link, &vec![&*name; count]));
                self.functions.remove(&name);
            }
            2 => (0..=rng.below(20)).for_each(|_| emit(world, link)),
            _ => self.asked.push(world.ready(link)),
        }
    }
}

#[test]
fn what_is_slowed_is_done_once_and_in_order_and_ends_are_seen() {
    for seed in watched(
        "what_is_slowed_is_done_once_and_in_order_and_ends_are_seen",
        seeds(0..30),
    ) {
        let mut rng = Rng::new(seed);
        let mut world = World::seeded(
            Limits {
                max_share: 1 + rng.below(2) as u64,
                changes_per_second: [0, 20, 1_000][rng.below(3)],
                // The tests of clocks are elsewhere.
                ping_after: 3_600_000,
                silence: 7_200_000,
                ..Limits::default()
            },
            seed,
        );
        let watcher = world.join("w", &functions());
        let binder = world.join("b", &nothing());
        let names = many(3_000);
        bind(
            &mut world,
            binder,
            &names.iter().map(|it| &**it).collect::<Vec<_>>(),
        );
        let links: Vec<usize> = (0..3).map(|_| world.join("p", &nothing())).collect();
        let mut askers: BTreeMap<usize, Asker> =
            links.iter().map(|&link| (link, Asker::default())).collect();
        for _ in 0..60 {
            let link = links[rng.below(links.len())];
            let asker = askers.get_mut(&link).expect("one of them");
            let all_arrived = world.links[link].up.is_empty();
            if asker.left {
                // Nothing comes from it any more.
            } else if all_arrived && rng.one_in(12) {
                asker.left = true;
                if rng.one_in(2) {
                    // What it said before is done, and answered, all the same.
                    world.eof(link);
                } else {
                    asker.asked.clear();
                    world.reset(link);
                }
            } else {
                asker.act(&mut world, link, &mut rng);
            }
            for &link in &links {
                world.arrive(link, [20, 5_000, usize::MAX][rng.below(3)]);
            }
            world.finish_turn(Budgets::ALL);
            for link in 0..world.links.len() {
                world.receive(link, usize::MAX);
            }
            world.wait([0, 1, 100][rng.below(3)]);
        }
        // All of it is over within the time that it may take, at a hundredth of the engine's time.
        for _ in 0..1_000 {
            world.turn();
            world.wait(100);
        }
        assert!(!world.engine.has_more(), "seed {seed}");
        let mut there = BTreeSet::new();
        for (&link, asker) in &askers {
            let ended = world.reader(link).events.iter().map(|event| match event {
                Event::Ended(id) => *id,
                other => panic!("seed {seed}: {other:?}"),
            });
            let ended: Vec<u64> = ended.collect();
            assert!(ended.starts_with(&asker.asked), "seed {seed}, link {link}");
            if !asker.left {
                assert_eq!(ended, asker.asked, "seed {seed}, link {link}");
                there.extend(asker.functions.iter().cloned());
                assert!(world.engine.wants_read(world.links[link].id), "seed {seed}");
            }
        }
        let seen = world.reader(watcher).view.functions.keys().cloned();
        assert_eq!(seen.collect::<BTreeSet<_>>(), there, "seed {seed}");
    }
}
