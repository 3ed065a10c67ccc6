//! What docs/PROTOCOL.md says of odd cases, so that a client's author need not try them.

use callboard::limits::Limits;
use callboard::protocol::{
    Bin, BindingEntry, BindingKey, CallOptions, Code, Inbox, Message, NoExtensions, Ping, Register,
    Text, Unbind,
};

use crate::reader::{CallEnding, Reader};
use crate::rights::raw_turn;
use crate::setup::{code, everything, functions, names, nothing};
use crate::world::{World, hello};

/// The kinds of the frames in these bytes, in order.
fn kinds(bytes: &[u8]) -> Vec<String> {
    let (mut inbox, mut rest, mut kinds) = (Inbox::default(), bytes, Vec::new());
    while let Some(frame) = inbox.next(&mut rest, 1 << 21).unwrap() {
        let message = Message::decode(frame).unwrap();
        kinds.push(match message {
            Message::Pong(pong) => format!("Pong {}", pong.revision),
            Message::Changes(changes) => format!("Changes to {}", changes.to),
            message => message.wire_name(),
        });
    }
    kinds
}

#[test]
fn a_result_comes_behind_the_changes_of_its_turn_and_a_pong_need_not() {
    let ping = Ping {
        revision: 0,
        ext: NoExtensions {},
    };
    let empty = Register {
        id: 7,
        ..Register::default()
    };
    for (frame, wanted) in [
        (ping.to_frame(), ["Pong 1", "Changes to 2"]),
        (empty.to_frame(), ["Changes to 2", "RESULT"]),
    ] {
        let mut world = World::new(Limits::default());
        let worker = world.join("p", &nothing());
        let watcher = world.join("w", &functions());
        world.register(worker, &["a"]);
        world.turn();
        world.register(worker, &["b"]);
        world.say(watcher, &frame);
        assert_eq!(kinds(&raw_turn(&mut world, watcher)), wanted);
    }
}

#[test]
fn a_capacity_of_nothing_is_one_and_a_huge_one_is_what_a_worker_may_make_itself() {
    let limits = Limits {
        max_calls: 100,
        ..Limits::default()
    };
    for (asked, given) in [(0, 1), (1, 1), (100, 100), (101, 100), (u64::MAX, 100)] {
        let mut world = World::new(limits.clone());
        let provider = world.provider(&["f"], asked);
        let list = "engine::functions::list";
        let call = world.call(provider, list, b"", CallOptions::default());
        world.turn();
        let Some(CallEnding::Result(page)) = world.call_ending(provider, call) else {
            panic!("no page");
        };
        let page = rmpv::decode::read_value(&mut &page[..]).unwrap();
        let capacity = &page["entries"][0]["providers"][0]["capacity"];
        assert_eq!(capacity.as_u64(), Some(given), "{asked}");
    }
}

#[test]
fn a_name_that_stands_twice_in_a_request_counts_once() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    world.register(worker, &["f", "g"]);
    world.turn();
    let twice = world.unregister(worker, &["f", "f"]);
    world.turn();
    assert!(world.ending(worker, twice).is_ok());
    assert_eq!(names(&world.reader(watcher).view), ["g"]);
    let gone = world.unregister(worker, &["g", "f", "g"]);
    world.turn();
    assert_eq!(code(world.ending(worker, gone)), "not_registered");
    assert_eq!(names(&world.reader(watcher).view), ["g"]);

    // Of a binding the last entry counts.
    let binding = |config| BindingEntry {
        event: Text("e"),
        function: Text("g"),
        config: Bin(config),
        ..BindingEntry::default()
    };
    let bound = world.bind(worker, vec![binding(b"1"), binding(b"2")]);
    world.turn();
    assert!(world.ending(worker, bound).is_ok());
    let list = "engine::bindings::list";
    let call = world.call(worker, list, b"", CallOptions::default());
    world.turn();
    let Some(CallEnding::Result(page)) = world.call_ending(worker, call) else {
        panic!("no page");
    };
    let page = rmpv::decode::read_value(&mut &page[..]).unwrap();
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!(page["entries"][0]["config"].as_slice(), Some(&b"2"[..]));
    let key = || BindingKey {
        event: Text("e"),
        function: Text("g"),
        ..BindingKey::default()
    };
    let id = world.request(worker);
    let unbind = Unbind {
        id,
        bindings: vec![key(), key()],
        ..Unbind::default()
    };
    world.say(worker, &unbind.to_frame());
    world.turn();
    assert!(world.ending(worker, id).is_ok());
    assert_eq!(world.engine.stats().bindings, 0);
}

#[test]
fn a_session_is_taken_over_only_while_the_engine_holds_its_connection() {
    for is_closed in [false, true] {
        let mut world = World::new(Limits::default());
        let watcher = world.join("w", &functions());
        let worker = world.join("p", &nothing());
        world.register(worker, &["f"]);
        world.turn();
        let before = world.reader(worker).welcome.clone().unwrap();
        if is_closed {
            world.eof(worker);
        }
        let again = world.open(Reader::new(nothing()));
        let key = Some(&before.session[..]);
        world.say(again, &hello("p", "default", &nothing(), key, None));
        world.turn();
        let after = world.reader(again).welcome.clone().unwrap();
        assert_eq!(after.taken_over, !is_closed);
        assert_eq!(after.worker == before.worker, !is_closed);
        let is_there = !names(&world.reader(watcher).view).is_empty();
        assert_eq!(is_there, !is_closed);
    }
}

#[test]
fn half_a_close_is_the_end_of_the_connection() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &functions());
    let provider = world.provider(&["f"], 10);
    let caller = world.join("c", &nothing());
    let call = world.call(caller, "f", b"", CallOptions::default());
    let registered = world.register(caller, &["g"]);
    world.turn();
    let asked = world.call(caller, "engine::workers::list", b"", CallOptions::default());
    world.arrive(caller, usize::MAX);
    world.eof(caller);
    world.turn();
    // What was said before the end was handled, and what was owed is written; the call has no answer.
    assert!(world.ending(caller, registered).is_ok());
    assert!(world.call_ending(caller, asked).is_some());
    assert_eq!(world.reader(provider).cancels().len(), 1);
    assert_eq!(world.call_ending(caller, call), None);
    assert_eq!(names(&world.reader(watcher).view), ["f"]);
}

#[test]
fn without_credentials_stats_are_for_all_and_commands_are_not() {
    let mut world = World::new(Limits::default());
    let worker = world.join("p", &nothing());
    for (function, refused) in [
        ("engine::stats", None),
        ("engine::workers::kick", Some(Code::Forbidden)),
        ("engine::drain", Some(Code::Forbidden)),
    ] {
        let call = world.call(
            worker,
            function,
            b"\x81\xa4name\xa1x",
            CallOptions::default(),
        );
        world.turn();
        let code = match world.call_ending(worker, call).unwrap() {
            CallEnding::Result(_) => None,
            CallEnding::Failure(failure) => Code::parse(&failure.code),
        };
        assert_eq!(code, refused, "{function}");
    }
}
