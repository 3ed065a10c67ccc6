//! How to meet the limits of what is under way: bytes that wait, calls, changes, and times. Asserts only what a
//! case alone can see.

use callboard::protocol::{CallOptions, Definition, Ping, Text};

use crate::calls::{idempotent, invoked, waiting};
use crate::departures::departures;
use crate::limit_cases::counts::bind_three;
use crate::limit_cases::{Case, Met, stranger};
use crate::reader::WatchFilter;
use crate::setup::{functions, many, nothing};
use crate::world::{World, hello, plain};

/// The first bytes of a frame of 100,000.
fn begin_frame(world: &mut World, link: usize, bytes: usize) {
    let mut begun = 100_000u32.to_be_bytes().to_vec();
    begun.resize(bytes, 0x91);
    world.say(link, &begun);
    world.turn();
}

fn flood_with_pings(world: &mut World, link: usize) {
    world.links[link].capacity = 0;
    let pings = Ping::default().to_frame().repeat(1000);
    for _ in 0..10 {
        world.say(link, &pings);
        world.turn();
    }
}

fn read_again(world: &mut World, link: usize) {
    world.links[link].capacity = usize::MAX;
    world.receive(link, usize::MAX);
    world.turn();
    world.turn();
}

fn change(world: &mut World, link: usize, names: usize) {
    for name in many(names) {
        world.register(link, &[&name]);
        world.turn();
    }
}

const BUFFERS: Met = Met::Elsewhere(
    "src/server/socket.rs",
    "an_accepted_tcp_socket_has_no_nagle_bounded_buffers_and_a_user_timeout",
);

