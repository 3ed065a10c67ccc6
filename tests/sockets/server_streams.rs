//! Streams over real sockets: however the bytes are cut and however the connection ends, the same
//! frames arrive, and what a peer is owed reaches it.

use std::time::Duration;

use crate::client::{Client, End, View, function, hello, serve, until};
use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{Goodbye, Message, Register, Text, Watch};
use callboard::server::{Server, ServerConfig, ServerHandle, Spin};

/// HELLO and REGISTER of two functions, as one stream.
fn joining(name: &str) -> Vec<u8> {
    let mut stream = hello(name, Watch::default());
    registering(&mut stream, 1, &["split::a", "split::b"]);
    stream
}

fn registering(stream: &mut Vec<u8>, id: u64, names: &[&str]) {
    let register = Register {
        id,
        functions: names.iter().map(|&name| function(name)).collect(),
        ..Register::default()
    };
    register.encode(stream);
}

fn read_bytes(server: &ServerHandle) -> u64 {
    server.counters().read_bytes
}

#[test]
fn every_split_into_two_writes_gives_the_same_result() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let stream = joining("split");
    for cut in 1..stream.len() {
        let before = read_bytes(&server);
        let mut client = Client::connect(at);
        client.send(&stream[..cut]);
        // Only what was read is certain to be a read of its own.
        until("the first half is read", || {
            read_bytes(&server) >= before + cut as u64
        });
        client.send(&stream[cut..]);
        let welcome = client.next();
        assert!(
            matches!(welcome.message(), Message::Welcome(_)),
            "cut at {cut}: {:?}",
            welcome.message()
        );
        let revision = client.answer(1).unwrap();
        view.read_until(&mut watcher, |view| view.revision >= revision);
        assert_eq!(view.names(), ["split::a", "split::b"], "cut at {cut}");
        let bye = Goodbye {
            code: Text("bye"),
            ..Goodbye::default()
        };
        client.send(&bye.to_frame());
        view.read_until(&mut watcher, |view| view.functions.is_empty());
    }
}

#[test]
fn frames_in_one_write_are_as_good_as_one_by_one() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut stream = hello("all-at-once", Watch::default());
    let names: Vec<String> = (0..4000).map(|i| format!("many::{i:04}")).collect();
    for (id, name) in names.iter().enumerate() {
        registering(&mut stream, id as u64 + 1, &[name]);
    }
    assert!(stream.len() > 64 * 1024, "more than one read takes");
    let mut client = Client::connect(at);
    client.send(&stream);
    for id in 1..=names.len() as u64 {
        client.answer(id).unwrap();
    }
    let mut watcher = Client::join_all(at, "watcher");
    let view = View::sync(&mut watcher);
    assert!(view.names().into_iter().eq(&names));
}

/// Data and the end wait in the kernel when the server first looks: they come as one event, and
/// nothing comes after it.
#[test]
fn data_and_the_end_in_one_event_are_both_read() {
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..ServerConfig::default()
    };
    let server = Server::bind(config).unwrap();
    let at = server.local_addresses().remove(0);
    let mut client = Client::connect(&at);
    client.send(&joining("brief"));
    client.finish();
    let server = server.start().unwrap();
    assert!(matches!(client.next().message(), Message::Welcome(_)));
    client.answer(1).unwrap();
    assert_eq!(client.next_or_end(), Err(End::Clean));
    let mut watcher = Client::join_all(&server.addresses()[0], "watcher");
    assert!(View::sync(&mut watcher).functions.is_empty());
}

