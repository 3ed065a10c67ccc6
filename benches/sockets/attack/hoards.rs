//! Attacks by hoarding: once, and as much as the limits of one connection allow, so that no other peer gets any.

use callboard::protocol::{CallOptions, Definition, Register, Text, Watch};

use super::ground::{ABSENT, DAY, Frame, Ground, call, forever, names};
use super::lanes::Lane;
use super::link::{all, hello, prefix};
use super::plan::{Joins, Script};
use super::user::User;

/// Calls that one connection may have in flight.
const CALLS: u64 = 16_384;

/// Bytes of arguments that one connection may have retained, and in how many calls.
const RETAINED: usize = 16 << 20;
const RETAINED_CALLS: usize = 64;
const SMALL_CALLS: usize = 300;

/// Providers that hold the calls: each may hold as many as a caller may make.
const PROVIDERS: usize = 16;

/// Bytes that a function's description may have, nearly, and functions in one frame.
const DESCRIPTION: usize = 32_000;
const IN_A_FRAME: usize = 30;

/// Functions of one worker that have the bytes which one worker may register.
pub(super) const LARGE: usize = 510;

/// Bytes of a frame's body.
const BODY: u32 = 1_000_000;

pub(super) fn parked(ground: &Ground) -> Vec<Lane> {
    let calls = (1..=CALLS).flat_map(|id| call(id, ABSENT, b"", forever()));
    once(ground, &calls.collect())
}

fn once(ground: &Ground, bytes: &Frame) -> Vec<Lane> {
    ground.each(|_| Script::once(bytes.clone()))
}

pub(super) fn retained(ground: &Ground) -> Vec<Lane> {
    // Large ones first; what is left is for small ones.
    let sizes = [
        (RETAINED_CALLS, RETAINED / RETAINED_CALLS - 64),
        (SMALL_CALLS, 1_000),
        (SMALL_CALLS, 64),
    ];
    let payloads = sizes
        .iter()
        .flat_map(|&(calls, size)| std::iter::repeat_n(vec![0x5a; size], calls));
    let calls = (1..).zip(payloads);
    let calls = calls.flat_map(|(id, payload)| call(id, ABSENT, &payload, forever()));
    once(ground, &calls.collect())
}

pub(super) fn in_flight(ground: &Ground) -> Vec<Lane> {
    let name = names(0, 1);
    let mut lanes = Vec::new();
    for _ in 0..PROVIDERS {
        let mut worker = ground.worker();
        worker
            .register(&name, std::time::Duration::from_secs(10))
            .expect("there is room");
        lanes.push(Lane::new(Some(worker), Script::silent()));
    }
    let day = || CallOptions {
        timeout_ms: Some(DAY),
        ..CallOptions::default()
    };
    let calls = (1..=CALLS).flat_map(|id| call(id, &name[0], b"", day()));
    lanes.extend(once(ground, &calls.collect()));
    lanes
}

pub(super) fn partial(ground: &Ground) -> Vec<Lane> {
    let mut bytes = BODY.to_be_bytes().to_vec();
    // A CALL whose arguments do not end.
    bytes.extend(b"\x94\x06\x01\xa1f\xc6\x00\x0f\x42\x36");
    bytes.resize(BODY as usize + 3, 0x5a);
    let bytes: Frame = bytes.into();
    ground.each(|_| Script::once(bytes.clone()).without_heartbeat())
}

pub(super) fn watches(ground: &Ground) -> Vec<Lane> {
    let join = |number| {
        let hello = move || {
            let own = format!("nobody::{number}");
            hello(User::Attacker, "default", prefix(&own), None)
        };
        Lane::new(None, Joins::once(hello))
    };
    (0..ground.n).map(join).collect()
}

pub(super) fn namespaces(ground: &Ground) -> Vec<Lane> {
    let join = |number| {
        let hello = move || {
            let own = format!("room-{number}");
            hello(User::Attacker, &own, all(), None)
        };
        Lane::new(None, Joins::once(hello))
    };
    (0..ground.n).map(join).collect()
}

pub(super) fn boards(ground: &Ground) -> Vec<Lane> {
    let description = "x".repeat(DESCRIPTION);
    let mut bytes = Vec::new();
    for names in names(0, LARGE).chunks(IN_A_FRAME) {
        let definition = |name| Definition {
            name: Text(name),
            description: Text(&description),
            ..Definition::default()
        };
        let register = Register {
            id: 1,
            functions: names.iter().map(|name| definition(name)).collect(),
            ..Register::default()
        };
        register.encode(&mut bytes);
    }
    let bytes: Frame = bytes.into();
    (0..ground.n)
        .map(|number| {
            let namespace = ["board-0", "board-1"][number % 2];
            let worker = ground.join(namespace, Watch::default());
            Lane::new(Some(worker), Script::once(bytes.clone()))
        })
        .collect()
}
