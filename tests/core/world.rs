//! A shell without sockets: the engine, a clock that the test moves, and links whose every byte the test
//! sees. Links take what the test lets them take, so that stalled readers and half-written frames occur.

use std::collections::VecDeque;

use callboard::engine::{Close, Config, ConnId, Engine, Peer, Time, Written};
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, Bind, BindingEntry, Call, CallOptions, Cancel, Definition, Failure, Hello, HelloOptions,
    NoExtensions, Outcome, Ping, Ready, Register, Resume, Text, Unregister, Watch,
};

use crate::reader::{CallEnding, CallFailure, Reader, WatchFilter};
use crate::setup::nothing;
use crate::turn::{self, Budgets, Sockets};

/// A connection, seen from the peer's side.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts about a socket.
pub(crate) struct Link {
    pub id: ConnId,
    /// The shell still has the socket.
    pub open: bool,
    /// The engine closed its sending half.
    pub half_closed: bool,
    /// Bytes on their way to the engine.
    pub up: VecDeque<u8>,
    /// Bytes on their way to the peer: the kernel's buffers.
    pub down: Vec<u8>,
    /// How many bytes `down` takes before a write would block.
    pub capacity: usize,
    blocked: bool,
    /// A write finds the socket broken. What reads from it has not told yet.
    pub broken: bool,
    /// The engine did not want to read it, and has not said otherwise since.
    held_back: bool,
    /// The peer has lost interest: what comes is thrown away.
    pub deaf: bool,
    /// Calls of `write` that the engine made, and the slices it offered in the largest.
    pub writes: u64,
    pub reader: Reader,
    next_request: u64,
}

/// Bytes of one read, as in the server.
const READ_BUFFER: usize = 64 * 1024;

pub(crate) struct World {
    pub engine: Engine,
    pub now: Time,
    pub links: Vec<Link>,
    /// `engine::drain` was called. The world goes on.
    pub drain_asked: bool,
    /// It sends a PING in each turn.
    rival: Option<usize>,
    generation: u32,
    free: Vec<u32>,
    keys: u32,
}

impl World {
    /// A world whose turns do all that there is to do.
    pub(crate) fn new(limits: Limits) -> Self {
        Self::seeded(limits, 1)
    }

    pub(crate) fn seeded(limits: Limits, seed: u64) -> Self {
        Self::with_turns(limits, seed, u64::MAX)
    }

    /// A world whose turns are as long as the server's.
    pub(crate) fn paced(limits: Limits) -> Self {
        Self::with_turns(limits, 1, Config::TURN_WORK)
    }

    /// A world whose turns do this much work.
    pub(crate) fn with_turns(limits: Limits, seed: u64, turn_work: u64) -> Self {
        limits.check().unwrap();
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let now = Time(1_000_000);
        let config = Config {
            turn_work,
            limits,
            name: "test".into(),
            seed: bytes,
        };
        Self {
            engine: Engine::new(config, now),
            now,
            links: Vec::new(),
            drain_asked: false,
            rival: None,
            generation: 0,
            free: Vec::new(),
            keys: 0,
        }
    }

    /// Opens a connection that has said nothing yet. Returns its index in `links`.
    pub(crate) fn open(&mut self, reader: Reader) -> usize {
        let peer = Peer::Unix {
            pid: None,
            uid: None,
        };
        self.open_from(peer, reader)
    }

    /// As `open`, from somewhere in particular.
    pub(crate) fn open_from(&mut self, peer: Peer, reader: Reader) -> usize {
        self.generation += 1;
        let key = self.free.pop().unwrap_or_else(|| {
            self.keys += 1;
            self.keys - 1
        });
        let id = ConnId::new(self.generation, key);
        self.engine.handle_open(id, peer, self.now);
        self.links.push(Link {
            id,
            open: true,
            half_closed: false,
            up: VecDeque::new(),
            down: Vec::new(),
            capacity: usize::MAX,
            blocked: false,
            broken: false,
            held_back: false,
            deaf: false,
            writes: 0,
            reader,
            next_request: 0,
        });
        self.links.len() - 1
    }