#[test]
fn what_is_owed_is_written_after_the_peer_has_closed_its_half() {
    const REQUESTS: u64 = 8000;
    let server = serve(Limits {
        // Small, so that most of the answers have to wait in the engine.
        send_buffer: 4096,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut client = Client::join(at, "half-closed");
    client.register(&["half::f"]).unwrap();
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    assert!(view.has("half::f"));
    let mut stream = Vec::new();
    for id in 100..100 + REQUESTS {
        registering(&mut stream, id, &["engine::not-yours"]);
    }
    client.send(&stream);
    client.finish();
    // It is off the board while it still reads.
    view.read_until(&mut watcher, |view| !view.has("half::f"));
    for id in 100..100 + REQUESTS {
        assert_eq!(client.answer(id).unwrap_err().0, "reserved_name");
    }
    assert_eq!(client.next_or_end(), Err(End::Clean));
}

/// A way in which a worker may end its connection.
type Ending = (&'static str, fn(Client));

#[test]
fn gone_is_gone_however_a_connection_ends() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let ends: [Ending; 4] = [
        ("goodbye", |mut client| {
            let bye = Goodbye {
                code: Text("bye"),
                ..Goodbye::default()
            };
            client.send(&bye.to_frame());
            assert_eq!(client.next_or_end(), Err(End::Clean));
        }),
        ("the end of its half", |client| client.finish()),
        ("a close", drop),
        ("a reset", |client| client.reset()),
    ];
    for (how, end) in ends {
        println!("{how}");
        let mut client = Client::join(at, "leaving");
        client.register(&["leaving::a", "leaving::b"]).unwrap();
        view.read_until(&mut watcher, |view| view.has("leaving::a"));
        end(client);
        view.read_until(&mut watcher, |view| {
            assert_eq!(view.has("leaving::a"), view.has("leaving::b"));
            !view.has("leaving::a")
        });
    }
}

/// The end comes while the data before it is being read, or just before or after that.
#[test]
fn an_end_close_behind_the_data_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", dir.path().join("engine").display());
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap(), unix.parse().unwrap()],
        ..ServerConfig::default()
    };
    let server = Server::spawn(config).unwrap();
    for round in 0..200 {
        let at = &server.addresses()[round % 2];
        let mut client = Client::connect(at);
        client.send(&joining("brief"));
        assert!(matches!(client.next().message(), Message::Welcome(_)));
        client.answer(1).unwrap();
        let mut more = Vec::new();
        registering(&mut more, 2, &["split::c"]);
        client.send(&more);
        client.finish();
        client.answer(2).unwrap();
        assert_eq!(client.next_or_end(), Err(End::Clean), "round {round}");
    }
}

#[test]
fn a_request_is_one_read_and_its_answer_one_write() {
    const REQUESTS: u64 = 100;
    let server = serve(Limits {
        // No PING in between, however slow the machine.
        ping_after: 600_000,
        silence: 1_200_000,
        ..Limits::default()
    });
    let mut worker = Client::join(&server.addresses()[0], "worker");
    worker.register(&["one"]).unwrap();
    let before = server.counters();
    for _ in 0..REQUESTS {
        worker.register(&["one"]).unwrap();
    }
    let after = server.counters();
    assert_eq!(after.reads - before.reads, REQUESTS);
    assert_eq!(after.writes - before.writes, REQUESTS);
}

#[test]
fn a_change_is_one_write_for_each_watcher() {
    const WATCHERS: usize = 100;
    let server = serve(Limits {
        // No PING in between, however slow the machine.
        ping_after: 600_000,
        silence: 1_200_000,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    let mut watchers: Vec<Client> = (0..WATCHERS)
        .map(|_| Client::join_all(at, "watcher"))
        .collect();
    let mut views: Vec<View> = watchers.iter_mut().map(View::sync).collect();

    let before = server.counters().writes;
    let revision = worker.register(&["one", "two", "three"]).unwrap();
    for (watcher, view) in watchers.iter_mut().zip(&mut views) {
        view.read_until(watcher, |view| view.revision == revision);
        assert_eq!(view.functions.len(), 3);
    }
    let writes = server.counters().writes - before;
    assert_eq!(writes as usize, WATCHERS + 1, "one each, and the answer");
}

const UNREAD: u64 = 3000;

/// A worker that asks and asks and reads no answer, until the engine reads no more from it. On a Unix
/// socket, where nothing but the engine's small send buffer holds answers.
fn stuff(dir: &tempfile::TempDir) -> (ServerHandle, Client) {
    let server = Server::spawn(ServerConfig {
        listen: vec![Address::Unix(dir.path().join("board.sock"))],
        limits: Limits {
            send_buffer: 4096,
            max_outbound: 10_000,
            ..Limits::default()
        },
        ..ServerConfig::default()
    })
    .unwrap();
    let at = &server.addresses()[0];
    let mut client = Client::join(at, "stuffed");
    client.register(&["stuffed::f"]).unwrap();
    let mut stream = Vec::new();
    for id in 100..100 + UNREAD {
        registering(&mut stream, id, &["engine::not-yours"]);
    }
    let before = read_bytes(&server);
    client.send(&stream);
    // A few turns later it has read all that it is going to.
    let mut other = Client::join(at, "other");
    for _ in 0..10 {
        assert!(other.is_served());
    }
    let read = read_bytes(&server) - before;
    assert!(read < stream.len() as u64, "{read} bytes were read");
    (server, client)
}

#[test]
fn a_peer_whose_answers_pile_up_is_read_again_once_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut client) = stuff(&dir);
    for id in 100..100 + UNREAD {
        assert_eq!(client.answer(id).unwrap_err().0, "reserved_name");
    }
    assert!(client.is_served());
}

