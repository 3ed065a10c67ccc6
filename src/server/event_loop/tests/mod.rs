//! Drives turns by hand over real sockets: stale events, the list of those to read of an earlier turn, many connections at
//! once. Waits for the kernel, never for the clock.

mod dice;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::*;
use crate::server::config::ServerConfig;

/// Longer than the kernel takes for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn event_loop() -> (EventLoop<System>, String) {
    event_loop_with(&Limits::default())
}

fn event_loop_with(limits: &Limits) -> (EventLoop<System>, String) {
    let server = Server::bind(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        limits: Limits {
            hello_timeout: 600_000,
            ..limits.clone()
        },
        ..ServerConfig::default()
    })
    .unwrap();
    let address = server.local_addresses().remove(0).to_string();
    let kernel = System::new(server.poll);
    (
        EventLoop::new(kernel, server.listeners, server.parts),
        address,
    )
}

/// The next events; some are pending.
fn events(event_loop: &mut EventLoop<System>) -> Vec<Readiness> {
    let mut events = Vec::new();
    event_loop.kernel.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "the kernel says nothing");
    events
}

/// Connects, and takes turns until the connection is accepted. Returns its id.
fn join(event_loop: &mut EventLoop<System>, address: &str) -> (TcpStream, ConnId) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let before = event_loop.sockets.len();
    while event_loop.sockets.len() == before {
        let mut events = events(event_loop);
        event_loop.turn(&mut events);
    }
    let ids = event_loop.sockets.iter().map(|(_, socket)| socket.id);
    let newest = ids.max_by_key(|id| id.token() >> 32);
    (stream, newest.expect("it is in"))
}

/// Takes turns until the engine has sent something to this peer.
fn is_answered(event_loop: &mut EventLoop<System>, stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut answer = [0; 1];
    loop {
        match stream.read(&mut answer) {
            Ok(n) => return n > 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut events = events(event_loop);
                event_loop.turn(&mut events);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_was_meant_for_a_connection_that_is_gone_does_not_reach_the_next_in_its_slot() {
    let (mut event_loop, address) = event_loop();
    let (mut older, gone) = join(&mut event_loop, &address);
    // Bytes and an end of stream are pending for the older connection, in a batch of events not handled yet.
    older.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    older.shutdown(Shutdown::Write).unwrap();
    let mut waiting = events(&mut event_loop);
    let is_its = |event: &Readiness| event.token == Token(gone.token());
    while !waiting.iter().any(|it| is_its(it) && it.read_closed) {
        waiting = events(&mut event_loop);
    }
    // Before they are handled, a fan-out finds the connection broken, and it is closed.
    let now = event_loop.now();
    event_loop.report_reset(gone, &io::ErrorKind::BrokenPipe.into(), now);
    event_loop.reap();
    assert!(find(&mut event_loop.sockets, gone).is_none());
    let (mut newer, there) = join(&mut event_loop, &address);
    assert_eq!(there.key(), gone.key(), "the same slot");
    assert_ne!(there, gone);

    // All that a turn may still hold of the older connection: events, a word that it is readable, the list of failed writes.
    event_loop.handle_events(&mut waiting, now);
    event_loop.engine.handle_readable(gone);
    event_loop
        .failed_writes
        .push((gone, io::ErrorKind::BrokenPipe.into()));
    let mut nothing = Vec::new();
    event_loop.turn(&mut nothing);
    let socket = find(&mut event_loop.sockets, there).expect("it is not closed");
    assert_eq!(socket.state, SocketState::Open);
    // The newer one is served as if its slot were new.
    newer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(is_answered(&mut event_loop, &mut newer));
}

#[test]
fn a_crowd_at_the_door_is_let_in_a_bounded_number_at_a_time() {
    const CROWD: usize = 2 * ACCEPTS_PER_TURN + 10;
    let (mut event_loop, address) = event_loop();
    let _crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let mut inside = Vec::new();
    while inside.last() != Some(&CROWD) {
        // More are pending: the wait returns at once, with or without events.
        assert_eq!(event_loop.timeout(), Some(Duration::ZERO));
        let mut events = Vec::new();
        event_loop
            .kernel
            .poll(&mut events, Some(Duration::ZERO))
            .unwrap();
        event_loop.turn(&mut events);
        inside.push(event_loop.sockets.len());
    }
    assert_eq!(inside, [ACCEPTS_PER_TURN, 2 * ACCEPTS_PER_TURN, CROWD]);
}

#[test]
fn a_deadline_ends_nobody_whose_bytes_wait_unread() {
    let (mut event_loop, address) = event_loop();
    let (mut peer, _) = join(&mut event_loop, &address);
    // The events of these bytes are not handled, as when they arrive during the turn.
    peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    events(&mut event_loop);
    // After its deadline for HELLO.
    let late = Time(event_loop.now().0 + 700_000_000);
    event_loop.expire(late);
    event_loop.flush(late);
    event_loop.reap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("protocol_error"), "{answer:?}");
}

#[test]
fn a_connection_that_may_be_read_again_is_read_without_a_word_from_the_kernel() {
    // More than one read of the loop, so that the engine holds the peer back in the midst of it: the kernel has told
    // of all these bytes by then, and tells of no further ones.
    const PINGS: usize = 15_000;
    let (mut event_loop, address) = event_loop_with(&Limits {
        max_outbound: 1000,
        ..Limits::default()
    });
    let (mut peer, _) = join(&mut event_loop, &address);
    // HELLO of version 1 by `p`, who watches nothing; PING.
    let hello = b"\0\0\0\x0f\x95\x40\x91\x01\xa1p\xa0\x81\xa5watch\x80";
    let pings = b"\0\0\0\x03\x92\x43\0".repeat(PINGS);
    assert!(pings.len() > READ_BUFFER);
    peer.write_all(&[&hello[..], &pings].concat()).unwrap();
    peer.set_nonblocking(true).unwrap();
    // WELCOME, and a PONG for each PING.
    let (mut answers, mut frames) = (Vec::new(), 0);
    let mut bytes = vec![0; READ_BUFFER];
    while frames < 1 + PINGS {
        match peer.read(&mut bytes) {
            Ok(n) => {
                assert!(n > 0, "the engine closed the connection");
                answers.extend_from_slice(&bytes[..n]);
                let mut rest = &answers[..];
                while let Some((header, body)) = rest.split_first_chunk()
                    && let Some((_, behind)) =
                        body.split_at_checked(u32::from_be_bytes(*header) as usize)
                {
                    frames += 1;
                    rest = behind;
                }
                answers = rest.to_vec();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let is_due = event_loop.timeout() == Some(Duration::ZERO);
                let wait = if is_due { Duration::ZERO } else { PATIENCE };
                let mut events = Vec::new();
                event_loop.kernel.poll(&mut events, Some(wait)).unwrap();
                assert!(is_due || !events.is_empty(), "it sleeps after {frames}");
                event_loop.turn(&mut events);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_death_that_a_write_found_is_told_at_once_and_not_with_the_next_event() {
    let (mut event_loop, address) = event_loop();
    let (_peer, id) = join(&mut event_loop, &address);
    let mut nothing = Vec::new();
    while event_loop.timeout() == Some(Duration::ZERO) {
        event_loop.turn(&mut nothing);
    }
    event_loop
        .failed_writes
        .push((id, io::ErrorKind::BrokenPipe.into()));
    assert_eq!(event_loop.timeout(), Some(Duration::ZERO));
    event_loop.turn(&mut nothing);
    assert!(find(&mut event_loop.sockets, id).is_none());
}
