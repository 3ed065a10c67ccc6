//! Numbers at which the engine goes another way: what holds below holds at them and above.

use callboard::engine::{Rights, Verb};
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, BindingEntry, CallOptions, Definition, Hello, Ping, Register, Text,
};

use crate::calls::{invoked, waiting, within};
use crate::reader::{Reader, WatchFilter};
use crate::rights::{self, admit, ask, principal, with_one};
use crate::setup::{code, everything, functions, many, nothing, register_all};
use crate::turn::Budgets;
use crate::world::{World, hello, plain};

fn unhurried() -> Limits {
    Limits {
        changes_per_second: 0,
        max_share: 0,
        ..Limits::default()
    }
}

/// The value as a frame.
fn frame(value: &rmpv::Value) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, value).unwrap();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// A HELLO with so many keys that no engine knows.
fn hello_with_keys(keys: usize) -> Vec<u8> {
    let keys = (0..keys).map(|key| (format!("x{key}").into(), key.into()));
    let name = rmpv::Value::from("w");
    let versions = rmpv::Value::Array(vec![1.into()]);
    let fields = vec![
        Hello::KIND.into(),
        versions,
        name,
        "".into(),
        rmpv::Value::Map(keys.collect()),
    ];
    frame(&rmpv::Value::Array(fields))
}

#[test]
fn a_hello_may_have_up_to_64_keys() {
    let mut world = World::new(Limits::default());
    for keys in [0, 7, 8, 9, 10, 63, 64, 65] {
        let link = world.open(Reader::new(functions()));
        world.say(link, &hello_with_keys(keys));
        world.turn();
        let is_welcome = world.reader(link).welcome.is_some();
        assert_eq!(is_welcome, keys <= 64, "{keys} {:?}", world.goodbye(link));
        let told = (keys > 64).then_some("protocol_error");
        assert_eq!(world.goodbye(link), told, "{keys}");
    }
}

#[test]
fn a_sender_is_never_late_whose_frames_follow_each_other() {
    let mut world = World::new(Limits::default());
    let link = world.join("w", &nothing());
    let ping = Ping::default().to_frame();
    // Each read ends within another frame than the one before: one end and one beginning.
    world.say(link, &ping[..3]);
    for _ in 0..20 {
        world.turn();
        world.wait(1000);
        world.say(link, &ping[3..]);
        world.say(link, &ping[..3]);
    }
    world.turn();
    assert_eq!(world.goodbye(link), None);
    assert_eq!(world.reader(link).pongs, 20);
    // And one that does not go on is closed all the same.
    world.wait(5000);
    world.turn();
    assert_eq!(world.goodbye(link), Some("frame_timeout"));
}

/// Two functions with these descriptions.
fn described(texts: &[String; 2]) -> Vec<Definition<'_>> {
    let named = ["a", "b"].into_iter().zip(texts);
    named
        .map(|(name, text)| Definition {
            description: Text(text),
            ..plain(name)
        })
        .collect()
}

#[test]
fn a_step_of_up_to_64_kib_is_one_frame_and_a_larger_one_has_two() {
    let entries = |descriptions: [usize; 2]| {
        let texts = descriptions.map(|bytes| "x".repeat(bytes));
        let with = Register {
            functions: described(&texts),
            ..Register::default()
        };
        with.to_frame().len() - Register::default().to_frame().len()
    };
    let full = 64 * 1024;
    let second = (0..full).find(|bytes| entries([32_000, 30_000 + bytes]) == full);
    let second = 30_000 + second.unwrap();
    for (bytes, frames) in [(second - 1, 1), (second, 1), (second + 1, 2)] {
        let mut world = World::new(Limits {
            max_entry: 64_000,
            ..unhurried()
        });
        let watcher = world.join("w", &functions());
        let worker = world.join("p", &nothing());
        let texts = [32_000, bytes].map(|bytes| "x".repeat(bytes));
        world.register_definitions(worker, described(&texts));
        world.settle();
        let reader = world.reader(watcher);
        assert_eq!(
            (reader.view.functions.len(), reader.change_frames),
            (2, frames)
        );
        assert_eq!(reader.steps.len(), 1);
        // And so a snapshot of it, shared or not.
        for filter in [functions(), WatchFilter::new(&["a", "b"], &[])] {
            let joiner = world.join("j", &filter);
            world.settle();
            let reader = world.reader(joiner);
            assert_eq!(
                (reader.view.functions.len(), reader.snapshot_frames),
                (2, frames)
            );
        }
    }
}

