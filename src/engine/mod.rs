//! The engine: a state machine without sockets and without a clock.
//!
//! In: a connection's bytes, its end, what could be written to it, the time. Out: what to write, whom
//! to read again, whom to close. The shell around it (the server, or a simulation) calls, turn by turn:
//!
//! 1. [`Engine::handle_open`], [`Engine::handle_bytes`], [`Engine::handle_eof`], [`Engine::handle_reset`],
//!    [`Engine::handle_writable`] for what happened;
//! 2. [`Engine::poll_expired`], then for each one read once more and [`Engine::handle_expired`];
//! 3. [`Engine::seal`]: this turn's changes become one revision, replies get their stamp;
//! 4. [`Engine::poll_flush`] and [`Engine::flush`] for each connection that has something to write;
//! 5. [`Engine::poll_close`] and [`Engine::poll_resume`].

use std::fmt;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::Limits;

/// Names a connection for its lifetime: the shell's slab key, and a generation that makes a key used
/// again another name. `generation << 32 | key` is the poll token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The name of the connection at `key`, the `generation`-th that the shell opened.
    #[must_use]
    pub fn new(generation: u32, key: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(key))
    }

    /// The name that a poll token stands for.
    #[must_use]
    pub fn from_token(token: usize) -> Self {
        Self(token as u64)
    }

    /// As a poll token.
    #[must_use]
    pub fn token(self) -> usize {
        self.0 as usize
    }

    /// The shell's slab key.
    #[must_use]
    pub fn key(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// A point in time as the shell's clock has it: microseconds since the shell's start, never backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// This long after `self`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0 + wait.as_micros() as u64)
    }
}

/// Who is at the other end, for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A Unix-socket peer: process and user, where the kernel tells.
    Unix {
        /// Process id.
        pid: Option<u32>,
        /// User id.
        uid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix {
                pid: Some(pid),
                uid: Some(uid),
            } => write!(f, "unix(pid {pid} uid {uid})"),
            Self::Unix { .. } => f.write_str("unix"),
        }
    }
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The limits in force; [`Limits::check`] is the caller's to call.
    pub limits: Limits,
    /// The engine's name in WELCOME.
    pub name: String,
    /// Source of all chance: session keys, epochs, hash keys, jitter. From the system in production,
    /// chosen in a simulation, where it makes a run repeatable.
    pub seed: [u8; 32],
}

/// What became of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken.
    Bytes(usize),
    /// None could be taken now: the shell says [`Engine::handle_writable`] when it is possible again.
    Blocked,
    /// The connection is broken: the shell will say [`Engine::handle_reset`] in the next turn.
    Broken,
}

/// What the shell shall do about a connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// All that it is owed was written: close the sending half. Go on reading; the engine discards it.
    SendingHalf(ConnId),
    /// Drop the socket. The engine has forgotten the connection; its key may be used again.
    Socket(ConnId),
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {}

#[allow(unused_variables, missing_docs, clippy::all, clippy::pedantic)] // Shape first.
impl Engine {
    /// An engine with an empty board.
    pub fn new(config: Config, now: Time) -> Self {
        unimplemented!()
    }

    /// A connection was accepted. Over the limit it is refused with a GOODBYE and closed like any other.
    pub fn handle_open(&mut self, conn: ConnId, peer: Peer, now: Time) {}

    /// Bytes came in, split in whatever way. All are taken.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Time) {}

    /// The peer closed its sending half: it is gone from the board; what it is owed is still written.
    pub fn handle_eof(&mut self, conn: ConnId, now: Time) {}

    /// The connection broke, in reading or writing. `why` is for the log.
    pub fn handle_reset(&mut self, conn: ConnId, why: &str, now: Time) {}

    /// A connection that was [`Written::Blocked`] can be written to again.
    pub fn handle_writable(&mut self, conn: ConnId) {}

    /// SIGTERM: DRAIN to all, then GOODBYE once idle or when the grace period ends.
    /// A second time: GOODBYE at once.
    pub fn handle_shutdown(&mut self, now: Time) {}

    /// Whether this connection may be read now. When it may again, [`Engine::poll_resume`] names it.
    pub fn wants_read(&self, conn: ConnId) -> bool {
        true
    }

    /// When [`Engine::poll_expired`] has something to say, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// A connection whose deadline has passed. Read it once more (an engine that stalled must not kill
    /// the innocent), then say [`Engine::handle_expired`], which looks again.
    pub fn poll_expired(&mut self, now: Time) -> Option<ConnId> {
        None
    }

    /// The connection was read once more: end it if its deadline still has passed.
    pub fn handle_expired(&mut self, conn: ConnId, now: Time) {}

    /// The end of a turn's input: what changed becomes one revision per namespace, replies get stamped.
    pub fn seal(&mut self, now: Time) {}

    /// The next connection that has something to write and is not blocked. Call [`Engine::flush`] for it.
    pub fn poll_flush(&mut self) -> Option<ConnId> {
        None
    }

    /// Whether [`Engine::poll_flush`], [`Engine::poll_resume`] or [`Engine::poll_close`] has more to say.
    pub fn has_more(&self) -> bool {
        false
    }

    /// Offers what is due to `conn` to `write`, in one call (at most 64 slices and 256 KiB).
    pub fn flush(
        &mut self,
        conn: ConnId,
        now: Time,
        write: impl FnOnce(&[IoSlice<'_>]) -> Written,
    ) {
    }

    /// What to close next.
    pub fn poll_close(&mut self) -> Option<Close> {
        None
    }

    /// A connection that may be read again ([`Engine::wants_read`] said no before).
    pub fn poll_resume(&mut self) -> Option<ConnId> {
        None
    }

    /// After [`Engine::handle_shutdown`]: every connection was told, the shell may end once it has closed
    /// them.
    pub fn is_finished(&self) -> bool {
        false
    }
}
