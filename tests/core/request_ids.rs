//! The ids of requests: one that is not answered yet belongs to one request.

use callboard::limits::Limits;
use callboard::protocol::{
    Bind, Call, CallOptions, Emit, Ready, Register, Text, Unbind, Unregister,
};

use crate::calls::invoked;
use crate::reader::CallEnding;
use crate::setup::{functions, names, nothing};
use crate::world::{World, plain};

/// A request of each kind with this id, EMIT's id 0 being none; the last kind is of a newer protocol.
fn requests(id: u64) -> Vec<(&'static str, Vec<u8>)> {
    let register = |more| Register {
        id,
        more,
        functions: vec![plain("new")],
        ..Register::default()
    };
    let unregister = Unregister {
        id,
        names: vec![Text("g")],
        ..Unregister::default()
    };
    let bind = Bind {
        id,
        ..Bind::default()
    };
    let unbind = Unbind {
        id,
        ..Unbind::default()
    };
    let ready = Ready {
        id,
        ..Ready::default()
    };
    let emit = Emit {
        id,
        event: Text("e"),
        ..Emit::default()
    };
    let call = |function| Call {
        id,
        function: Text(function),
        ..Call::default()
    };
    let newer = [vec![0, 0, 0, 11, 0x92, 63, 0xcf], id.to_be_bytes().to_vec()].concat();
    vec![
        ("CALL", call("f").to_frame()),
        (
            "CALL of the engine",
            call("engine::workers::list").to_frame(),
        ),
        ("CALL of nothing", call("nothing").to_frame()),
        ("UNREGISTER", unregister.to_frame()),
        ("READY", ready.to_frame()),
        ("BIND", bind.to_frame()),
        ("UNBIND", unbind.to_frame()),
        ("EMIT", emit.to_frame()),
        ("a newer kind", newer),
        ("REGISTER", register(false).to_frame()),
        ("REGISTER in parts", register(true).to_frame()),
    ]
}

/// A watcher, a provider of `f`, and a worker that provides `g`.
fn world() -> (World, usize, usize, usize) {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &functions());
    let provider = world.provider(&["f"], 10);
    let worker = world.join("x", &nothing());
    world.register(worker, &["g"]);
    world.turn();
    (world, watcher, provider, worker)
}

#[test]
fn the_id_of_an_open_call_is_no_id_for_any_other_request() {
    for (kind, frame) in requests(7) {
        let (mut world, watcher, provider, worker) = world();
        world.links[worker].reader.calls.insert(7);
        let call = Call {
            id: 7,
            function: Text("f"),
            ..Call::default()
        };
        world.say(worker, &call.to_frame());
        world.turn();
        world.say(worker, &frame);
        world.turn();
        let (code, message, _) = world.reader(worker).goodbye.clone().expect(kind);
        assert_eq!(code, "protocol_error", "{kind}");
        assert!(message.contains("id 7"), "{kind}: {message}");
        assert_eq!(world.call_ending(worker, 7), None, "{kind}");
        // The worker is gone like any other, and the request had no effect.
        assert_eq!(world.reader(provider).cancels(), invoked(&world, provider));
        assert_eq!(names(&world.reader(watcher).view), ["f"], "{kind}");
        assert_eq!(world.reader(watcher).steps.len(), 3, "{kind}");
    }
}

#[test]
fn the_id_of_a_batch_is_no_id_for_any_other_request() {
    for (kind, frame) in requests(7) {
        let (mut world, watcher, _, worker) = world();
        world.links[worker].reader.calls.insert(7);
        let first = Register {
            id: 7,
            more: true,
            functions: vec![plain("first")],
            ..Register::default()
        };
        world.say(worker, &first.to_frame());
        world.turn();
        world.say(worker, &frame);
        world.turn();
        if kind.starts_with("REGISTER") {
            assert_eq!(world.goodbye(worker), None, "{kind}");
            continue;
        }
        let (code, message, _) = world.reader(worker).goodbye.clone().expect(kind);
        assert_eq!(code, "protocol_error", "{kind}");
        assert!(message.contains("id 7"), "{kind}: {message}");
        assert_eq!(names(&world.reader(watcher).view), ["f"], "{kind}");
    }
}

#[test]
fn an_emit_with_id_0_uses_no_id() {
    let (mut world, _, provider, worker) = world();
    let emit = Emit {
        event: Text("e"),
        ..Emit::default()
    };
    world.links[worker].reader.calls.insert(0);
    let call = Call {
        function: Text("f"),
        ..Call::default()
    };
    for frame in [call.to_frame(), emit.to_frame(), emit.to_frame()] {
        world.say(worker, &frame);
    }
    world.turn();
    let id = invoked(&world, provider)[0];
    world.answer(provider, id, b"done");
    world.turn();
    let result = CallEnding::Result(b"done".to_vec());
    assert_eq!(world.call_ending(worker, 0), Some(&result));
    let part = Register {
        more: true,
        ..Register::default()
    };
    world.say(worker, &part.to_frame());
    world.say(worker, &emit.to_frame());
    world.turn();
    assert_eq!(world.goodbye(worker), None);
}

#[test]
fn an_answered_id_may_be_used_again() {
    for (kind, frame) in requests(7) {
        let (mut world, _, provider, worker) = world();
        let call = Call {
            id: 7,
            function: Text("f"),
            ..Call::default()
        };
        world.links[worker].reader.calls.insert(7);
        world.say(worker, &call.to_frame());
        world.turn();
        world.answer(provider, invoked(&world, provider)[0], b"");
        world.turn();
        assert!(world.call_ending(worker, 7).is_some());
        world.links[worker].reader.call_endings.clear();
        world.say(worker, &frame);
        world.turn();
        assert_eq!(world.goodbye(worker), None, "{kind}");
    }
}

#[test]
fn the_id_of_an_invoke_is_no_id_of_the_providers_requests() {
    let (mut world, _, provider, worker) = world();
    let call = world.call(worker, "f", b"", CallOptions::default());
    world.turn();
    let invoke = invoked(&world, provider)[0];
    let ready = Ready {
        id: invoke,
        ..Ready::default()
    };
    world.say(provider, &ready.to_frame());
    world.turn();
    assert_eq!(world.goodbye(provider), None);
    world.answer(provider, invoke, b"");
    world.turn();
    assert!(world.call_ending(worker, call).is_some());
}
