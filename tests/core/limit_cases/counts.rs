//! How to meet the limits of how many and how large: connections, namespaces, watches, registrations. Asserts
//! only what a case alone can see.

use callboard::engine::Peer;
use callboard::protocol::{
    Bin, BindingEntry, CallOptions, Definition, Hello, HelloOptions, Register, Text,
};

use crate::limit_cases::{Case, Met, stranger};
use crate::reader::{Reader, WatchFilter};
use crate::setup::nothing;
use crate::world::{World, hello, plain};

fn from(world: &mut World, address: &str) -> usize {
    let peer = Peer::Tcp(address.parse().unwrap());
    world.open_from(peer, Reader::new(nothing()))
}

fn greet(world: &mut World, namespace: &str, filter: &WatchFilter) -> usize {
    let link = world.open(Reader::new(filter.clone()));
    world.say(link, &hello("x", namespace, filter, None, None));
    world.turn();
    link
}

fn sized<'a>(name: &'a str, metadata: &'static [u8]) -> Definition<'a> {
    Definition {
        metadata: Bin(metadata),
        ..plain(name)
    }
}

/// Registers something of that size; returns who, and the request.
fn register_sized(world: &mut World, metadata: &'static [u8]) -> (usize, u64) {
    let link = world.join("x", &nothing());
    let id = world.register_definitions(link, vec![sized("x::f", metadata)]);
    world.turn();
    (link, id)
}

pub(crate) fn bind_three(world: &mut World) -> (usize, u64) {
    let link = world.join("x", &nothing());
    let bindings = ["a", "b", "c"].map(|event| BindingEntry {
        event: Text(event),
        function: Text("f"),
        ..BindingEntry::default()
    });
    let id = world.bind(link, bindings.to_vec());
    world.turn();
    (link, id)
}

