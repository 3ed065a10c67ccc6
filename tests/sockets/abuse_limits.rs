//! Crowds over real sockets: more connections than there is room for, from one place or without a word, and what
//! that does to the log. Those who speak are served meanwhile.

use std::net::TcpStream;

use crate::client::{Client, serve, until};
use crate::running::{Running, finished};
use callboard::address::Address;
use callboard::limits::Limits;
use callboard::server::{Server, ServerConfig, ServerHandle};

/// How often a limit was met.
fn met(server: &ServerHandle, flag: &str) -> u64 {
    let stats = server.stats().expect("it runs");
    stats.limited.get(flag).copied().unwrap_or(0)
}

#[test]
fn connections_from_one_place_are_bounded_and_other_places_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("board.sock");
    let server = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap(), Address::Unix(path)],
        limits: Limits {
            max_connections_per_address: 2,
            ..Limits::default()
        },
        ..ServerConfig::default()
    })
    .unwrap();
    // They stay, round after round.
    let mut inside = Vec::new();
    for (round, at) in server.addresses().iter().enumerate() {
        inside.extend([Client::join(at, "one"), Client::join(at, "two")]);
        let (code, message) = Client::connect(at).goodbye();
        assert_eq!(code, "too_many_connections");
        let flag = "--max-connections-per-address";
        assert!(message.contains(flag), "{message}");
        assert_eq!(met(&server, &flag[2..]), round as u64 + 1);
        assert!(inside.iter_mut().all(Client::is_served));
    }
}

#[test]
fn silent_connections_make_room_for_those_that_speak() {
    let server = serve(Limits {
        max_greeting: 3,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut silent: Vec<Client> = (0..10).map(|_| Client::connect(at)).collect();
    for client in &mut silent[..7] {
        let (code, message) = client.goodbye();
        assert_eq!(code, "too_many_connections");
        assert!(message.contains("--max-greeting"), "{message}");
    }
    let mut worker = Client::join(at, "worker");
    worker.register(&["f"]).unwrap();
    assert!(met(&server, "max-greeting") >= 7);
}

#[test]
fn beyond_those_that_are_told_of_the_limit_newcomers_are_closed_without_a_word() {
    let server = serve(Limits {
        max_connections: 1,
        max_refused: 1,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut inside = Client::join(at, "inside");
    let mut told = Client::connect(at);
    until("one is told", || met(&server, "max-connections") > 0);
    for _ in 0..20 {
        let mut untold = Client::connect(at);
        assert!(untold.next_or_end().is_err(), "a frame for the untold");
    }
    assert_eq!(met(&server, "max-refused"), 20);
    assert_eq!(told.goodbye().0, "too_many_connections");
    assert!(inside.is_served());
    drop((told, inside));
    until("there is room again", || {
        let mut next = Client::connect(at);
        let hello = crate::client::hello("next", callboard::protocol::Watch::default());
        next.try_send(&hello).is_ok() && next.next_or_end().is_ok()
    });
}

#[test]
fn a_peer_that_connects_in_a_loop_does_not_fill_the_log() {
    const TIMES: usize = 400;
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log-lines-per-second",
        "1",
    ];
    let mut engine = Running::start(&serve);
    let line = engine.error("listening on ");
    let address = line.split("listening on ").nth(1).expect("an address");
    for _ in 0..TIMES {
        drop(TcpStream::connect(address).unwrap());
    }
    until("all are gone again", || {
        let (_, stats, _) = finished(&["stats", "--json", "--connect", address]);
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        let ended: u64 = ["eof", "reset"]
            .iter()
            .filter_map(|code| stats["closed"][code].as_u64())
            .sum();
        ended >= TIMES as u64 && stats["limited"]["log-lines-per-second"].as_u64() > Some(0)
    });
    engine.signal("TERM");
    let log = engine.all_errors();
    let lines = log.matches("closed before HELLO").count();
    // A burst of ten, and one for each second that this took.
    assert!((1..TIMES / 2).contains(&lines), "{lines} lines");
}
