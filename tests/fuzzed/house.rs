//! The pure engine in a shell without sockets: lines that carry bytes both ways, as much of them and as late
//! as the input wants. It does what a server does, turn by turn, and checks what the engine asks of it; who
//! speaks on a line is not its business.

use callboard::engine::{Close, Config, ConnId, Engine, Peer, Time, Written};
use callboard::limits::Limits;

/// Turns of writing after which an engine that still has something to say is taken to be in a loop.
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

pub struct House {
    pub engine: Engine,
    pub limits: Limits,
    pub now: Time,
    pub lines: Vec<Line>,
    opened: u32,
    free: Vec<u32>,
    keys: u32,
}

impl House {
    pub fn new(limits: Limits) -> Self {
        limits.check().expect("limits that agree");
        let now = Time(1_000_000);
        let config = Config {
            limits: limits.clone(),
            name: "fuzzed".to_owned(),
            seed: [7; 32],
        };
        Self {
            engine: Engine::new(config, now),
            limits,
            now,
            lines: Vec::new(),
            opened: 0,
            free: Vec::new(),
            keys: 0,
        }
    }

    /// Opens a connection of nobody in particular; returns its line.
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
    pub fn finish_turn(&mut self, writes: usize, mut again: impl FnMut(&mut Self, usize)) {
        while let Some(id) = self.engine.poll_expired(self.now) {
            let line = self.find(id);
            again(self, line);
            self.engine.handle_expired(id, self.now);
        }
        self.engine.seal(self.now);
        self.flush(writes);
    }

    fn find(&self, id: ConnId) -> usize {
        let line = self
            .lines
            .iter()
            .rposition(|line| line.open && line.id == id);
        line.expect("the engine names a connection that is closed")
    }

    fn flush(&mut self, writes: usize) {
        for count in 0..writes {
            assert!(count < WRITES_MAX, "no end of writes");
            let Some(id) = self.engine.poll_flush() else {
                break;
            };
            let line = self.find(id);
            let it = &mut self.lines[line];
            let (down, room, blocked) = (&mut it.down, it.room, &mut it.blocked);
            self.engine.flush(id, self.now, |slices| {
                assert!(slices.iter().all(|slice| !slice.is_empty()));
                let left = room.saturating_sub(down.len());
                if left == 0 {
                    *blocked = true;
                    return Written::Blocked;
                }
                let before = down.len();
                down.extend(slices.iter().flat_map(|slice| slice.iter()).take(left));
                Written::Bytes(down.len() - before)
            });
        }
        while let Some(close) = self.engine.poll_close() {
            match close {
                Close::SendingHalf(id) => {
                    let line = self.find(id);
                    assert!(!self.lines[line].half_closed, "closed twice");
                    self.lines[line].half_closed = true;
                }
                Close::Socket(id) => {
                    let line = self.find(id);
                    self.lines[line].open = false;
                    self.free.push(id.key() as u32);
                }
            }
        }
        while let Some(id) = self.engine.poll_resume() {
            // The connection may have been closed behind it.
            let _ = self.engine.wants_read(id);
        }
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