    /// Opens a connection and says HELLO; the turn is still to come.
    pub(crate) fn hello(&mut self, name: &str, filter: &WatchFilter) -> usize {
        let link = self.open(Reader::new(filter.clone()));
        let frame = hello(name, "default", filter, None, None);
        self.say(link, &frame);
        link
    }

    /// As `hello`, with the turn.
    pub(crate) fn join(&mut self, name: &str, filter: &WatchFilter) -> usize {
        let link = self.hello(name, filter);
        self.turn();
        assert!(
            self.links[link].reader.is_synced(),
            "{:?}",
            self.links[link].reader.goodbye
        );
        link
    }

    /// Sends bytes to the engine; they arrive in the next turn.
    pub(crate) fn say(&mut self, link: usize, bytes: &[u8]) {
        self.links[link].up.extend(bytes);
    }

    /// Sends a REGISTER in one frame; returns the request's id.
    pub(crate) fn register(&mut self, link: usize, names: &[&str]) -> u64 {
        let functions = names.iter().map(|&name| plain(name)).collect();
        self.register_definitions(link, functions)
    }

    pub(crate) fn register_definitions(
        &mut self,
        link: usize,
        functions: Vec<Definition<'_>>,
    ) -> u64 {
        let id = self.request(link);
        let frame = Register {
            id,
            functions,
            ..Register::default()
        }
        .to_frame();
        self.say(link, &frame);
        id
    }

    pub(crate) fn unregister(&mut self, link: usize, names: &[&str]) -> u64 {
        let id = self.request(link);
        let names = names.iter().map(|&name| Text(name)).collect();
        self.say(
            link,
            &Unregister {
                id,
                names,
                ..Unregister::default()
            }
            .to_frame(),
        );
        id
    }

    /// Sends a BIND; returns the request's id.
    pub(crate) fn bind(&mut self, link: usize, bindings: Vec<BindingEntry<'_>>) -> u64 {
        let id = self.request(link);
        let bind = Bind {
            id,
            bindings,
            ..Bind::default()
        };
        self.say(link, &bind.to_frame());
        id
    }

    pub(crate) fn ready(&mut self, link: usize) -> u64 {
        let id = self.request(link);
        self.say(
            link,
            &Ready {
                id,
                ..Ready::default()
            }
            .to_frame(),
        );
        id
    }

    /// Opens a connection, says HELLO with a capacity, and has its turn.
    pub(crate) fn join_with_capacity(&mut self, name: &str, capacity: u64) -> usize {
        let link = self.open(Reader::new(WatchFilter::new(&[], &[])));
        let frame = Hello {
            versions: vec![1],
            name: Text(name),
            namespace: Text(""),
            ext: HelloOptions {
                watch: Some(Watch::default()),
                capacity: Some(capacity),
                ..HelloOptions::default()
            },
        };
        self.say(link, &frame.to_frame());
        self.turn();
        link
    }

    /// A provider of `names` that takes `capacity` calls at once.
    pub(crate) fn provider(&mut self, names: &[&str], capacity: u64) -> usize {
        let link = self.join_with_capacity("provider", capacity);
        self.register(link, names);
        self.turn();
        link
    }

    /// Sends a CALL; returns its id.
    pub(crate) fn call(
        &mut self,
        link: usize,
        function: &str,
        payload: &[u8],
        ext: CallOptions<'_>,
    ) -> u64 {
        let id = self.request(link);
        self.links[link].reader.calls.insert(id);
        let (function, payload) = (Text(function), Bin(payload));
        let call = Call {
            id,
            function,
            payload,
            ext,
        };
        self.say(link, &call.to_frame());
        id
    }

    /// Answers an INVOKE with a RESULT.
    pub(crate) fn answer(&mut self, link: usize, invoke: u64, payload: &[u8]) {
        let outcome = Outcome {
            id: invoke,
            payload: Bin(payload),
            ..Outcome::default()
        };
        self.say(link, &outcome.to_frame());
    }

    /// Answers an INVOKE with the function's own FAILURE.
    pub(crate) fn answer_failure(&mut self, link: usize, invoke: u64, code: &str, message: &str) {
        let failure = Failure {
            id: invoke,
            code: Text(code),
            message: Text(message),
            ..Failure::default()
        };
        self.say(link, &failure.to_frame());
    }