#[test]
fn entries_may_take_exactly_what_a_limit_allows() {
    let texts = ["x".repeat(100), "y".repeat(100)];
    let with = Register {
        functions: described(&texts),
        ..Register::default()
    };
    let bytes = (with.to_frame().len() - Register::default().to_frame().len()) as u64;
    let of_worker: fn(&mut Limits, u64) = |limits, bytes| limits.max_metadata = bytes;
    let of_namespace = |limits: &mut Limits, bytes| limits.max_namespace_metadata = bytes;
    for set in [of_worker, of_namespace] {
        for (limit, fits) in [(bytes, true), (bytes - 1, false)] {
            let mut limits = unhurried();
            set(&mut limits, limit);
            let mut world = World::new(limits);
            let worker = world.join("p", &nothing());
            let id = world.register_definitions(worker, described(&texts));
            world.turn();
            assert_eq!(world.ending(worker, id).is_ok(), fits, "{limit}");
        }
    }
}

#[test]
fn arguments_that_are_kept_may_take_exactly_what_a_limit_allows() {
    let of_all: fn(&mut Limits) = |limits| limits.max_retained = 1000;
    let of_each = |limits: &mut Limits| limits.max_retained_each = 1000;
    for set in [of_all, of_each] {
        for (second, fits) in [(100, true), (101, false)] {
            let mut limits = unhurried();
            set(&mut limits);
            let mut world = World::new(limits);
            let caller = world.join("c", &nothing());
            world.call(caller, "nobody", &[0; 900], waiting());
            let call = world.call(caller, "nobody", &vec![0; second], waiting());
            world.turn();
            assert_eq!(world.call_ending(caller, call).is_none(), fits, "{second}");
        }
    }
}

#[test]
fn arguments_leave_a_kibibyte_of_a_frame_for_what_the_engine_adds() {
    for (headers, fits) in [(98_976, true), (98_977, false)] {
        let mut world = World::new(Limits {
            max_frame: 200_000,
            max_payload: 100_000,
            max_entry: 10_000,
            ..unhurried()
        });
        let provider = world.provider(&["f"], 10);
        let caller = world.join("c", &nothing());
        let headers = vec![0; headers];
        let options = CallOptions {
            headers: Bin(&headers),
            ..CallOptions::default()
        };
        world.call(caller, "f", &vec![0; 100_000], options);
        world.turn();
        assert_eq!(invoked(&world, provider).len(), usize::from(fits));
    }
}

#[test]
fn a_write_has_no_further_frame_after_256_kib() {
    let mut world = World::new(unhurried());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    world.links[caller].capacity = 0;
    // A revision between the answers keeps them apart.
    let mut calls = Vec::new();
    for (round, name) in ["a", "b", "c"].into_iter().enumerate() {
        calls.push(world.call(caller, "f", b"", CallOptions::default()));
        world.turn();
        world.answer(
            provider,
            invoked(&world, provider)[round],
            &vec![0; 200_000],
        );
        world.turn();
        world.register(provider, &[name]);
        world.turn();
    }
    let before = world.links[caller].writes;
    world.links[caller].capacity = usize::MAX;
    world.receive(caller, usize::MAX);
    world.settle();
    for call in calls {
        assert!(world.call_ending(caller, call).is_some());
    }
    assert_eq!(world.links[caller].writes - before, 2);
}

#[test]
fn one_binding_is_refused_like_many_when_the_namespace_is_full() {
    let mut world = World::new(Limits {
        max_namespace_bindings: 2,
        ..unhurried()
    });
    let binding = |event| BindingEntry {
        event: Text(event),
        function: Text("f"),
        ..BindingEntry::default()
    };
    let [full, one] = ["full", "one"].map(|name| world.join(name, &nothing()));
    let id = world.bind(full, vec![binding("a"), binding("b")]);
    world.turn();
    assert!(world.ending(full, id).is_ok());
    let id = world.bind(one, vec![binding("c")]);
    world.turn();
    assert_eq!(code(world.ending(one, id)), "overloaded");
    // A binding that is there already takes no more room.
    let id = world.bind(full, vec![binding("a")]);
    world.turn();
    assert!(world.ending(full, id).is_ok());
}

