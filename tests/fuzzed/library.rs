//! The worker library against an engine that says whatever the input wants, over several connections. Nothing
//! panics, what is wrong ends the connection with a typed error, memory grows with the bytes that came and no
//! faster, the library's own frames keep the rules, the notices add up to the view, and every call and order
//! ends once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::protocol::{Bin, Inbox, MAX_FRAME_CEILING, Message, Welcome};
use callboard::worker::link::{CallKind, Identity, Link, OutgoingCall, Reply, Ticket};
use callboard::worker::{Binding, CallOptions, End, Fault, Function, Loss, Watch};

use super::cursor::Cursor;
use super::engine_frame::{self, Told};
use super::replica::Replica;

/// Operations after which an input has said enough.
const OPERATIONS_MAX: usize = 600;

/// Memory that may be held for each byte that came: an empty map, one byte, can stand for a worker's entry.
const BYTES_PER_BYTE: usize = 600;
/// Memory that may be held besides: what the worker itself wants, and what this test keeps.
const BYTES_BESIDES: usize = 4 << 20;

/// Steps of the clock, in milliseconds.
const STEPS: [u64; 8] = [0, 1, 100, 1_000, 5_000, 15_000, 60_000, 86_400_000];

/// The operation that says bytes as they are, with their length in two bytes before them.
pub(super) const LONG_RAW: u8 = 8;
/// The operation that delivers up to 256 bytes of what was said.
pub(super) const DELIVER: u8 = 9;
/// The operation that registers, by a byte below 4 and a description.
pub(super) const ORDER: u8 = 12;

const OWN: [&str; 3] = ["own::one", "own::two", "a1"];

/// One input: the worker's identity, then operations.
pub fn run(data: &[u8]) {
    let mut fed = 0;
    let used = allocation_counter::measure(|| {
        let mut cursor = Cursor::new(data);
        let mut hall = Hall::new(&mut cursor);
        for _ in 0..OPERATIONS_MAX {
            if cursor.is_empty() {
                break;
            }
            hall.operate(&mut cursor);
        }
        hall.conclude();
        fed = hall.fed;
    });
    let most = BYTES_BESIDES + BYTES_PER_BYTE * fed;
    assert!(
        used.bytes_max <= most as u64,
        "{} bytes were held for {fed} that came",
        used.bytes_max
    );
}

/// The input in which an engine says WELCOME and then these bytes.
pub fn told_after_welcome(bytes: &[u8]) -> Vec<u8> {
    let welcome = Welcome {
        version: 1,
        worker: 1,
        epoch: 1,
        session: Bin(&[1; 16]),
        ..Welcome::default()
    };
    let mut input = vec![0, 0];
    for piece in [&welcome.to_frame()[..], bytes] {
        input.push(LONG_RAW);
        input.extend((piece.len() as u16).to_be_bytes());
        input.extend_from_slice(piece);
        input.extend([DELIVER, 255].repeat(piece.len().div_ceil(256)));
        input.extend([ORDER, 0, 0]);
    }
    input
}

struct Hall {
    link: Link,
    now: Instant,
    /// There is a transport.
    open: bool,
    /// Bytes on their way to the worker.
    down: Vec<u8>,
    fed: usize,
    told: Told,
    said: Inbox,
    greeted: bool,
    left: bool,
    invoked: BTreeSet<u64>,
    orders: BTreeSet<Ticket>,
    calls: BTreeSet<Ticket>,
    /// Calls that were given up: their end may be told, and need not be.
    forgotten: BTreeSet<Ticket>,
    work: Vec<Reply>,
    replica: Replica,
}

impl Hall {
    fn new(cursor: &mut Cursor<'_>) -> Self {
        let watch = match cursor.below(4) {
            0 => Watch::all().workers([""]).bindings([""]),
            1 => Watch::all(),
            2 => Watch::functions(["a", "own::"]),
            _ => Watch::nothing(),
        };
        let now = Instant::now();
        let identity = Identity {
            name: "worker".to_owned(),
            namespace: "default".to_owned(),
            watch,
            metadata: Vec::new(),
            capacity: cursor.of(&[None, Some(1), Some(3)]),
            tier: None,
        };
        let mut hall = Self {
            link: Link::new(identity, [5; 32], now),
            now,
            open: false,
            down: Vec::new(),
            fed: 0,
            told: Told::default(),
            said: Inbox::default(),
            greeted: false,
            left: false,
            invoked: BTreeSet::new(),
            orders: BTreeSet::new(),
            calls: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            work: Vec::new(),
            replica: Replica::default(),
        };
        hall.open();
        hall
    }