pub(crate) const CASES: &[Case] = &[
    Case {
        flag: "max-memory",
        set: |limits| {
            limits.max_memory = 2 << 20;
            limits.max_frame = 131_072;
            limits.max_payload = 100_000;
        },
        meet: |stage| {
            let world = &mut stage.world;
            let link = world.join("x", &nothing());
            let description = "x".repeat(30_000);
            let requests: Vec<u64> = many(50)
                .iter()
                .map(|name| {
                    let definition = Definition {
                        description: Text(&description),
                        ..plain(name)
                    };
                    let request = world.register_definitions(link, vec![definition]);
                    world.turn();
                    request
                })
                .collect();
            world.turn();
            assert!(world.ending(link, requests[20]).is_ok());
            Met::Failure(link, requests[49], "overloaded")
        },
    },
    Case {
        flag: "max-outbound",
        set: |limits| limits.max_outbound = 10_000,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            flood_with_pings(&mut stage.world, link);
            assert!(!stage.world.engine.wants_read(stage.world.links[link].id));
            Met::Felt
        },
    },
    Case {
        flag: "max-outbound-total",
        set: |limits| limits.max_outbound_total = 50_000,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            flood_with_pings(&mut stage.world, link);
            assert!(stage.world.engine.stats().outbound_bytes <= 50_000);
            read_again(&mut stage.world, link);
            Met::Goodbye(link, "too_slow")
        },
    },
    Case {
        flag: "max-partial",
        set: |limits| limits.max_partial = 10_000,
        meet: |stage| {
            let world = &mut stage.world;
            let links = [(); 2].map(|()| world.join("x", &nothing()));
            for link in links {
                begin_frame(world, link, 6000);
                world.wait(1);
            }
            assert!(world.reader(links[1]).goodbye.is_none());
            assert_eq!(world.engine.stats().partial_bytes, 6000);
            Met::Goodbye(links[0], "frame_timeout")
        },
    },
    Case {
        flag: "max-calls",
        set: |limits| limits.max_calls = 2,
        meet: |stage| {
            let world = &mut stage.world;
            for _ in 0..2 {
                world.provider(&["slow"], 2);
            }
            let link = world.join("x", &nothing());
            let calls = [(); 3].map(|()| world.call(link, "slow", b"", CallOptions::default()));
            world.turn();
            Met::CallFailure(link, calls[2], "overloaded")
        },
    },
    Case {
        flag: "max-calls-total",
        set: |limits| limits.max_calls_total = 2,
        meet: |stage| {
            let world = &mut stage.world;
            world.provider(&["slow"], 100);
            let link = world.join("x", &nothing());
            let calls = [(); 3].map(|()| world.call(link, "slow", b"", CallOptions::default()));
            world.turn();
            for call in &calls[..2] {
                world.cancel(link, *call);
            }
            world.turn();
            Met::CallFailure(link, calls[2], "overloaded")
        },
    },
    Case {
        flag: "max-parked",
        set: |limits| limits.max_parked = 2,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            let calls = [(); 3].map(|()| stage.world.call(link, "nobody", b"", waiting()));
            stage.world.turn();
            Met::CallFailure(link, calls[2], "overloaded")
        },
    },
    Case {
        flag: "max-retained",
        set: |limits| limits.max_retained = 1000,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            stage.world.call(link, "nobody", &[0; 900], waiting());
            let second = stage.world.call(link, "nobody", &[0; 101], waiting());
            stage.world.turn();
            Met::CallFailure(link, second, "overloaded")
        },
    },
    Case {
        flag: "max-retained-each",
        set: |limits| limits.max_retained_each = 1000,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            stage.world.call(link, "nobody", &[0; 900], waiting());
            let second = stage.world.call(link, "by::f", &[0; 101], idempotent());
            stage.world.turn();
            Met::CallFailure(link, second, "overloaded")
        },
    },
    Case {
        flag: "max-backlog",
        set: |limits| limits.max_backlog = 5000,
        meet: |stage| {
            let world = &mut stage.world;
            let provider = world.provider(&["chatty"], 100);
            let link = world.join("x", &nothing());
            let calls = [(); 3].map(|()| world.call(link, "chatty", b"", CallOptions::default()));
            world.turn();
            world.links[link].capacity = 0;
            for id in invoked(world, provider) {
                world.answer(provider, id, &[0; 2000]);
            }
            world.turn();
            read_again(world, link);
            Met::CallFailure(link, calls[2], "overloaded")
        },
    },
    Case {
        flag: "max-bindings",
        set: |limits| limits.max_bindings = 2,
        meet: |stage| {
            let (link, id) = bind_three(&mut stage.world);
            Met::Failure(link, id, "too_many_bindings")
        },
    },
    Case {
        flag: "log-bytes",
        set: |limits| limits.log_bytes = 10_000,
        meet: |stage| {
            let laggard = stage.world.join("x", &functions());
            let worker = stage.world.join("y", &nothing());
            stage.world.links[laggard].capacity = 0;
            change(&mut stage.world, worker, 200);
            read_again(&mut stage.world, laggard);
            stage.world.settle();
            assert_eq!(stage.world.reader(laggard).view.functions.len(), 201);
            Met::Felt
        },
    },
    Case {
        flag: "max-departures",
        set: |limits| limits.max_departures = 1,
        meet: |stage| {
            let world = &mut stage.world;
            for name in ["x", "y"] {
                let link = world.join(name, &nothing());
                world.register(link, &["svc::departs"]);
                world.turn();
                world.reset(link);
                world.turn();
            }
            let asker = world.join("z", &nothing());
            assert_eq!(departures(world, asker), ["y"]);
            Met::Paced
        },
    },
    Case {
        flag: "cache-bytes",
        set: |limits| limits.cache_bytes = 1,
        meet: |stage| {
            let world = &mut stage.world;
            let covers = [functions(), WatchFilter::new(&["svc"], &[])];
            let watchers = covers.map(|filter| world.join("w", &filter));
            let worker = world.join("x", &nothing());
            change(world, worker, 3);
            for link in watchers {
                assert!(world.reader(link).view.functions.len() >= 3);
            }
            Met::Felt
        },
    },
    Case {
        flag: "changes-per-second",
        set: |limits| limits.changes_per_second = 10,
        meet: |stage| {
            let world = &mut stage.world;
            let worker = world.join("x", &nothing());
            change(world, worker, 20);
            assert!(!world.engine.wants_read(world.links[worker].id));
            Met::Felt
        },
    },
    Case {
        flag: "max-share",
        set: |limits| limits.max_share = 1,
        meet: |stage| {
            let world = &mut stage.world;
            let worker = world.join("x", &nothing());
            world.contend();
            world.register(worker, &vec!["engine::refused"; 20_001]);
            world.turn();
            assert!(!world.engine.wants_read(world.links[worker].id));
            Met::Felt
        },
    },
    Case {
        flag: "send-buffer",
        set: |_| {},
        meet: |_| BUFFERS,
    },
    Case {
        flag: "receive-buffer",
        set: |_| {},
        meet: |_| BUFFERS,
    },
    Case {
        flag: "log-lines-per-second",
        set: |limits| limits.log_lines_per_second = 1,
        meet: |stage| {
            for _ in 0..30 {
                let link = stranger(&mut stage.world);
                stage.world.reset(link);
                stage.world.turn();
            }
            Met::Felt
        },
    },
    Case {
        flag: "hello-timeout",
        set: |limits| limits.hello_timeout = 100,
        meet: |stage| {
            let link = stranger(&mut stage.world);
            stage.world.wait(101);
            stage.world.turn();
            Met::Goodbye(link, "hello_timeout")
        },
    },
    Case {
        flag: "frame-timeout",
        set: |limits| limits.frame_timeout = 100,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            begin_frame(&mut stage.world, link, 10);
            // And a second for each 64 KiB announced.
            stage.world.wait(100 + 1526);
            stage.world.turn();
            Met::Goodbye(link, "frame_timeout")
        },
    },
    Case {
        flag: "ping-after",
        set: |limits| limits.ping_after = 100,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            stage.live_on();
            assert_eq!(stage.world.reader(link).pings, 0);
            stage.world.wait(101);
            stage.world.turn();
            assert_eq!(stage.world.reader(link).pings, 1);
            Met::Paced
        },
    },
    Case {
        flag: "silence",
        set: |limits| (limits.ping_after, limits.silence) = (50, 200),
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            for _ in 0..5 {
                stage.live_on();
                stage.world.wait(60);
            }
            stage.live_on();
            Met::Goodbye(link, "silent")
        },
    },
    Case {
        flag: "write-deadline",
        set: |limits| limits.write_deadline = 100,
        meet: |stage| {
            let link = stage.world.join("x", &nothing());
            stage.world.links[link].capacity = 0;
            stage.world.say(link, &Ping::default().to_frame());
            stage.world.turn();
            stage.world.wait(101);
            stage.world.turn();
            read_again(&mut stage.world, link);
            Met::Goodbye(link, "too_slow")
        },
    },
    Case {
        flag: "ready-timeout",
        set: |limits| limits.ready_timeout = 100,
        meet: |stage| {
            let world = &mut stage.world;
            let older = world.join("x", &nothing());
            world.register(older, &["x::f"]);
            world.turn();
            assert_eq!(world.engine.stats().functions, 2);
            let session = world.session(older);
            let newer = stranger(world);
            world.say(
                newer,
                &hello("x", "default", &nothing(), Some(&session), None),
            );
            world.turn();
            world.wait(101);
            world.turn();
            assert_eq!(world.engine.stats().functions, 1);
            Met::Felt
        },
    },
    Case {
        flag: "linger",
        set: |limits| limits.linger = 100,
        meet: |stage| {
            let world = &mut stage.world;
            let link = stranger(world);
            world.say(link, b"GET / HTTP/1.1\r\n");
            world.turn();
            assert!(world.links[link].open);
            world.wait(101);
            world.turn();
            assert!(!world.links[link].open);
            Met::Felt
        },
    },
    Case {
        flag: "settling",
        set: |limits| limits.settling = 100,
        meet: |stage| {
            let world = &mut stage.world;
            let settling = |world: &mut World| {
                let link = world.join("x", &nothing());
                world.reader(link).welcome.clone().unwrap().settling_ms
            };
            assert_eq!(settling(world), 100);
            world.wait(100);
            assert_eq!(settling(world), 0);
            Met::Paced
        },
    },
    Case {
        flag: "grace",
        set: |limits| limits.grace = 100,
        meet: |stage| {
            let world = &mut stage.world;
            let hung = world.provider(&["slow"], 10);
            let link = world.join("x", &nothing());
            let call = world.call(link, "slow", b"", CallOptions::default());
            world.turn();
            assert_eq!(invoked(world, hung).len(), 1);
            world.engine.handle_shutdown(world.now);
            world.turn();
            assert!(world.call_ending(link, call).is_none());
            world.wait(101);
            world.turn();
            assert_eq!(world.call_failure(link, call).code, "draining");
            Met::Over
        },
    },
];
