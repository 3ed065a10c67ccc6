//! Those who keep the rules while strangers do not: one provides a function and answers at once, one calls
//! it, one is the worker library's own link and watches everything. Whatever the strangers do, these are
//! served: every change reaches them in order, every call ends.

use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::protocol::{
    Bin, Call, CallOptions, Definition, Hello, HelloOptions, Inbox, Message, NoExtensions, Outcome,
    Ping, Pong, Register, Text, Watch,
};
use callboard::worker::link::{Identity, Link};
use callboard::worker::{Function, Watch as LinkWatch};

use super::host::Host;
use crate::reader::{CallEnding, Event, Reader, WatchFilter};

/// The function of the one who provides.
pub const FUNCTION: &str = "well::echo";
/// The function of the library's link.
pub const LINKED: &str = "well::linked";

/// Full turns that a call takes at the most: there, and back.
const TURNS_MAX: u64 = 4;

/// Calls that a caller has in flight at the most. One who makes very many at once has no claim to be kept where little
/// may wait to be read.
const CALLS_MAX: usize = 64;

/// One who speaks frame by frame.
#[derive(Debug)]
pub struct RuleKeeper {
    line: usize,
    pub reader: Reader,
    requests: u64,
    /// Events of the reader that were dealt with.
    dealt_with: usize,
    pinged: u64,
    /// The calls that have not ended, with the turn in which they were made.
    waiting: Vec<(u64, u64)>,
    pub results: u64,
}

impl RuleKeeper {
    /// Opens a connection and says HELLO.
    pub fn join(host: &mut Host, token: Option<&str>, name: &str, functions: &[&str]) -> Self {
        let line = host.open();
        let reader = Reader::new(WatchFilter::new(functions, &[]));
        let watch = Watch {
            functions: Some(functions.iter().map(|&prefix| Text(prefix)).collect()),
            ..Watch::default()
        };
        let hello = Hello {
            versions: vec![1],
            name: Text(name),
            namespace: Text("default"),
            ext: HelloOptions {
                watch: Some(watch),
                token: token.map(Text),
                ..HelloOptions::default()
            },
        };
        host.lines[line].up.extend(hello.to_frame());
        Self {
            line,
            reader,
            requests: 0,
            dealt_with: 0,
            pinged: 0,
            waiting: Vec::new(),
            results: 0,
        }
    }

    pub fn worker(&self) -> u64 {
        self.reader
            .welcome
            .as_ref()
            .expect("it was welcomed")
            .worker
    }

    /// Registers the function; the turn is still to come.
    pub fn provide(&mut self, host: &mut Host, function: &str) {
        self.requests += 1;
        let register = Register {
            id: self.requests,
            functions: vec![Definition {
                name: Text(function),
                ..Definition::default()
            }],
            ..Register::default()
        };
        host.lines[self.line].up.extend(register.to_frame());
    }

    /// Calls the function of the worker, unless it has very many calls in flight; the turn is still to come.
    pub fn call(&mut self, host: &mut Host, worker: u64, turn: u64) {
        if self.waiting.len() >= CALLS_MAX {
            return;
        }
        self.requests += 1;
        let id = self.requests;
        self.reader.calls.insert(id);
        self.waiting.push((id, turn));
        let call = Call {
            id,
            function: Text(FUNCTION),
            payload: Bin(&id.to_be_bytes()),
            ext: CallOptions {
                worker: Some(worker),
                ..CallOptions::default()
            },
        };
        host.lines[self.line].up.extend(call.to_frame());
    }

    /// Says that it is there.
    pub fn ping(&self, host: &mut Host) {
        let ping = Ping {
            revision: 0,
            ext: NoExtensions {},
        };
        host.lines[self.line].up.extend(ping.to_frame());
    }

    /// Reads what came and answers it.
    pub fn take(&mut self, host: &mut Host) {
        let bytes = host.receive(self.line);
        self.reader.read(&bytes);
        let up = &mut host.lines[self.line].up;
        while self.pinged < self.reader.pings {
            self.pinged += 1;
            let pong = Pong {
                revision: self.reader.mine,
                ext: NoExtensions {},
            };
            up.extend(pong.to_frame());
        }
        for event in &self.reader.events[self.dealt_with..] {
            if let Event::Invoke(it) = event {
                let outcome = Outcome {
                    id: it.id,
                    payload: Bin(&it.payload),
                    ..Outcome::default()
                };
                up.extend(outcome.to_frame());
            }
        }
        // Drops handled entries; otherwise a long run would look at them again and again.
        self.dealt_with = self.reader.events.len();
    }

