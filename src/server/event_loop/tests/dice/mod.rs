//! The loop over a kernel that is driven by dice: peers connect, ask, stall, close and break off at any time, while calls
//! are interrupted, writes are short and descriptors run out. After each turn: the budgets were kept, and a loop that
//! would sleep has missed nothing. At the end: each peer that kept the rules has all its answers.

mod kernel;

use std::cell::RefCell;
use std::rc::Rc;

use rand::RngExt;

use super::*;
use crate::engine::Config;
use crate::protocol::{
    Definition, Hello, Inbox, Message, Ping, Pong, Register, Text, Unregister, VERSION,
};
use crate::server::config::ServerConfig;
use kernel::{DiceKernel, DiceListener, Net, Wire};

/// Turns in which peers do what the dice say.
const TURNS: usize = 250;

/// Turns within which everything comes to rest.
const TURNS_TO_REST: usize = 5_000;

/// Writes of fan-out in one turn.
const FANOUT_WRITES: usize = 7;

/// The largest frame that the engine sends here.
const FRAME_MAX: usize = 1 << 24;

/// A client, as far as the loop is concerned.
struct Client {
    wire: usize,
    /// It reads in each turn, and keeps the rules until it leaves.
    is_good: bool,
    inbox: Inbox,
    /// Bytes that it will send.
    out: Vec<u8>,
    requests: u64,
    answers: u64,
    pings: u64,
    pongs: u64,
    /// The revision of the last PONG.
    revision: u64,
    is_welcome: bool,
    /// The code of the engine's GOODBYE.
    goodbye: Option<String>,
    has_left: bool,
}

impl Client {
    fn new(number: usize, wire: usize, is_good: bool) -> Self {
        let name = format!("client-{number}");
        let hello = Hello {
            versions: vec![VERSION],
            name: Text(&name),
            ..Hello::default()
        };
        Self {
            wire,
            is_good,
            inbox: Inbox::default(),
            out: hello.to_frame(),
            requests: 0,
            answers: 0,
            pings: 0,
            pongs: 0,
            revision: 0,
            is_welcome: false,
            goodbye: None,
            has_left: false,
        }
    }

    fn ping(&mut self) {
        self.pings += 1;
        Ping::default().encode(&mut self.out);
    }

    /// Registers a function of its own with a description of this many bytes, or removes it again.
    fn ask(&mut self, bytes: usize) {
        self.requests += 1;
        let (id, description) = (self.requests, "d".repeat(bytes));
        let name = format!("f{}::{}", self.wire, id.div_ceil(2));
        if id.is_multiple_of(2) {
            let names = vec![Text(&name)];
            let unregister = Unregister {
                id,
                names,
                ..Unregister::default()
            };
            return unregister.encode(&mut self.out);
        }
        let function = Definition {
            name: Text(&name),
            description: Text(&description),
            ..Definition::default()
        };
        let functions = vec![function];
        let register = Register {
            id,
            functions,
            ..Register::default()
        };
        register.encode(&mut self.out);
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(frame) = self.inbox.next(&mut rest, FRAME_MAX).expect("whole frames") {
            match Message::decode(frame).expect("a message") {
                Message::Welcome(_) => self.is_welcome = true,
                Message::Outcome(it) => {
                    self.answers += 1;
                    assert_eq!(it.id, self.answers, "answers come in order");
                }
                Message::Ping(_) => Pong::default().encode(&mut self.out),
                Message::Pong(it) => {
                    self.pongs += 1;
                    self.revision = it.revision;
                }
                Message::Goodbye(it) => self.goodbye = Some(it.code.to_string()),
                Message::Failure(it) => panic!("{}: {}", it.code.0, it.message.0),
                _ => {}
            }
        }
    }

    fn is_served(&self) -> bool {
        self.is_good && !self.has_left
    }
}

