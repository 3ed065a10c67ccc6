//! Sessions as they are when everybody keeps the rules: links of the worker library in the strangers' places,
//! recorded as inputs of the targets `session` and `library`. The bytes flipped in them afterwards are not this
//! file's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::worker::link::{CallKind, Identity, Link, OutgoingCall};
use callboard::worker::{Binding, CallOptions, Function, Watch};

use super::cursor::Cursor;
use super::library::{DELIVER, LONG_RAW};
use super::principals::TOKENS;
use super::session::{CREDENTIALS, Operation, STRANGERS, Session, roomy};

/// What was recorded.
pub struct Recording {
    /// All that the workers said, as an input of `session`.
    pub session: Vec<u8>,
    /// All that one of them was told, as an input of `library`.
    pub library: Vec<u8>,
    /// Calls that ended with a result.
    pub results: usize,
}

struct Recorder {
    session: Session,
    links: Vec<Link>,
    /// In which stranger's place each link is.
    slots: Vec<usize>,
    recording: Recording,
    now: Instant,
}

/// Three workers: they register, watch, bind, call, emit, come back over another connection, and go. With credentials,
/// some of them lose sight of what others provide on the way.
pub fn record(has_credentials: bool) -> Recording {
    let mut it = Recorder::new(has_credentials);
    it.exchange();
    it.exchange();
    let described = Function::new("a1")
        .description("one")
        .metadata_bytes(vec![0x80; 40]);
    let first = it.links[0].register(vec![described, Function::new("a2")]);
    let bound = it.links[1].bind(vec![Binding::new("tick", "a1")]);
    assert!(first.is_ok() && bound.is_ok());
    it.exchange();
    let patient = CallOptions::new().wait().idempotent();
    it.call(1, CallKind::Function, "a1", &CallOptions::new());
    it.call(2, CallKind::Function, "a2", &patient);
    it.call(
        1,
        CallKind::Function,
        "engine::functions::list",
        &CallOptions::new(),
    );
    it.call(2, CallKind::Event, "tick", &CallOptions::new());
    let cast = it.links[1].cast("a2", b"\xc0", b"\x80");
    assert!(cast.is_ok());
    for _ in 0..4 {
        it.exchange();
    }
    // Its session is taken over by its own next connection.
    it.reconnect(0, 3);
    it.call(1, CallKind::Function, "a1", &patient);
    for _ in 0..3 {
        it.exchange();
    }
    if has_credentials {
        // Guests observe what the third of the rules allows, and may do all else as before.
        it.operate(&[Operation::Reload.byte(0), 0, 2 << 4, 0, 0, 0]);
        it.exchange();
    }
    let gone = it.links[0].unregister(vec![Arc::from("a2")]);
    assert!(gone.is_ok());
    it.links[2].drain();
    it.exchange();
    it.links[1].leave(it.now);
    it.exchange();
    it.wait();
    it.exchange();
    it.session.conclude();
    it.recording
}

impl Recorder {
    fn new(has_credentials: bool) -> Self {
        let now = Instant::now();
        let link = |name: &str, watch: Watch| {
            let identity = Identity {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                watch,
                metadata: Vec::new(),
                capacity: None,
                tier: None,
            };
            let mut link = Link::new(identity, [5; 32], now);
            link.set_token(has_credentials.then(|| TOKENS[0].into()));
            link
        };
        let links = vec![
            link("worker", Watch::all().workers([""]).bindings([""])),
            link("caller", Watch::functions(["a"])),
            link("onlooker", Watch::nothing()),
        ];
        let mut recorder = Self {
            session: Session::new(roomy(), has_credentials),
            slots: (0..links.len()).collect(),
            links,
            // Roomy limits; and for the library, one who watches everything.
            recording: Recording {
                session: vec![if has_credentials { CREDENTIALS } else { 0 }],
                library: vec![0, 0],
                results: 0,
            },
            now,
        };
        for link in &mut recorder.links {
            link.open(address(), None, now);
        }
        recorder
    }

    fn call(&mut self, who: usize, kind: CallKind, name: &str, options: &CallOptions) {
        let wish = OutgoingCall {
            kind,
            name: name.into(),
            // An empty map: the arguments of the engine's own functions, too.
            payload: vec![0x80],
            options: options.clone(),
        };
        let ticket = self.links[who].call(wish, self.now);
        assert!(ticket.is_ok());
    }

    fn reconnect(&mut self, who: usize, slot: usize) {
        let link = &mut self.links[who];
        link.handle_end(None, self.now);
        link.open(address(), None, self.now);
        self.slots[who] = slot;
    }

    /// Carries out an operation, and takes it down.
    fn operate(&mut self, operation: &[u8]) {
        self.recording.session.extend_from_slice(operation);
        self.session.operate(&mut Cursor::new(operation));
    }

    fn wait(&mut self) {
        // Two seconds.
        self.operate(&[Operation::Wait.byte(0), 4]);
        self.now += Duration::from_secs(2);
        self.hear();
    }

    /// What the workers say arrives, and what they are told.
    fn exchange(&mut self) {
        for index in 0..self.links.len() {
            let mut bytes = Vec::new();
            self.links[index].take_output(&mut bytes);
            if !bytes.is_empty() {
                let mut operation = vec![Operation::LongRaw.byte(self.slots[index])];
                operation.extend((bytes.len() as u16).to_be_bytes());
                operation.extend(bytes);
                self.operate(&operation);
            }
        }
        self.operate(&[Operation::Turn.byte(0)]);
        self.hear();
    }

    fn hear(&mut self) {
        for index in 0..self.links.len() {
            let slot = self.slots[index];
            assert!(slot < STRANGERS);
            let bytes = std::mem::take(&mut self.session.told[slot]);
            if index == 0 && !bytes.is_empty() {
                let library = &mut self.recording.library;
                library.push(LONG_RAW);
                library.extend((bytes.len() as u16).to_be_bytes());
                library.extend(&bytes);
                library.extend([DELIVER, 255].repeat(bytes.len().div_ceil(256)));
            }
            let link = &mut self.links[index];
            if link.connection().is_some() || !bytes.is_empty() {
                // One that left hears no more.
                let _ = link.handle_bytes(&bytes, self.now);
            }
            for work in link.take_work() {
                if let Some(reply) = work.reply {
                    link.answer(reply, Ok(work.payload));
                }
            }
            let ended = link.take_ended_calls();
            self.recording.results += ended.iter().filter(|(_, end)| end.is_ok()).count();
        }
    }
}

fn address() -> Address {
    "engine:1".parse().expect("an address")
}