    pub(crate) fn cancel(&mut self, link: usize, id: u64) {
        let cancel = Cancel {
            id,
            ext: NoExtensions {},
        };
        self.say(link, &cancel.to_frame());
    }

    /// A fresh request id.
    pub(crate) fn request(&mut self, link: usize) -> u64 {
        self.links[link].next_request += 1;
        self.links[link].next_request
    }

    /// Moves the clock.
    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now.0 += milliseconds * 1000;
    }

    /// From now on another user wants the engine in each turn. Join what it is to compete with before.
    pub(crate) fn contend(&mut self) {
        let peer = Peer::Tcp("192.0.2.1:1".parse().unwrap());
        let rival = self.open_from(peer, Reader::new(nothing()));
        self.say(rival, &hello("rival", "default", &nothing(), None, None));
        self.turn();
        self.rival = Some(rival);
    }

    /// One turn as the server makes it: all that was said arrives, all that is due is written and read.
    pub(crate) fn turn(&mut self) {
        if let Some(rival) = self.rival {
            self.say(rival, &Ping::default().to_frame());
        }
        turn::run(self, Budgets::ALL);
        for link in 0..self.links.len() {
            self.receive(link, usize::MAX);
        }
    }

    /// Up to `most` of the bytes that were said arrive.
    pub(crate) fn arrive(&mut self, link: usize, most: usize) {
        let it = &mut self.links[link];
        if !it.open || it.up.is_empty() {
            return;
        }
        it.held_back = !self.engine.wants_read(it.id);
        if !it.held_back {
            let bytes: Vec<u8> = it.up.drain(..most.min(it.up.len())).collect();
            self.engine.handle_bytes(it.id, &bytes, self.now);
        }
    }

    /// The turn behind the reads.
    pub(crate) fn finish_turn(&mut self, budgets: Budgets) {
        turn::finish(self, budgets);
    }

    /// The turn behind the seal.
    pub(crate) fn flush(&mut self, budgets: Budgets) {
        turn::flush(self, budgets);
    }

    fn link_of(&self, id: ConnId) -> usize {
        let is_it = |link: &Link| link.open && link.id == id;
        let link = self.links.iter().position(is_it);
        link.expect("the engine names a connection that is closed")
    }

    /// The peer reads up to `most` bytes.
    pub(crate) fn receive(&mut self, link: usize, most: usize) {
        let it = &mut self.links[link];
        let n = most.min(it.down.len());
        let bytes: Vec<u8> = it.down.drain(..n).collect();
        if !it.deaf {
            it.reader.read(&bytes);
        }
        if it.blocked && it.open && it.down.len() < it.capacity {
            it.blocked = false;
            self.engine.handle_writable(it.id);
        }
    }

    /// The peer closes its sending half.
    pub(crate) fn eof(&mut self, link: usize) {
        if self.links[link].open {
            self.engine.handle_eof(self.links[link].id, self.now);
        }
    }

    /// The connection breaks.
    pub(crate) fn reset(&mut self, link: usize) {
        if self.links[link].open {
            self.engine
                .handle_reset(self.links[link].id, "reset by the test", self.now);
        }
    }

    /// Turns until nothing is under way any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            for link in &mut self.links {
                link.capacity = usize::MAX;
            }
            self.turn();
            self.wait(10);
            let quiet = self
                .links
                .iter()
                .all(|link| !link.open || link.up.is_empty() && link.down.is_empty());
            if quiet && !self.engine.has_more() {
                return;
            }
        }
        panic!("no end of turns");
    }

    pub(crate) fn reader(&self, link: usize) -> &Reader {
        &self.links[link].reader
    }

    /// The key of the session that a peer was welcomed with.
    pub(crate) fn session(&self, link: usize) -> Vec<u8> {
        let welcome = self.reader(link).welcome.as_ref();
        welcome.expect("it was welcomed").session.clone()
    }

    /// The code with which the connection was ended, if it was.
    pub(crate) fn goodbye(&self, link: usize) -> Option<&str> {
        let goodbye = self.reader(link).goodbye.as_ref();
        goodbye.map(|(code, ..)| &**code)
    }

    /// How the request ended.
    pub(crate) fn ending(&self, link: usize, request: u64) -> &crate::reader::Ending {
        self.reader(link)
            .endings
            .get(&request)
            .expect("the request has ended")
    }

    /// How the call ended, if it did.
    pub(crate) fn call_ending(&self, link: usize, call: u64) -> Option<&CallEnding> {
        self.reader(link).call_endings.get(&call)
    }

    /// How the call failed.
    pub(crate) fn call_failure(&self, link: usize, call: u64) -> &CallFailure {
        match self.call_ending(link, call) {
            Some(CallEnding::Failure(failure)) => failure,
            other => panic!("the call ended with {other:?}"),
        }
    }
}