/// A loop, its kernel, and the clients.
struct World {
    net: Rc<RefCell<Net>>,
    event_loop: EventLoop<DiceKernel>,
    events: Vec<Readiness>,
    clients: Vec<Client>,
    descriptors: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = Server::bind(ServerConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            limits: Limits {
                // Replies of a few registrations: the engine stops reading now and then.
                max_outbound: 2_000,
                changes_per_second: 0,
                ..Limits::default()
            },
            seed: Some([seed as u8; 32]),
            fanout_writes: FANOUT_WRITES,
            ..ServerConfig::default()
        });
        let parts = server.unwrap().parts;
        let descriptors = 4 + seed as usize % 9;
        let net = Net::new(seed, 1 + seed as usize % 3, descriptors);
        let listeners = DiceListener::all(&net);
        Self {
            event_loop: EventLoop::new(DiceKernel(net.clone()), listeners, parts),
            net,
            events: Vec::new(),
            clients: Vec::new(),
            descriptors,
        }
    }

    fn roll(&self, upper: usize) -> usize {
        self.net.borrow_mut().dice.random_range(0..upper)
    }

    fn one_in(&self, times: usize) -> bool {
        self.roll(times) == 0
    }

    fn with_wire<T>(&self, number: usize, act: impl FnOnce(&mut Wire) -> T) -> T {
        act(&mut self.net.borrow_mut().wires[number])
    }

    /// Everybody does something, or nothing.
    fn act(&mut self) {
        if self.clients.len() < 24 && self.one_in(6) {
            let listeners = self.net.borrow().backlogs.len();
            for _ in 0..=self.roll(3) {
                let (listener, room) = (self.roll(listeners), 1 << (8 + self.roll(9)));
                let wire = self.net.borrow_mut().connect(listener, room);
                let is_good = !self.one_in(3);
                let number = self.clients.len();
                self.clients.push(Client::new(number, wire, is_good));
            }
        }
        for at in 0..self.clients.len() {
            let dice = [6, 6, 300, 400, 3, 100].map(|times| self.one_in(times));
            let [pings, asks, shuts, breaks, stalls, floods] = dice;
            let large = if self.one_in(10) { 20_000 } else { 10 };
            let client = &mut self.clients[at];
            if client.has_left {
                continue;
            }
            if pings {
                client.ping();
            }
            if asks {
                client.ask(large);
            }
            if floods {
                // More than the loop reads of one connection in one turn.
                let requests = 2 * READ_BUFFER / 20_000;
                (0..requests).for_each(|_| client.ask(20_000));
            }
            if shuts || breaks {
                client.has_left = true;
                let wire = client.wire;
                let closes = self.one_in(2);
                self.with_wire(wire, |it| match (shuts, closes) {
                    (true, true) => it.shut(),
                    (true, false) => {
                        it.peer_gone = true;
                        it.shut();
                    }
                    _ => it.break_off(),
                });
                continue;
            }
            let (most_out, most_in) = (1 << self.roll(21), 1 << self.roll(16));
            self.exchange(at, most_out, if stalls { 0 } else { most_in });
        }
    }

    /// A client sends and reads, so many bytes at the most. One that is good reads in any case.
    fn exchange(&mut self, at: usize, most_out: usize, most_in: usize) {
        let client = &mut self.clients[at];
        let (wire, is_good) = (client.wire, client.is_good);
        let sent: Vec<u8> = client.out.drain(..most_out.min(client.out.len())).collect();
        let most_in = if is_good { most_in.max(512) } else { most_in };
        let heard = self.with_wire(wire, |it| {
            if !sent.is_empty() && !it.reset && !it.dropped {
                it.send(&sent);
            }
            it.receive(most_in)
        });
        self.clients[at].hear(&heard);
    }

    /// A wait and a turn. Without an event the time passes until the next deadline, but not beyond `most`.
    fn turn(&mut self, most: Duration) {
        let wait = self.event_loop.timeout().unwrap_or(most).min(most);
        let (kernel, events) = (&mut self.event_loop.kernel, &mut self.events);
        if let Err(error) = kernel.poll(events, Some(wait)) {
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
            self.event_loop.turn_ended = self.event_loop.now();
            return;
        }
        let earlier = std::mem::take(&mut self.net.borrow_mut().calls);
        let lengths = |net: &Net| net.backlogs.iter().map(|it| it.pending.len()).collect();
        let pending = lengths(&self.net.borrow());
        self.event_loop.turn(&mut self.events);
        self.check_budgets();
        self.check_turns_of_listeners(pending);
        let net = self.net.borrow();
        for number in earlier.failed {
            assert!(net.wires[number].dropped, "wire {number} broke a turn ago");
        }
        drop(net);
        self.check_rest();
        #[cfg(debug_assertions)]
        if self.one_in(16) {
            self.event_loop.engine.check_books(self.event_loop.now());
        }
    }

    /// No peer and no listener had more than its part of the turn.
    fn check_budgets(&self) {
        let net = self.net.borrow();
        let calls = &net.calls;
        let most = REPLY_BUDGET.writes + self.event_loop.fanout.writes;
        // Interrupted calls are repeated at once.
        assert!(calls.writes <= 2 * most, "{} writes", calls.writes);
        assert!(calls.accepted.len() <= LAST_ACCEPTS, "{:?}", calls.accepted);
        let most_read = Config::TURN_WORK as usize * 512 + 2 * READ_BUFFER;
        for number in 0..net.wires.len() {
            let read = calls.read.iter().filter(|(wire, _)| *wire == number);
            let read: usize = read.map(|(_, bytes)| bytes).sum();
            // Once for the events, and once more for a deadline.
            assert!(read <= most_read, "{read} bytes");
        }
    }

    /// No listener had two turns while connections were pending at another; `pending` is their number before the turn.
    fn check_turns_of_listeners(&self, mut pending: Vec<usize>) {
        let mut last = None;
        for &(listener, is_accepted) in &self.net.borrow().calls.accepted {
            if is_accepted {
                let others = pending.iter().enumerate().filter(|(it, _)| *it != listener);
                let waits = others.map(|(_, count)| count).sum::<usize>() > 0;
                assert!(!waits || last != Some(listener), "{pending:?}");
                last = Some(listener);
            }
            pending[listener] -= 1;
        }
    }

    /// A loop that would sleep although no event is due has nothing left to do.
    fn check_rest(&self) {
        let net = self.net.borrow();
        let open = net.wires.iter().filter(|it| !it.dropped);
        let accepted = open.filter(|it| it.is_registered()).count();
        assert_eq!(self.event_loop.sockets.len(), accepted, "sockets");
        if self.event_loop.timeout() == Some(Duration::ZERO) || net.has_events() {
            return;
        }
        for (_, socket) in &self.event_loop.sockets {
            let (wire, id) = (&net.wires[socket.stream.number], socket.id);
            let is_open = socket.state == SocketState::Open;
            let wants = self.event_loop.engine.wants_read(id);
            assert!(!(is_open && wants) || wire.up.is_empty(), "{id:?} unread");
            let has_ended = wire.peer_shut || wire.peer_gone || wire.reset;
            assert!(!is_open || !has_ended, "the end of {id:?}");
            assert_ne!(socket.state, SocketState::PeerClosed, "the end of {id:?}");
            let blocked = socket.write_blocked && wire.has_room();
            assert!(
                !blocked || socket.state == SocketState::Broken,
                "{id:?} blocked"
            );
        }
        let waits = net.backlogs.iter().any(|it| !it.pending.is_empty());
        let stopping = self.event_loop.shutdown_requests > 0;
        if waits && !stopping {
            let attempt = self.event_loop.acceptor.next_attempt();
            let latest = net.now.after(Duration::from_secs(1));
            assert!(
                attempt.is_some_and(|at| at <= latest),
                "no attempt to accept"
            );
        }
    }

    /// Lets everything come to rest: all clients send and read all they have, and every call succeeds.
    fn rest(&mut self) {
        {
            let mut net = self.net.borrow_mut();
            net.is_restless = false;
            net.descriptors += 100;
        }
        self.descriptors += 100;
        for _ in 0..TURNS_TO_REST {
            for at in 0..self.clients.len() {
                if !self.clients[at].has_left {
                    self.exchange(at, usize::MAX, usize::MAX);
                }
            }
            self.turn(Duration::from_millis(100));
            let net = self.net.borrow();
            let is_idle = self.event_loop.timeout() != Some(Duration::ZERO) && !net.has_events();
            let is_heard = |it: &Client| {
                it.has_left || it.out.is_empty() && net.wires[it.wire].down.is_empty()
            };
            let is_in = net.backlogs.iter().all(|it| it.pending.is_empty());
            if is_idle && is_in && self.clients.iter().all(is_heard) {
                return;
            }
        }
        panic!("no rest within {TURNS_TO_REST} turns");
    }

    /// Each client that kept the rules has all its answers and knows the last revision.
    fn check_answers(&mut self) {
        for client in self.clients.iter_mut().filter(|it| it.is_served()) {
            client.ping();
        }
        self.rest();
        let net = self.net.borrow();
        let served = self.clients.iter().filter(|it| it.is_served());
        let served: Vec<&Client> = served.filter(|it| !net.wires[it.wire].reset).collect();
        for client in &served {
            assert_eq!(client.goodbye, None, "client {}", client.wire);
            assert!(client.is_welcome && !net.wires[client.wire].dropped);
            assert_eq!(client.pongs, client.pings, "client {}", client.wire);
            assert_eq!(client.answers, client.requests, "client {}", client.wire);
            assert_eq!(
                client.revision, served[0].revision,
                "client {}",
                client.wire
            );
        }
    }

    /// All leave, or the loop is told to stop: no socket is left, and each descriptor is free again.
    fn end(mut self, by_shutdown: bool) {
        if by_shutdown {
            let now = self.event_loop.now();
            self.event_loop.stop(1, now);
            self.rest();
        }
        for client in self.clients.iter_mut().filter(|it| !it.has_left) {
            if by_shutdown && client.is_good && !self.net.borrow().wires[client.wire].reset {
                assert_eq!(client.goodbye.as_deref(), Some("shutting_down"));
                assert!(self.net.borrow().wires[client.wire].loop_shut);
            }
            client.has_left = true;
            self.net.borrow_mut().wires[client.wire].shut();
        }
        for _ in 0..TURNS_TO_REST {
            if self.event_loop.sockets.is_empty() {
                break;
            }
            // Clients that left without reading: until the engine gives them up.
            self.turn(Duration::from_secs(60));
        }
        assert!(self.event_loop.sockets.is_empty(), "sockets are left");
        assert_eq!(self.event_loop.is_over(), by_shutdown);
        let net = self.net.borrow();
        assert_eq!(net.descriptors, self.descriptors, "descriptors");
    }
}

#[test]
fn a_loop_that_would_sleep_has_missed_nothing_whatever_the_kernel_does() {
    for seed in 0..100 {
        let played = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..TURNS {
                world.act();
                let most = Duration::from_millis(1 << world.roll(12));
                world.turn(most);
            }
            world.rest();
            world.check_answers();
            world.end(seed % 2 == 0);
        });
        if let Err(panic) = played {
            println!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
