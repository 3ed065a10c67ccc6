//! The vocabulary between the engine and the shell around it: connection ids, time, peers, what became of a write,
//! what to close. Plain values.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::Limits;

/// Identifies a connection for its lifetime: the shell's slab key, and a generation that distinguishes two
/// connections with the same key. `generation << 32 | key` is the poll token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The id of the connection at `key`, the `generation`-th that the shell opened.
    #[must_use]
    pub fn new(generation: u32, key: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(key))
    }

    /// The id that a poll token stands for.
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

/// A point in time on the shell's clock: microseconds since the shell's start, never backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// This long after `self`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0 + wait.as_micros() as u64)
    }
}

/// The far end of a connection, for logs, limits per address, and rights of local users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A Unix-socket peer: process and user, if the kernel reports them.
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

/// The parameters of an engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The limits in force. The caller validates them with [`Limits::check`].
    pub limits: Limits,
    /// The engine's name in WELCOME.
    pub name: String,
    /// Seed of all randomness: session keys, epochs, hash keys, jitter. Production takes it from the system; a
    /// simulation chooses it, which makes a run repeatable.
    pub seed: [u8; 32],
    /// Work that a turn does before its seal, in units of a tenth of a microsecond: [`Config::TURN_WORK`], except in
    /// tests. A larger step stands alone in its turn.
    pub turn_work: u64,
}

impl Config {
    /// Two milliseconds. What is written because of it is counted in.
    pub const TURN_WORK: u64 = 20_000;
}

/// The outcome of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The socket accepted this many bytes.
    Bytes(usize),
    /// The socket accepts none now; the shell reports [`super::Engine::handle_writable`] once it does again.
    Blocked,
    /// The connection is broken; the shell reports [`super::Engine::handle_reset`] in the next turn.
    Broken,
}

/// An instruction to the shell about a connection that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Everything owed was written: shut down the sending half. Keep reading; the engine discards the input.
    SendingHalf(ConnId),
    /// Drop the socket. The engine has forgotten the connection, so its key may be reused.
    Socket(ConnId),
}
