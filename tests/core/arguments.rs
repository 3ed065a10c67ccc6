//! What the engine's own functions take as arguments.

use callboard::protocol::CallOptions;

use crate::reader::CallEnding;
use crate::rights::{join, world_with};
use crate::setup::nothing;
use crate::world::World;

const LISTS: &[&str] = &[
    "engine::functions::list",
    "engine::workers::list",
    "engine::bindings::list",
];
const KICK: &str = "engine::workers::kick";

/// The code with which a call to one of the engine's functions ends, or `ok`.
fn outcome(world: &mut World, asker: usize, function: &str, payload: &[u8]) -> String {
    let id = world.call(asker, function, payload, CallOptions::default());
    world.turn();
    match world.call_ending(asker, id).expect("answered at once") {
        CallEnding::Result(_) => "ok".to_owned(),
        CallEnding::Failure(failure) => failure.code.clone(),
    }
}

#[test]
fn arguments_that_are_no_map_with_text_keys_are_refused() {
    let mut world = world_with(callboard::engine::Rights::everything());
    let asker = join(&mut world, "god", "asker", &nothing());
    let refused: &[&[u8]] = &[
        // Arrays, which serde reads as structs.
        b"\x91\xa1f",
        b"\x90",
        b"\x93\xa1f\xa1f\x01",
        b"\xdc\x00\x01\xa1f",
        // Bytes behind the map.
        b"\x80\x80",
        b"\x80\x00",
        b"\x80\xc0",
        b"\xc0\xc0",
        // Other values, and half a map.
        b"\x01",
        b"\xa1f",
        b"\xc4\x01\x80",
        b"\x81",
        b"\x81\xa6prefix",
        b"\xc1",
        // Keys that are no text, or that stand there twice.
        b"\x81\x00\xa1f",
        b"\x81\xc4\x06prefix\xa1f",
        b"\x82\xa6prefix\xa1f\xa6prefix\xa1f",
        b"\x82\xa1x\x01\xa1x\x01",
        // Values of another type.
        b"\x81\xa6prefix\xc4\x01f",
        b"\x81\xa6prefix\x01",
        b"\x81\xa5after\x01",
        b"\x81\xa5limit\xa11",
        b"\x81\xa5limit\xff",
        b"\x81\xa5limit\xcb\x40\x14\x00\x00\x00\x00\x00\x00",
        // Nested without end.
        &[0x91; 5000],
    ];
    for function in LISTS {
        for payload in refused {
            let code = outcome(&mut world, asker, function, payload);
            assert_eq!(code, "invalid_argument", "{function} {payload:x?}");
        }
        let accepted: &[&[u8]] = &[
            b"",
            b"\xc0",
            b"\x80",
            b"\xde\x00\x00",
            b"\x81\xa6prefix\xa1f",
            b"\x81\xa5after\xc0",
            b"\x81\xa5limit\x00",
            b"\x81\xa5limit\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            // A key of a newer client.
            b"\x81\xa1x\x91\x81\xa1y\xc0",
        ];
        for payload in accepted {
            let code = outcome(&mut world, asker, function, payload);
            assert_eq!(code, "ok", "{function} {payload:x?}");
        }
    }
    let for_kick: &[&[u8]] = &[
        b"",
        b"\xc0",
        b"\x80",
        b"\x91\x01",
        b"\x92\xc0\xa6nobody",
        b"\x81\x00\x01",
        b"\x81\xa6worker\xa11",
        b"\x81\xa4name\xc4\x06nobody",
        b"\x81\xa4name\xa6nobody\x80",
        b"\x82\xa4name\xa6nobody\xa6worker\x01",
    ];
    for payload in refused.iter().chain(for_kick) {
        let code = outcome(&mut world, asker, KICK, payload);
        assert_eq!(code, "invalid_argument", "{payload:x?}");
    }
    for payload in [
        &b"\x81\xa4name\xa6nobody"[..],
        b"\x81\xa6worker\xcd\xff\xff",
    ] {
        assert_eq!(outcome(&mut world, asker, KICK, payload), "ok");
    }
}

#[test]
fn stats_and_drain_ignore_their_arguments() {
    let mut world = world_with(callboard::engine::Rights::everything());
    let asker = join(&mut world, "god", "asker", &nothing());
    for payload in [&b""[..], b"\xc0", b"\x80", b"\x90", b"\x80\x80", b"\xc1"] {
        for function in ["engine::stats", "engine::drain"] {
            assert_eq!(outcome(&mut world, asker, function, payload), "ok");
        }
        assert!(std::mem::take(&mut world.drain_asked));
    }
}