#[test]
fn a_provider_is_called_while_no_more_waits_for_it_than_the_limit() {
    // The bytes of one INVOKE, which its provider does not read.
    let waiting_bytes = |max_outbound: u64| {
        let mut world = World::new(Limits {
            max_outbound,
            ..unhurried()
        });
        let provider = world.provider(&["f"], 10);
        let caller = world.join("c", &nothing());
        world.links[provider].capacity = 0;
        let mut call = || {
            let call = world.call(caller, "f", &vec![0; 20_000], CallOptions::default());
            world.turn();
            call
        };
        call();
        let second = call();
        let is_refused = world.call_ending(caller, second).is_some();
        (world.engine.stats().outbound_bytes, is_refused)
    };
    let (both, is_refused) = waiting_bytes(1 << 20);
    assert!(!is_refused);
    let one = both / 2;
    assert_eq!(waiting_bytes(one), (both, false));
    assert_eq!(waiting_bytes(one - 1), (one, true));
}

#[test]
fn the_workers_of_a_binding_are_listed_in_a_quarter_of_a_payload() {
    let mut world = World::new(Limits {
        max_payload: 3_600,
        ..unhurried()
    });
    let mut bind = || {
        let link = world.join("w", &nothing());
        let binding = BindingEntry {
            event: Text("e"),
            function: Text("f"),
            ..BindingEntry::default()
        };
        world.bind(link, vec![binding]);
        world.turn();
        link
    };
    // Nine bytes each.
    let links: Vec<usize> = (0..103).map(|_| bind()).collect();
    let page = ask(
        &mut world,
        links[0],
        "engine::bindings::list",
        &rmpv::Value::Nil,
    );
    let row = page.unwrap()["entries"][0].clone();
    assert_eq!(row["workers"].as_array().unwrap().len(), 100);
    assert_eq!(row["more_workers"].as_u64(), Some(3));
}

#[test]
fn a_snapshot_shows_boards_of_any_number_of_pages_and_of_any_gap_in_them() {
    for count in [255, 256, 257, 511, 512, 513, 800] {
        let mut world = World::new(unhurried());
        let worker = world.join("p", &nothing());
        let all = many(count);
        register_all(&mut world, worker, &all);
        world.turn();
        for gap in [0..0, 255..256, 255..257, 256..512, 0..256, 0..512] {
            let gap: Vec<&str> = all[gap.start.min(count)..gap.end.min(count)]
                .iter()
                .map(|it| &**it)
                .collect();
            world.unregister(worker, &gap);
            world.turn();
            let joiner = world.join("j", &functions());
            world.settle();
            let seen = world.reader(joiner).view.functions.len();
            assert_eq!(seen, count - gap.len(), "{count} without {}", gap.len());
            world.reset(joiner);
            world.register(worker, &gap);
            world.turn();
        }
    }
}

#[test]
fn a_snapshot_of_many_small_pages_takes_several_writes_and_leaves_nothing_out() {
    const PAGE: usize = 256;
    let mut world = World::new(unhurried());
    let worker = world.join("p", &nothing());
    let all = many(67 * PAGE);
    register_all(&mut world, worker, &all);
    world.turn();
    // One function of each page stays: each is a frame of its own, and a slice of a write.
    let is_first = |index: usize| index.is_multiple_of(PAGE);
    let others = (0..all.len()).filter(|index| !is_first(*index));
    let others: Vec<&str> = others.map(|index| &*all[index]).collect();
    world.unregister(worker, &others);
    world.turn();
    let mut pages = 67;
    for left in [67, 66, 65, 64, 63, 6, 5, 4, 3, 1] {
        let gone: Vec<&str> = (left..pages).map(|page| &*all[page * PAGE]).collect();
        world.unregister(worker, &gone);
        world.turn();
        pages = left;
        let joiner = world.join("j", &functions());
        world.settle();
        assert_eq!(world.reader(joiner).view.functions.len(), left);
    }
}

