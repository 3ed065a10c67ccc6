//! The pure engine and a fleet of connections whose links take everything at once: what is left to
//! measure is the engine's own work. For counting allocations and for the micro benches. Has no socket and
//! no clock. Counts what the engine writes, and keeps it only where it is listened to.
#![allow(dead_code, reason = "each user has its own part")]

mod calls;
mod exchange;

use callboard::engine::{Close, Config, ConnId, Engine, Peer, Time, Written};
use callboard::limits::Limits;
use callboard::protocol::{Definition, Hello, HelloOptions, Register, Text, Unregister, Watch};

use crate::turn::{self, Budgets, Sockets};
#[allow(unused_imports, reason = "as above")]
pub(crate) use calls::{Calls, Gathered};

/// Functions that one of the fleet's own workers provides at most.
const FUNCTIONS_PER_WORKER: usize = 10_000;

/// Calls that each of the fleet takes at once: as many as anybody makes.
const CAPACITY: u64 = 1_000_000;

pub(crate) struct Fleet {
    pub(crate) engine: Engine,
    now: Time,
    generation: u32,
    keys: u32,
    free: Vec<u32>,
    /// Calls of `write` that the engine made.
    pub(crate) writes: u64,
    /// Bytes that they took.
    pub(crate) bytes: u64,
    /// The connection that does not read.
    deaf: Option<ConnId>,
    /// The connection whose frames are kept.
    listening: Option<ConnId>,
    /// What was last written to it.
    heard: Vec<u8>,
}

impl Fleet {
    /// An empty board whose changes are not rationed. No connection is pinged, however many turns there are.
    pub(crate) fn new() -> Self {
        Self::new_within(&Limits::default())
    }

    /// The same, within other limits.
    pub(crate) fn new_within(limits: &Limits) -> Self {
        let limits = Limits {
            changes_per_second: 0,
            ping_after: 3_600_000,
            silence: 7_200_000,
            write_deadline: 7_200_000,
            ..limits.clone()
        };
        let (name, seed) = ("fleet".to_owned(), [7; 32]);
        let now = Time(1_000_000);
        let turn_work = u64::MAX;
        let config = Config {
            limits,
            name,
            seed,
            turn_work,
        };
        Self {
            engine: Engine::new(config, now),
            now,
            generation: 0,
            keys: 0,
            free: Vec::new(),
            writes: 0,
            bytes: 0,
            deaf: None,
            listening: None,
            heard: Vec::new(),
        }
    }

    /// A board with this many functions, named by [`name`], and this many who watch all of them.
    pub(crate) fn with(functions: usize, watchers: usize) -> Self {
        let mut fleet = Self::new();
        let names: Vec<String> = (0..functions).map(name).collect();
        for names in names.chunks(FUNCTIONS_PER_WORKER) {
            let worker = fleet.join(&hello(false));
            fleet.say(worker, &register(names.iter().map(|name| &**name)));
        }
        for _ in 0..watchers {
            fleet.join(&hello(true));
        }
        assert_eq!(fleet.engine.stats().functions, functions as u64);
        fleet
    }

    /// A connection comes and says HELLO; all that it is owed is written.
    pub(crate) fn join(&mut self, hello: &[u8]) -> ConnId {
        self.generation += 1;
        let key = self.free.pop().unwrap_or_else(|| {
            self.keys += 1;
            self.keys - 1
        });
        let id = ConnId::new(self.generation, key);
        let (pid, uid) = (None, None);
        self.engine
            .handle_open(id, Peer::Unix { pid, uid }, self.now);
        self.say(id, hello);
        id
    }

    /// A connection does not read any more.
    pub(crate) fn stop_reading(&mut self, id: ConnId) {
        self.deaf = Some(id);
    }

    /// It reads again, and is brought up to date.
    pub(crate) fn catch_up(&mut self, id: ConnId) {
        self.deaf = None;
        self.engine.handle_writable(id);
        self.turn();
    }

    /// A connection breaks.
    pub(crate) fn lose(&mut self, id: ConnId) {
        self.engine.handle_reset(id, "lost", self.now);
        self.turn();
    }

    /// One turn of the loop in which these bytes came in. `benches/instructions` counts what happens in it.
    #[inline(never)]
    pub(crate) fn say(&mut self, id: ConnId, bytes: &[u8]) {
        self.engine.handle_bytes(id, bytes, self.now);
        self.turn();
    }

    /// The turn behind the reads. All that is due is written.
    fn turn(&mut self) {
        self.now.0 += 1;
        turn::finish(self, Budgets::ALL);
    }
}

impl Sockets for Fleet {
    fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn now(&self) -> Time {
        self.now
    }

    /// Nothing is ever under way.
    fn read_again(&mut self, _id: ConnId) {}

    fn write(&mut self, id: ConnId) -> Option<Written> {
        let mut written = None;
        self.engine.flush(id, self.now, |slices| {
            if self.deaf == Some(id) {
                written = Some(Written::Blocked);
                return Written::Blocked;
            }
            let taken = slices.iter().map(|slice| slice.len()).sum();
            self.writes += 1;
            self.bytes += taken as u64;
            if self.listening == Some(id) {
                self.heard.clear();
                for slice in slices {
                    self.heard.extend_from_slice(slice);
                }
            }
            written = Some(Written::Bytes(taken));
            Written::Bytes(taken)
        });
        written
    }

    fn close(&mut self, close: Close) {
        if let Close::Socket(id) = close {
            self.free.push(id.key() as u32);
        }
    }

    /// Allocations and instructions of the engine are counted with it.
    fn checks_books(&self) -> bool {
        false
    }
}

/// The name of the fleet's function of this number.
pub(crate) fn name(number: usize) -> String {
    format!("service{}::function{number}", number % 97)
}

/// A HELLO that watches all functions, or nothing.
pub(crate) fn hello(watching: bool) -> Vec<u8> {
    let watch = Watch {
        functions: watching.then(|| vec![Text("")]),
        ..Watch::default()
    };
    Hello {
        versions: vec![1],
        name: Text("one of the fleet"),
        namespace: Text("default"),
        ext: HelloOptions {
            watch: Some(watch),
            capacity: Some(CAPACITY),
            ..HelloOptions::default()
        },
    }
    .to_frame()
}

/// A REGISTER of plain functions.
pub(crate) fn register<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let definition = |name| Definition {
        name: Text(name),
        ..Definition::default()
    };
    Register {
        id: 1,
        functions: names.map(definition).collect(),
        ..Register::default()
    }
    .to_frame()
}

/// An UNREGISTER.
pub(crate) fn unregister<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    Unregister {
        id: 1,
        names: names.map(Text).collect(),
        ..Unregister::default()
    }
    .to_frame()
}