#[test]
fn the_close_of_a_peer_that_is_not_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut client) = stuff(&dir);
    let mut watcher = Client::join_all(&server.addresses()[0], "watcher");
    let mut view = View::sync(&mut watcher);
    assert!(view.has("stuffed::f"));
    client.finish();
    view.read_until(&mut watcher, |view| view.functions.is_empty());
    // And it still gets all that it is owed.
    for id in 100..100 + UNREAD {
        assert_eq!(client.answer(id).unwrap_err().0, "reserved_name");
    }
    assert_eq!(client.next_or_end(), Err(End::Clean));
}

#[test]
fn a_flood_does_not_starve_the_others() {
    let server = serve(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut flooder = Client::join(at, "flooder");
    let mut calm = Client::join(at, "calm");
    let flooding = std::thread::spawn(move || {
        let frame = crate::client::framed(&[0x91, 0xcd, 3, 0]);
        let burst = frame.repeat(100_000);
        for _ in 0..20 {
            flooder.send(&burst);
        }
        flooder
    });
    for i in 0..50 {
        calm.register(&[&format!("calm::{i}")]).unwrap();
    }
    assert!(flooding.join().unwrap().is_served());
}

#[test]
fn an_idle_server_does_not_turn() {
    let server = serve(Limits {
        ping_after: 300,
        silence: 60_000,
        ..Limits::default()
    });
    let mut client = Client::join_all(&server.addresses()[0], "idle");
    View::sync(&mut client);
    client.next_where(|message| matches!(message, Message::Ping(_)));
    let before = server.counters();
    client.send(&callboard::protocol::Pong::default().to_frame());
    client.next_where(|message| matches!(message, Message::Ping(_)));
    let turns = server.counters().turns - before.turns;
    assert!(turns < 20, "{turns} turns from one PING to the next");
}

/// A server that spins.
fn spinning(spin: Spin) -> ServerHandle {
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        limits: Limits {
            ping_after: 300,
            ..Limits::default()
        },
        spin,
        ..ServerConfig::default()
    };
    Server::spawn(config).unwrap()
}

#[test]
fn a_server_that_spins_serves_and_keeps_its_deadlines_and_never_sleeps() {
    let server = spinning(Spin::Always);
    let mut client = Client::join_all(&server.addresses()[0], "spun");
    View::sync(&mut client);
    client.register(&["spun::f"]).unwrap();
    // Nothing comes in meanwhile: the deadline passes between two looks.
    client.next_where(|message| matches!(message, Message::Ping(_)));
    let counters = server.counters();
    assert_eq!(counters.sleeps, 0);
    assert!(counters.looks > counters.turns, "{counters:?}");
    assert!(counters.turns < 40, "a look is no turn: {counters:?}");
    server.shutdown();
    assert!(server.join().is_ok());
}

#[test]
fn a_server_that_spins_for_a_while_sleeps_again_and_spins_again() {
    let server = spinning(Spin::For(Duration::from_micros(500)));
    let mut client = Client::join(&server.addresses()[0], "drowsy");
    for round in 0..3 {
        let before = server.counters();
        client.register(&[&format!("drowsy::f{round}")]).unwrap();
        // From one PING to the next it sleeps at least once, and had looked before.
        client.next_where(|message| matches!(message, Message::Ping(_)));
        client.send(&callboard::protocol::Pong::default().to_frame());
        client.next_where(|message| matches!(message, Message::Ping(_)));
        let after = server.counters();
        assert!(after.sleeps > before.sleeps, "{before:?} {after:?}");
        assert!(after.looks > before.looks, "{before:?} {after:?}");
    }
}

#[test]
fn a_server_that_does_not_spin_never_looks_without_an_event() {
    let server = serve(Limits::default());
    let mut client = Client::join(&server.addresses()[0], "sleepy");
    client.register(&["sleepy::f"]).unwrap();
    let counters = server.counters();
    assert_eq!(counters.looks, 0);
    assert!(counters.sleeps > 0);
}