#[test]
fn among_any_number_of_providers_an_overdue_one_is_passed_over_and_a_free_one_found() {
    for count in [2, 15, 16, 17, 40] {
        let mut world = World::new(unhurried());
        let hung: Vec<usize> = (1..count).map(|_| world.provider(&["f"], 100)).collect();
        let caller = world.join("c", &nothing());
        for &link in &hung {
            let id = world.reader(link).welcome.as_ref().unwrap().worker;
            let pinned = CallOptions {
                worker: Some(id),
                ..within(10)
            };
            world.call(caller, "f", b"", pinned);
        }
        world.turn();
        world.wait(10);
        world.turn();
        let healthy = world.provider(&["f"], 50);
        for _ in 0..50 {
            world.call(caller, "f", b"", CallOptions::default());
            world.turn();
        }
        assert_eq!(invoked(&world, healthy).len(), 50, "{count} providers");
        // When it is full, better an overdue one than none.
        let call = world.call(caller, "f", b"", CallOptions::default());
        world.turn();
        assert_eq!(world.call_ending(caller, call), None, "{count} providers");
    }
}

#[test]
fn what_waits_under_any_number_of_names_is_served_also_what_was_given_up_and_made_again() {
    for count in [63, 64, 65, 66, 130] {
        let mut world = World::new(unhurried());
        let all = many(count);
        let all_names: Vec<&str> = all.iter().map(|it| &**it).collect();
        let provider = world.provider(&all_names, 1);
        let caller = world.join("c", &nothing());
        world.call(caller, all_names[0], b"", CallOptions::default());
        world.turn();
        let given_up: Vec<u64> = all_names
            .iter()
            .map(|name| world.call(caller, name, b"given up", waiting()))
            .collect();
        world.turn();
        for call in given_up {
            world.cancel(caller, call);
        }
        world.turn();
        // One more makes the engine look at what it noted.
        let calls: Vec<u64> = all_names
            .iter()
            .rev()
            .map(|name| world.call(caller, name, b"again", waiting()))
            .collect();
        world.turn();
        for _ in 0..=count {
            let id = *invoked(&world, provider).last().unwrap();
            world.answer(provider, id, b"");
            world.turn();
        }
        let ended = calls
            .iter()
            .filter(|it| world.call_ending(caller, **it).is_some());
        assert_eq!(ended.count(), count);
    }
}

#[test]
fn a_leaving_peer_may_send_4_mib_and_no_more() {
    const MOST: usize = 4 << 20;
    for pieces in [vec![MOST], vec![MOST - 1, 1], vec![MOST / 4; 4]] {
        let mut world = World::new(unhurried());
        let link = world.open(Reader::new(nothing()));
        world.say(link, b"\0\0\0\0");
        world.turn();
        assert_eq!(world.goodbye(link), Some("protocol_error"));
        for piece in pieces {
            world.say(link, &vec![0; piece]);
            world.turn();
        }
        assert!(world.links[link].open);
        world.say(link, &[0]);
        world.turn();
        assert!(!world.links[link].open);
    }
}

#[test]
fn no_call_waits_longer_than_a_day() {
    const DAY: u64 = 86_400_000;
    let mut world = World::new(unhurried());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    for timeout in [DAY - 1, DAY, DAY + 1, u64::MAX] {
        world.call(caller, "f", b"", within(timeout));
    }
    world.call(caller, "f", b"", CallOptions::default());
    world.turn();
    let told = world.reader(provider).invocations().map(|it| it.timeout_ms);
    assert_eq!(told.collect::<Vec<_>>(), [DAY - 1, DAY, DAY, DAY, 30_000]);
}