    fn operate(&mut self, cursor: &mut Cursor<'_>) {
        let choice = cursor.byte();
        // What recordings use has a name: see `recording`.
        match choice % 16 {
            0..=6 => {
                engine_frame::append(cursor, &self.told, &mut self.down);
                if choice < 0xe0 {
                    self.deliver(usize::MAX);
                }
            }
            7 => self.down.extend_from_slice(cursor.short()),
            LONG_RAW => self.down.extend_from_slice(cursor.long()),
            DELIVER => self.deliver(1 + usize::from(cursor.byte())),
            10 => {
                self.now += Duration::from_millis(cursor.of(&STEPS));
                self.tick();
            }
            11 => {
                if self.open {
                    let why = cursor.flag().then_some(Loss::Silent(Duration::ZERO));
                    self.link.handle_end(why, self.now);
                    self.drop_transport();
                } else {
                    self.open();
                    engine_frame::welcome(cursor, &self.told, &mut self.down);
                    self.deliver(usize::MAX);
                }
            }
            ORDER => self.order(cursor),
            13 => self.call(cursor),
            14 => self.work(cursor),
            _ => self.end(cursor),
        }
        self.listen();
    }

    fn open(&mut self) {
        if self.link.ended().is_some() {
            return;
        }
        let address: Address = "engine:1".parse().expect("an address");
        self.link.open(address, Some(self.told.epoch), self.now);
        self.open = true;
        (self.greeted, self.left) = (false, false);
        self.listen();
    }

    fn drop_transport(&mut self) {
        self.open = false;
        self.down.clear();
        self.said = Inbox::default();
        self.told.requests.clear();
        self.invoked.clear();
    }

    fn deliver(&mut self, most: usize) {
        if !self.open {
            self.down.clear();
            return;
        }
        let bytes: Vec<u8> = self.down.drain(..most.min(self.down.len())).collect();
        self.fed += bytes.len();
        let result = self.link.handle_bytes(&bytes, self.now);
        self.after(result);
    }

    fn tick(&mut self) {
        if self.open {
            let result = self.link.handle_time(self.now);
            self.after(result);
        }
        // A deadline that has passed must not be reported a second time.
        let next = self.link.next_deadline();
        assert!(next.is_none_or(|at| at > self.now), "no end of deadlines");
        let waiting: Vec<Ticket> = self.calls.iter().copied().collect();
        for ticket in waiting {
            self.link.expire_call(ticket, self.now);
        }
    }

    fn after(&mut self, result: Result<(), Loss>) {
        if let Err(loss) = result {
            assert!(!loss.to_string().is_empty());
            // What it wanted to say is not said any more.
            self.link.take_output(&mut Vec::new());
            self.drop_transport();
        }
        assert!(self.open || self.link.connection().is_none());
    }

    /// Takes whatever the link gives out, and checks it.
    fn listen(&mut self) {
        #[cfg(debug_assertions)]
        self.link.check_books();
        let mut bytes = Vec::new();
        self.link.take_output(&mut bytes);
        if self.open {
            self.check_said(&bytes);
        }
        let notices = self.link.take_notices();
        let news = !notices.is_empty();
        for notice in notices {
            self.replica.hear(notice);
        }
        if news {
            self.replica.check(&self.link);
        }
        for (ticket, end) in self.link.take_ended_calls() {
            let ended = self.calls.remove(&ticket) || self.forgotten.remove(&ticket);
            assert!(ended, "{ticket:?} ended twice: {end:?}");
        }
        let link = &mut self.link;
        self.orders
            .retain(|&ticket| link.take_end(ticket).is_none());
        let work = self.link.take_work();
        self.work
            .extend(work.into_iter().filter_map(|work| work.reply));
        self.told.revision = self.link.view().revision();
        if let Some(connection) = self.link.connection() {
            self.told.epoch = connection.epoch;
        }
    }

