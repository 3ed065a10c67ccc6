//! Turns driven by hand over real sockets: what a batch of events, a list of a turn before, or a crowd at the
//! door may do. Waits for the kernel, never for the clock.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::*;
use crate::server::ServerConfig;

/// Longer than the kernel takes for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn shell() -> (Shell, String) {
    let server = Server::bind(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        limits: Limits {
            hello_timeout: 600_000,
            ..Limits::default()
        },
        ..ServerConfig::default()
    })
    .unwrap();
    let address = server.local_addresses().remove(0).to_string();
    (Shell::new(server), address)
}

/// The next events; there are some to come.
fn events(shell: &mut Shell) -> Events {
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    shell.poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "the kernel says nothing");
    events
}

/// Connects, and takes turns until that one is in. Returns its id.
fn join(shell: &mut Shell, address: &str) -> (TcpStream, ConnId) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let before = shell.connections.len();
    while shell.connections.len() == before {
        let mut events = events(shell);
        shell.turn(&mut events);
    }
    let ids = shell
        .connections
        .iter()
        .map(|(_, connection)| connection.id);
    let newest = ids.max_by_key(|id| id.token() >> 32);
    (stream, newest.expect("it is in"))
}

/// Takes turns until the engine has said something to this one.
fn is_answered(shell: &mut Shell, stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut answer = [0; 1];
    loop {
        match stream.read(&mut answer) {
            Ok(n) => return n > 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut events = events(shell);
                shell.turn(&mut events);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_was_meant_for_a_connection_that_is_gone_does_not_reach_the_next_in_its_slot() {
    let (mut shell, address) = shell();
    let (mut older, gone) = join(&mut shell, &address);
    // Bytes and an end wait for the older one, in a batch of events that nobody has looked at yet.
    older.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    older.shutdown(Shutdown::Write).unwrap();
    let mut waiting = events(&mut shell);
    let is_its = |event: &Event| event.token() == Token(gone.token());
    while !waiting.iter().any(|it| is_its(it) && it.is_read_closed()) {
        waiting = events(&mut shell);
    }
    // Before it comes to that, a fan-out finds the connection broken, and it is closed.
    let now = shell.now();
    shell.report_reset(gone, &io::ErrorKind::BrokenPipe.into(), now);
    shell.reap();
    assert!(find(&mut shell.connections, gone).is_none());
    let (mut newer, there) = join(&mut shell, &address);
    assert_eq!(there.key(), gone.key(), "the same slot");
    assert_ne!(there, gone);

    // All that a turn may still hold of the older one: events, the ready list, the list of the broken.
    shell.handle_events(&mut waiting, now);
    shell.ready.push(gone);
    shell.broken.push((gone, io::ErrorKind::BrokenPipe.into()));
    let mut nothing = Events::with_capacity(1);
    shell.turn(&mut nothing);
    let connection = find(&mut shell.connections, there).expect("it is not closed");
    assert_eq!(connection.life, Life::Open);
    assert!(!connection.queued);
    // It is served as if there had been nobody before.
    newer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(is_answered(&mut shell, &mut newer));
}

#[test]
fn a_crowd_at_the_door_is_let_in_a_bounded_number_at_a_time() {
    const CROWD: usize = 2 * ACCEPTS_PER_TURN + 10;
    let (mut shell, address) = shell();
    let _crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let mut inside = Vec::new();
    while inside.last() != Some(&CROWD) {
        // More wait: the wait for events ends at once, whether there are any or not.
        assert_eq!(shell.timeout(), Some(Duration::ZERO));
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        shell.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        shell.turn(&mut events);
        inside.push(shell.connections.len());
    }
    assert_eq!(inside, [ACCEPTS_PER_TURN, 2 * ACCEPTS_PER_TURN, CROWD]);
}

#[test]
fn a_deadline_ends_nobody_whose_bytes_wait_unread() {
    let (mut shell, address) = shell();
    let (mut peer, _) = join(&mut shell, &address);
    // The events of these bytes are never looked at, as when they come while the turn is under way.
    peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    events(&mut shell);
    // Beyond its time for HELLO.
    let late = Time(shell.now().0 + 700_000_000);
    shell.expire(late);
    shell.flush(late);
    shell.reap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("protocol_error"), "{answer:?}");
}