pub(crate) const CASES: &[Case] = &[
    Case {
        flag: "max-connections",
        set: |limits| limits.max_connections = 4,
        meet: |stage| {
            stranger(&mut stage.world);
            let fifth = stranger(&mut stage.world);
            stage.world.turn();
            Met::Goodbye(fifth, "too_many_connections")
        },
    },
    Case {
        flag: "max-connections-per-address",
        set: |limits| limits.max_connections_per_address = 3,
        meet: |stage| {
            let world = &mut stage.world;
            let there: Vec<_> = (1..=4)
                .map(|port| from(world, &format!("10.0.0.9:{port}")))
                .collect();
            let elsewhere = from(world, "10.0.0.8:1");
            world.turn();
            assert!(world.links[there[2]].open && world.reader(elsewhere).goodbye.is_none());
            // One that leaves makes room for another.
            world.reset(there[0]);
            world.turn();
            let again = from(world, "10.0.0.9:5");
            world.turn();
            assert!(world.reader(again).goodbye.is_none());
            Met::Goodbye(there[3], "too_many_connections")
        },
    },
    Case {
        flag: "max-refused",
        set: |limits| (limits.max_connections, limits.max_refused) = (3, 2),
        meet: |stage| {
            let world = &mut stage.world;
            let refused = [(); 3].map(|()| stranger(world));
            world.turn();
            let told = refused.map(|link| world.reader(link).goodbye.is_some());
            assert_eq!(told, [true, true, false]);
            assert!(!world.links[refused[2]].open);
            Met::Felt
        },
    },
    Case {
        flag: "max-greeting",
        set: |limits| limits.max_greeting = 2,
        meet: |stage| {
            let world = &mut stage.world;
            let silent = [(); 3].map(|()| stranger(world));
            world.turn();
            assert!(world.reader(silent[1]).goodbye.is_none());
            Met::Goodbye(silent[0], "too_many_connections")
        },
    },
    Case {
        flag: "max-frame",
        set: |_| {},
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            stage.world.say(link, &1_114_113u32.to_be_bytes());
            stage.world.turn();
            Met::Goodbye(link, "frame_too_large")
        },
    },
    Case {
        flag: "max-payload",
        set: |limits| limits.max_payload = 1000,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            let call = stage
                .world
                .call(link, "by::f", &[0; 1001], CallOptions::default());
            stage.world.turn();
            Met::CallFailure(link, call, "payload_too_large")
        },
    },
    Case {
        flag: "max-hello",
        set: |_| {},
        meet: |stage| {
            let link = stranger(&mut stage.world);
            stage.world.say(link, &16_385u32.to_be_bytes());
            stage.world.turn();
            Met::Goodbye(link, "protocol_error")
        },
    },
    Case {
        flag: "max-namespaces",
        set: |limits| limits.max_namespaces = 1,
        meet: |stage| {
            let link = greet(&mut stage.world, "another", &nothing());
            Met::Goodbye(link, "too_many_namespaces")
        },
    },
    Case {
        flag: "max-audiences",
        set: |limits| limits.max_audiences = 1,
        meet: |stage| {
            let link = greet(&mut stage.world, "default", &WatchFilter::new(&["x"], &[]));
            Met::Goodbye(link, "too_many_audiences")
        },
    },
    Case {
        flag: "max-prefixes",
        set: |limits| limits.max_prefixes = 1,
        meet: |stage| {
            let link = greet(
                &mut stage.world,
                "default",
                &WatchFilter::new(&["x", "y"], &[]),
            );
            Met::Goodbye(link, "too_many_prefixes")
        },
    },
    Case {
        flag: "max-workers",
        set: |limits| limits.max_workers = 1,
        meet: |stage| {
            let (link, id) = register_sized(&mut stage.world, b"");
            Met::Failure(link, id, "too_many_workers")
        },
    },
    Case {
        flag: "max-functions",
        set: |limits| limits.max_functions = 2,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            let id = stage.world.register(link, &["a", "b", "c"]);
            stage.world.turn();
            Met::Failure(link, id, "too_many_functions")
        },
    },
    Case {
        flag: "max-entry",
        set: |limits| limits.max_entry = 10,
        meet: |stage| {
            let (link, id) = register_sized(&mut stage.world, &[0; 11]);
            Met::Failure(link, id, "entry_too_large")
        },
    },
    Case {
        flag: "max-metadata",
        set: |limits| limits.max_metadata = 100,
        meet: |stage| {
            let (link, id) = register_sized(&mut stage.world, &[0; 101]);
            Met::Failure(link, id, "metadata_too_large")
        },
    },
    Case {
        flag: "max-namespace-functions",
        set: |limits| limits.max_namespace_functions = 4,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            let id = stage.world.register(link, &["a", "b", "c", "d"]);
            stage.world.turn();
            Met::Failure(link, id, "overloaded")
        },
    },
    Case {
        flag: "max-namespace-bindings",
        set: |limits| limits.max_namespace_bindings = 2,
        meet: |stage| {
            let (link, id) = bind_three(&mut stage.world);
            Met::Failure(link, id, "overloaded")
        },
    },
    Case {
        flag: "max-namespace-metadata",
        set: |limits| limits.max_namespace_metadata = 200,
        meet: |stage| {
            let (link, id) = register_sized(&mut stage.world, &[0; 190]);
            Met::Failure(link, id, "overloaded")
        },
    },
    Case {
        flag: "max-batches",
        set: |limits| limits.max_batches = 10_000,
        meet: |stage| {
            let world = &mut stage.world;
            let links = [(); 2].map(|()| world.join("x", &nothing()));
            let say = |world: &mut World, link: usize, more: bool| {
                let register = Register {
                    id: 1000,
                    more,
                    functions: vec![sized("x::f", &[0; 6000])],
                    ..Register::default()
                };
                world.say(link, &register.to_frame());
                world.turn();
                world.wait(1);
            };
            for more in [true, false] {
                for link in links {
                    say(world, link, more);
                }
            }
            assert!(world.ending(links[1], 1000).is_ok());
            Met::Failure(links[0], 1000, "overloaded")
        },
    },
    Case {
        flag: "max-worker-metadata",
        set: |limits| limits.max_worker_metadata = 10,
        meet: |stage| {
            let link = stranger(&mut stage.world);
            let hello = Hello {
                versions: vec![1],
                name: Text("x"),
                namespace: Text(""),
                ext: HelloOptions {
                    metadata: Bin(&[0; 11]),
                    ..HelloOptions::default()
                },
            };
            stage.world.say(link, &hello.to_frame());
            stage.world.turn();
            Met::Goodbye(link, "metadata_too_large")
        },
    },
];
