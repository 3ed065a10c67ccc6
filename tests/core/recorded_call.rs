//! The call of the worked example in docs/PROTOCOL.md, recorded: what the engine sends is the golden vectors, byte for
//! byte.

use callboard::limits::Limits;
use callboard::protocol::{Hello, HelloOptions, Text, Watch};
use serde_json::Value;

use crate::reader::Reader;
use crate::rights::raw_turn;
use crate::setup::nothing;
use crate::world::World;

/// The bytes of a golden vector.
fn golden(name: &str) -> Vec<u8> {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/messages.json")).expect("JSON");
    let vector = vectors.iter().find(|it| it["name"] == name).expect(name);
    let hex = vector["hex"].as_str().expect("hex").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

#[test]
fn the_call_of_the_worked_example_is_what_the_engine_makes_of_it() {
    let mut world = World::new(Limits::default());
    let provider = world.provider(&["mail::send"], 10);
    // The caller is worker 12.
    for _ in 2..12 {
        world.join("another", &nothing());
    }
    let caller = world.open(Reader::new(nothing()));
    let hello = Hello {
        versions: vec![1],
        name: Text("billing-7"),
        namespace: Text("default"),
        ext: HelloOptions {
            watch: Some(Watch::default()),
            ..HelloOptions::default()
        },
    };
    world.say(caller, &hello.to_frame());
    world.turn();
    assert_eq!(world.reader(caller).welcome.as_ref().unwrap().worker, 12);

    world.say(caller, &golden("example-call"));
    assert_eq!(raw_turn(&mut world, provider), golden("example-invoke"));
    world.say(provider, &golden("example-answer"));
    assert_eq!(raw_turn(&mut world, caller), golden("example-result"));
}