    /// What the worker says keeps the rules.
    fn check_said(&mut self, mut bytes: &[u8]) {
        let mut said = std::mem::take(&mut self.said);
        while let Some(body) = said
            .next(&mut bytes, MAX_FRAME_CEILING - 1)
            .expect("a frame of the library")
        {
            let message = Message::decode(body).expect("a message of the library");
            assert!(!self.left, "{message:?} came behind GOODBYE");
            let is_hello = matches!(message, Message::Hello(_));
            assert_eq!(is_hello, !self.greeted, "{message:?}");
            self.greeted = true;
            match &message {
                Message::Hello(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Drain(_)
                | Message::Cancel(_)
                | Message::Cast(_)
                | Message::Outcome(_)
                | Message::Failure(_) => {}
                Message::Goodbye(_) => self.left = true,
                Message::Register(it) => self.told.requests.push(it.id),
                Message::Unregister(it) => self.told.requests.push(it.id),
                Message::Ready(it) => self.told.requests.push(it.id),
                Message::Bind(it) => self.told.requests.push(it.id),
                Message::Unbind(it) => self.told.requests.push(it.id),
                Message::Emit(it) => self.told.requests.push(it.id),
                Message::Call(it) => {
                    assert!(self.invoked.insert(it.id), "CALL {} twice", it.id);
                    self.told.requests.push(it.id);
                }
                other => panic!("not a worker's to send: {other:?}"),
            }
        }
        self.said = said;
    }

    fn order(&mut self, cursor: &mut Cursor<'_>) {
        let shape = cursor.byte();
        let name = OWN[usize::from(shape >> 3) % OWN.len()];
        let other = OWN[usize::from(shape >> 5) % OWN.len()];
        let binding = || Binding::new("tick", name).with_id(other);
        let ticket = match shape & 7 {
            0..=3 => {
                let text = String::from_utf8_lossy(&cursor.bytes()).into_owned();
                let functions = vec![Function::new(name).description(text), Function::new(other)];
                self.link.register(functions)
            }
            4 | 5 => self.link.unregister(vec![Arc::from(name)]),
            6 => self.link.bind(vec![binding()]),
            _ => self.link.unbind(vec![binding()]),
        };
        if let Ok(ticket) = ticket {
            self.orders.insert(ticket);
        }
    }

    fn call(&mut self, cursor: &mut Cursor<'_>) {
        let shape = cursor.byte();
        let payload = cursor.bytes();
        if shape & 0xc0 == 0xc0 {
            // Refused without a connection, and where it is too large.
            let _ = self.link.cast("a1", &payload, &[]);
            return;
        }
        let milliseconds = cursor.of(&[0, 1, 1_000, 30_000, u64::MAX]);
        let mut options = CallOptions::new().timeout(Duration::from_millis(milliseconds));
        if shape & 1 == 1 {
            options = options.wait();
        }
        if shape & 2 == 2 {
            options = options.idempotent();
        }
        let wish = OutgoingCall {
            kind: if shape & 4 == 4 {
                CallKind::Event
            } else {
                CallKind::Function
            },
            name: "a1".into(),
            payload,
            options,
        };
        match self.link.call(wish, self.now) {
            Ok(ticket) if shape & 0x38 == 0x38 => {
                self.link.forget_call(ticket);
                self.forgotten.insert(ticket);
            }
            Ok(ticket) => assert!(self.calls.insert(ticket)),
            Err(_) => assert!(self.link.ended().is_some()),
        }
    }

    /// Answers what came in, or says why not.
    fn work(&mut self, cursor: &mut Cursor<'_>) {
        let shape = cursor.byte();
        if self.work.is_empty() {
            return;
        }
        let reply = self
            .work
            .swap_remove(usize::from(shape >> 3) % self.work.len());
        match shape & 7 {
            0..=3 => self.link.answer(reply, Ok(cursor.bytes())),
            4 | 5 => {
                let message = String::from_utf8_lossy(&cursor.bytes()).into_owned();
                self.link
                    .answer(reply, Err(Fault::new("sold_out", message)));
            }
            _ => self.link.answer_unserved(reply, shape & 1 == 1),
        }
        if shape & 8 == 8 {
            // Twice: the second one answers nothing.
            self.link.answer(reply, Ok(Vec::new()));
        }
    }

    fn end(&mut self, cursor: &mut Cursor<'_>) {
        match cursor.below(8) {
            0 => self.link.leave(self.now),
            1 | 2 => self.link.drain(),
            3 => self.link.cancel_serving(),
            4 => {
                self.link.finish(End::Closed, self.now);
                self.drop_transport();
            }
            _ => {}
        }
    }

    /// The worker is over: everything that was begun has ended.
    fn conclude(&mut self) {
        self.deliver(usize::MAX);
        self.listen();
        self.link.finish(End::Closed, self.now);
        self.drop_transport();
        self.listen();
        assert!(self.replica.ended);
        assert!(
            self.calls.is_empty(),
            "calls without an end: {:?}",
            self.calls
        );
        assert!(
            self.orders.is_empty(),
            "orders without an end: {:?}",
            self.orders
        );
        assert_eq!(self.link.in_flight().0, 0);
        self.replica.check(&self.link);
    }
}