#[test]
fn a_page_has_a_thousand_rows_unless_others_are_asked_for_and_no_more_than_its_work_allows() {
    let mut world = World::new(Limits {
        max_payload: 8 << 20,
        max_frame: 9 << 20,
        max_outbound: 16 << 20,
        ..unhurried()
    });
    let worker = world.join("p", &nothing());
    let all = many(10_001);
    register_all(&mut world, worker, &all[..1001]);
    world.turn();
    let rows = |world: &mut World, limit: Option<u64>| {
        let limit = limit.map(|it| ("limit".into(), it.into()));
        let argument = rmpv::Value::Map(limit.into_iter().collect());
        let page = ask(world, worker, "engine::functions::list", &argument).unwrap();
        let rows = page["entries"].as_array().unwrap().len();
        (rows, page["next"].is_str())
    };
    assert_eq!(rows(&mut world, None), (1000, true));
    world.unregister(worker, &[&all[0]]);
    world.turn();
    assert_eq!(rows(&mut world, None), (1000, false));
    world.unregister(worker, &[&all[1]]);
    world.turn();
    assert_eq!(rows(&mut world, None), (999, false));
    register_all(&mut world, worker, &all);
    world.settle();
    // Eleven units of work each, of twelve thousand.
    for (asked, listed) in [(1091, 1091), (1092, 1091), (10_001, 1091), (0, 1)] {
        assert_eq!(rows(&mut world, Some(asked)), (listed, true), "{asked}");
    }
}

#[test]
fn names_that_a_caller_may_not_observe_take_their_part_of_the_work_of_a_page() {
    for (hidden, listed) in [(8, 1091), (9, 1090), (10, 1090)] {
        let mut world = World::new(unhurried());
        let rights = with_one(Verb::Observe, (&["shown::"], &[]));
        admit(
            &mut world,
            vec![
                principal("god", Rights::everything()),
                principal("x", rights),
            ],
        );
        let worker = rights::join(&mut world, "god", "p", &nothing());
        let all: Vec<String> = (0..hidden)
            .map(|number| format!("hidden::{number:04}"))
            .chain((0..1100).map(|number| format!("shown::{number:04}")))
            .collect();
        register_all(&mut world, worker, &all);
        world.settle();
        let caller = rights::join(&mut world, "x", "c", &nothing());
        let limit = rmpv::Value::Map(vec![("limit".into(), 1100.into())]);
        let page = ask(&mut world, caller, "engine::functions::list", &limit).unwrap();
        // One unit each, and eleven for a row, of twelve thousand; one of the next row is spent before it is left out.
        assert_eq!(page["entries"].as_array().unwrap().len(), listed);
        assert!(page["next"].is_str());
    }
}

#[test]
fn readers_any_number_of_changes_behind_are_brought_up_to_date() {
    for behind in [1, 2, 31, 32, 33, 34, 65] {
        let mut world = World::new(unhurried());
        let [prompt, late] = [(); 2].map(|()| world.join("w", &everything()));
        let worker = world.join("p", &nothing());
        // The late one has half a frame, and the other reads each change as it comes.
        world.links[late].capacity = 20;
        for change in 0..=behind {
            world.register(worker, &[&format!("f{change}")]);
            for link in [worker, prompt] {
                world.arrive(link, usize::MAX);
            }
            world.finish_turn(Budgets::ALL);
            for link in [worker, prompt] {
                world.receive(link, usize::MAX);
            }
        }
        assert_eq!(world.reader(prompt).steps.len(), behind + 1);
        world.settle();
        assert_eq!(world.reader(late).view, world.reader(prompt).view);
        assert_eq!(world.reader(late).mine, world.reader(prompt).mine);
    }
}

#[test]
fn a_frame_before_welcome_has_up_to_16_kib() {
    const MOST: usize = 16 * 1024;
    for (bytes, is_welcome) in [(MOST - 1, true), (MOST, true), (MOST + 1, false)] {
        let mut world = World::new(unhurried());
        let link = world.open(Reader::new(nothing()));
        let plain = hello("w", "", &nothing(), None, None);
        let fields = rmpv::decode::read_value(&mut &plain[4..]).unwrap();
        let fields = fields.as_array().unwrap();
        // An unknown key fills it up.
        let filled = |text: usize| {
            let mut fields = fields.clone();
            let mut keys = fields.pop().unwrap().as_map().unwrap().clone();
            keys.push(("unknown".into(), "x".repeat(text).into()));
            fields.push(rmpv::Value::Map(keys));
            frame(&rmpv::Value::Array(fields))
        };
        let beside = filled(1000).len() - 1000;
        let filled = filled(bytes + 4 - beside);
        assert_eq!(filled.len() - 4, bytes);
        world.say(link, &filled);
        world.turn();
        assert_eq!(world.reader(link).welcome.is_some(), is_welcome, "{bytes}");
    }
}