    /// Checks that it is served: in full turns, however slowly others are.
    pub fn check(&mut self, host: &Host, turn: u64) {
        let line = &host.lines[self.line];
        assert!(
            line.open && !line.half_closed,
            "closed: {:?}",
            self.reader.goodbye
        );
        assert_eq!(self.reader.goodbye, None);
        let reader = &self.reader;
        let results = &mut self.results;
        self.waiting.retain(|(id, since)| {
            let Some(ending) = reader.call_endings.get(id) else {
                assert!(turn - since <= TURNS_MAX, "call {id} does not end");
                return true;
            };
            match ending {
                CallEnding::Result(payload) => {
                    assert_eq!(payload[..], id.to_be_bytes(), "another call's answer");
                    *results += 1;
                }
                // Strangers may use up what there is for all.
                CallEnding::Failure(failure) => assert_eq!(failure.code, "overloaded"),
            }
            false
        });
    }

    /// Whether each of its calls has ended, in whatever way.
    pub fn has_all_its_endings(&self) -> bool {
        let endings = &self.reader.call_endings;
        self.waiting.iter().all(|(id, _)| endings.contains_key(id))
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The library's link as one who watches everything.
pub struct Watcher {
    line: usize,
    /// The line that it had before, which it believes to be dead and the engine does not.
    old_line: Option<usize>,
    /// The keys of its sessions. The engine's chance is the same in each run, so that an input could know
    /// them; no stranger does.
    keys: Vec<Vec<u8>>,
    /// An input did know one, and said it before it was given out: what comes of that proves nothing.
    pub is_betrayed: bool,
    pub link: Link,
    start: Instant,
}

impl Watcher {
    pub fn join(host: &mut Host, token: Option<&str>) -> Self {
        let place = host.open();
        let start = Instant::now();
        let identity = Identity {
            name: "watcher".to_owned(),
            namespace: "default".to_owned(),
            watch: LinkWatch::all().workers([""]).bindings([""]),
            metadata: Vec::new(),
            capacity: None,
            tier: None,
        };
        let mut link = Link::new(identity, [3; 32], start);
        link.set_token(token.map(Into::into));
        link.open(address(), None, start + Duration::from_micros(host.now.0));
        let mut it = Self {
            line: place,
            old_line: None,
            keys: Vec::new(),
            is_betrayed: false,
            link,
            start,
        };
        it.speak(host);
        it
    }

    pub fn provide(&mut self) {
        let ordered = self.link.register(vec![Function::new(LINKED)]);
        ordered.expect("the link is not over");
    }

    /// Comes back over another connection, which takes its session over. Not before the engine is done with
    /// the one before.
    pub fn come_back(&mut self, host: &mut Host) {
        if self.old_line.is_some_and(|line| host.lines[line].open) || !self.link.view().is_live() {
            return;
        }
        let now = self.start + Duration::from_micros(host.now.0);
        self.link.handle_end(None, now);
        self.old_line = Some(self.line);
        self.line = host.open();
        self.link.open(address(), None, now);
        self.link.take_notices();
        self.speak(host);
        // At once, before silent strangers crowd it out.
        host.arrive(self.line, usize::MAX);
    }

    /// Whether these bytes give one of its secrets away.
    pub fn is_betrayed_by(&self, bytes: &[u8]) -> bool {
        let is_in = |key: &Vec<u8>| bytes.windows(key.len()).any(|it| it == key);
        self.keys.iter().any(is_in)
    }

    fn speak(&mut self, host: &mut Host) {
        self.link.take_output(&mut host.lines[self.line].up);
    }

    /// Reads what came and answers it. A contradiction in what the engine says ends the connection, and so
    /// does a GOODBYE. `said` is what strangers said of their own.
    pub fn take(&mut self, host: &mut Host, said: &[Vec<u8>]) {
        let bytes = host.receive(self.line);
        if self.link.connection().is_none() {
            self.keys.extend(session_key(&bytes));
            self.is_betrayed = said.iter().any(|bytes| self.is_betrayed_by(bytes));
            if self.is_betrayed {
                return;
            }
        }
        let now = self.start + Duration::from_micros(host.now.0);
        let read = self.link.handle_bytes(&bytes, now);
        read.unwrap_or_else(|loss| panic!("the watcher is lost: {loss}"));
        self.link.take_notices();
        for work in self.link.take_work() {
            if let Some(reply) = work.reply {
                self.link.answer(reply, Ok(work.payload));
            }
        }
        self.speak(host);
    }
}

/// What WELCOME says, if this begins with one.
fn session_key(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut inbox = Inbox::default();
    let body = inbox.next(&mut bytes, 1 << 20).ok()??;
    match Message::decode(body) {
        Ok(Message::Welcome(it)) => Some(it.session.to_vec()),
        _ => None,
    }
}

fn address() -> Address {
    "engine:1".parse().expect("an address")
}