impl Sockets for World {
    fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn now(&self) -> Time {
        self.now
    }

    fn read_ready(&mut self) {
        for link in self.links.iter().filter(|it| it.open && !it.up.is_empty()) {
            self.engine.handle_readable(link.id);
        }
    }

    fn read_next(&mut self, id: ConnId) {
        let link = self.link_of(id);
        self.arrive(link, READ_BUFFER);
        let it = &self.links[link];
        if it.open && !it.held_back && !it.up.is_empty() {
            self.engine.handle_readable(id);
        }
    }

    fn read_again(&mut self, id: ConnId) {
        self.arrive(self.link_of(id), usize::MAX);
    }

    fn write(&mut self, id: ConnId) -> Option<Written> {
        let link = self.link_of(id);
        let it = &mut self.links[link];
        let mut written = None;
        self.engine.flush(id, self.now, |slices| {
            assert!(
                slices.iter().all(|slice| !slice.is_empty()),
                "an empty slice"
            );
            it.writes += 1;
            let room = it.capacity.saturating_sub(it.down.len());
            let outcome = if it.broken {
                Written::Broken
            } else if room == 0 {
                it.blocked = true;
                Written::Blocked
            } else {
                let before = it.down.len();
                let bytes = slices.iter().flat_map(|slice| slice.iter());
                it.down.extend(bytes.take(room));
                Written::Bytes(it.down.len() - before)
            };
            written = Some(outcome);
            outcome
        });
        written
    }

    fn drain_asked(&mut self) {
        self.drain_asked = true;
    }

    fn resume(&mut self, id: ConnId) {
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            link.held_back = false;
        }
    }

    /// The end of a turn. A shell is told of bytes once, when they come: it reads what it held back only if the engine
    /// names the connection.
    fn accept(&mut self) {
        for (index, link) in self.links.iter().enumerate() {
            assert!(
                !link.open || !link.held_back || !self.engine.wants_read(link.id),
                "link {index} may be read again, and the engine does not say so"
            );
        }
    }

    fn close(&mut self, close: Close) {
        let (Close::SendingHalf(id) | Close::Socket(id)) = close;
        let link = self.link_of(id);
        match close {
            Close::SendingHalf(_) => self.links[link].half_closed = true,
            Close::Socket(_) => {
                self.links[link].open = false;
                self.free.push(id.key() as u32);
            }
        }
    }
}

pub(crate) fn plain(name: &str) -> Definition<'_> {
    Definition {
        name: Text(name),
        ..Definition::default()
    }
}

fn texts(prefixes: &[String]) -> Option<Vec<Text<'_>>> {
    (!prefixes.is_empty()).then(|| prefixes.iter().map(|prefix| Text(prefix)).collect())
}

/// A HELLO as a frame.
pub(crate) fn hello(
    name: &str,
    namespace: &str,
    filter: &WatchFilter,
    session: Option<&[u8]>,
    resume: Option<(u64, u64, &[u8])>,
) -> Vec<u8> {
    let watch = Watch {
        functions: texts(&filter.functions),
        workers: texts(&filter.workers),
        bindings: None,
    };
    let resume = resume.map(|(epoch, revision, digest)| Resume {
        epoch,
        revision,
        digest: Bin(digest),
    });
    Hello {
        versions: vec![1],
        name: Text(name),
        namespace: Text(namespace),
        ext: HelloOptions {
            watch: Some(watch),
            session: session.map(Bin),
            resume,
            ..HelloOptions::default()
        },
    }
    .to_frame()
}
