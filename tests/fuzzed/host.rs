//! The pure engine in a shell without sockets: lines that carry bytes both ways, as much of them and as late
//! as the input wants. It does what a server does, turn by turn, and checks what the engine asks of it; who
//! speaks on a line is not its business.

use callboard::engine::{Close, Config, ConnId, Engine, Peer, Time, Written};
use callboard::limits::Limits;

use crate::turn::{self, Budgets, Sockets};

/// Attempts to write in one turn after which an engine that still has something to say is taken to be in a loop.
const WRITES_MAX: usize = 100_000;

/// A connection, seen from its peer.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts about a socket.
pub struct Line {
    pub id: ConnId,
    /// The engine has not had the socket dropped.
    pub open: bool,
    /// The engine closed its sending half.
    pub half_closed: bool,
    /// The peer ended it: by EOF, reset or GOODBYE.
    pub ended: bool,
    /// Bytes on their way to the engine.
    pub up: Vec<u8>,
    /// Bytes on their way to the peer.
    pub down: Vec<u8>,
    /// Bytes that `down` takes before a write would block.
    pub room: usize,
    /// A write was refused.
    pub blocked: bool,
    /// A write was refused at some time.
    pub slow: bool,
}

pub struct Host {
    pub engine: Engine,
    pub limits: Limits,
    pub now: Time,
    pub lines: Vec<Line>,
    /// Attempts to write in this turn.
    writes: usize,
    opened: u32,
    free: Vec<u32>,
    keys: u32,
}

impl Host {
    pub fn new(limits: Limits) -> Self {
        limits.check().expect("limits that agree");
        let now = Time(1_000_000);
        let config = Config {
            turn_work: u64::MAX,
            limits: limits.clone(),
            name: "fuzzed".to_owned(),
            seed: [7; 32],
        };
        Self {
            engine: Engine::new(config, now),
            limits,
            now,
            lines: Vec::new(),
            writes: 0,
            opened: 0,
            free: Vec::new(),
            keys: 0,
        }
    }

    /// Opens a connection without a user id; returns its line.
    pub fn open(&mut self) -> usize {
        self.open_as(None)
    }

    /// Opens a connection of this user; returns its line.
    pub fn open_as(&mut self, uid: Option<u32>) -> usize {
        self.opened += 1;
        let key = self.free.pop().unwrap_or_else(|| {
            self.keys += 1;
            self.keys - 1
        });
        let id = ConnId::new(self.opened, key);
        let peer = Peer::Unix { pid: None, uid };
        self.engine.handle_open(id, peer, self.now);
        self.lines.push(Line {
            id,
            open: true,
            half_closed: false,
            ended: false,
            up: Vec::new(),
            down: Vec::new(),
            room: usize::MAX,
            blocked: false,
            slow: false,
        });
        self.lines.len() - 1
    }

    /// Up to `most` bytes arrive, if the engine reads the connection; these.
    pub fn arrive(&mut self, line: usize, most: usize) -> Vec<u8> {
        let it = &mut self.lines[line];
        if !it.open || it.ended || it.up.is_empty() || !self.engine.wants_read(it.id) {
            return Vec::new();
        }
        let bytes: Vec<u8> = it.up.drain(..most.min(it.up.len())).collect();
        self.engine.handle_bytes(it.id, &bytes, self.now);
        bytes
    }

    /// What follows the reads of a turn. `again` reads a connection once more before its deadline ends it.
    pub(super) fn finish_turn(&mut self, budgets: Budgets, again: impl FnMut(&mut Self, usize)) {
        self.writes = 0;
        turn::finish(&mut Turn { host: self, again }, budgets);
    }

    fn find(&self, id: ConnId) -> usize {
        let line = self
            .lines
            .iter()
            .rposition(|line| line.open && line.id == id);
        line.expect("the engine names a connection that is closed")
    }

    /// The peer reads all that came.
    pub fn receive(&mut self, line: usize) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.lines[line].down);
        self.unblock(line);
        bytes
    }

    /// Tells the engine that it can write again, if it can.
    pub fn unblock(&mut self, line: usize) {
        let it = &mut self.lines[line];
        if it.blocked && it.open && it.down.len() < it.room {
            it.blocked = false;
            it.slow = true;
            self.engine.handle_writable(it.id);
        }
    }

    pub fn eof(&mut self, line: usize) {
        let it = &mut self.lines[line];
        if it.open {
            it.ended = true;
            self.engine.handle_eof(it.id, self.now);
        }
    }

    pub fn reset(&mut self, line: usize) {
        let it = &mut self.lines[line];
        if it.open {
            it.ended = true;
            self.engine.handle_reset(it.id, "reset", self.now);
        }
    }
}

/// A turn of the host, and how it reads a connection once more.
struct Turn<'a, F> {
    host: &'a mut Host,
    again: F,
}

impl<F: FnMut(&mut Host, usize)> Sockets for Turn<'_, F> {
    fn engine(&mut self) -> &mut Engine {
        &mut self.host.engine
    }

    fn now(&self) -> Time {
        self.host.now
    }

    fn read_again(&mut self, id: ConnId) {
        let line = self.host.find(id);
        (self.again)(self.host, line);
    }

    fn write(&mut self, id: ConnId) -> Option<Written> {
        let host = &mut *self.host;
        host.writes += 1;
        assert!(host.writes < WRITES_MAX, "no end of writes");
        let line = host.find(id);
        let it = &mut host.lines[line];
        let mut written = None;
        host.engine.flush(id, host.now, |slices| {
            assert!(slices.iter().all(|slice| !slice.is_empty()));
            let left = it.room.saturating_sub(it.down.len());
            let outcome = if left == 0 {
                it.blocked = true;
                Written::Blocked
            } else {
                let before = it.down.len();
                let bytes = slices.iter().flat_map(|slice| slice.iter());
                it.down.extend(bytes.take(left));
                Written::Bytes(it.down.len() - before)
            };
            written = Some(outcome);
            outcome
        });
        written
    }

    fn close(&mut self, close: Close) {
        match close {
            Close::SendingHalf(id) => {
                let line = self.host.find(id);
                let line = &mut self.host.lines[line];
                assert!(!line.half_closed, "closed twice");
                line.half_closed = true;
            }
            Close::Socket(id) => {
                let line = self.host.find(id);
                self.host.lines[line].open = false;
                self.host.free.push(id.key() as u32);
            }
        }
    }

    fn resume(&mut self, id: ConnId) {
        // The connection may have been closed behind it.
        let _ = self.host.engine.wants_read(id);
    }
}
