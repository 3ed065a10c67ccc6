//! One change to a thousand watchers: encodings and write calls, counted in the engine's process, and as
//! information the time from the registration to the first, the median and the last watcher.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use callboard::protocol::Inbox;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::engine::Engine;
use crate::peer::Peer;

const WATCHERS: usize = 1_000;
const CHANGES: u64 = 200;

pub(super) fn bench() {
    println!("fanout: {CHANGES} changes, one by one, to {WATCHERS} watchers");
    let mut engine = Engine::start();
    let mut audience = Audience::join(&engine.address);
    let mut worker = Peer::join(&engine.address, false);
    let before = engine.report();
    let (mut first, mut median, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let sent = Instant::now();
        worker.begin_register(&format!("orders::number{number:03}"), "");
        let heard = audience.hear();
        worker.end_register();
        first.push(heard[0] - sent);
        median.push(heard[WATCHERS / 2] - sent);
        last.push(heard[WATCHERS - 1] - sent);
    }
    let after = engine.report();
    assert_eq!(after.since(&before, "revisions"), CHANGES);
    // Each change is also answered to the worker that made it.
    let pushes = after.since(&before, "writes") - CHANGES;
    let per_change = |count: u64| count as f64 / CHANGES as f64;
    println!(
        "  encodings per change                {:>9.3}",
        per_change(after.since(&before, "encodings"))
    );
    println!(
        "  write calls per change and watcher  {:>9.3}",
        per_change(pushes) / WATCHERS as f64
    );
    println!(
        "  turns of the loop per change        {:>9.3}",
        per_change(after.since(&before, "turns"))
    );
    for (who, mut times) in [("first", first), ("median", median), ("last", last)] {
        times.sort_unstable();
        println!(
            "  to the {who:<6} watcher: median {:>7} us, 99 % within {:>7} us",
            times[times.len() / 2].as_micros(),
            times[times.len() * 99 / 100].as_micros(),
        );
    }
}

/// The watchers.
struct Audience {
    poll: Poll,
    events: Events,
    watchers: Vec<(TcpStream, Inbox)>,
    scratch: Vec<u8>,
}

impl Audience {
    fn join(address: &str) -> Self {
        let poll = Poll::new().expect("a poll");
        let mut watchers = Vec::new();
        for key in 0..WATCHERS {
            let stream = Peer::join(address, true).into_stream();
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_std(stream.into());
            poll.registry()
                .register(&mut stream, Token(key), Interest::READABLE)
                .expect("a socket");
            watchers.push((stream, Inbox::default()));
        }
        Self {
            poll,
            events: Events::with_capacity(WATCHERS),
            watchers,
            scratch: vec![0; 64 * 1024],
        }
    }

    /// Waits until each watcher has one more frame. Returns when they had it, in order.
    fn hear(&mut self) -> Vec<Instant> {
        let mut heard = Vec::with_capacity(WATCHERS);
        while heard.len() < WATCHERS {
            let patience = Some(Duration::from_secs(60));
            self.poll.poll(&mut self.events, patience).expect("events");
            assert!(!self.events.is_empty(), "{} heard of it", heard.len());
            for event in &self.events {
                let (stream, inbox) = &mut self.watchers[event.token().0];
                loop {
                    let n = match stream.read(&mut self.scratch) {
                        Ok(n) => n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("a watcher was lost: {error}"),
                    };
                    assert!(n > 0, "the engine closed a connection");
                    let mut input = &self.scratch[..n];
                    while inbox.next(&mut input, 1 << 20).expect("frames").is_some() {
                        heard.push(Instant::now());
                    }
                }
            }
        }
        assert_eq!(heard.len(), WATCHERS, "a watcher was told twice");
        heard
    }
}
