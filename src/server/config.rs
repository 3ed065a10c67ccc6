//! The configuration of a server, with its defaults. Values only; nothing is checked or opened here.

use std::time::Duration;

use super::credentials::CredentialsFile;
use crate::address::{Address, DEFAULT_ADDRESS};
use crate::limits::Limits;

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Addresses to listen on. At least one is required unless a service manager passed sockets. A host name stands
    /// for all its addresses on this host, but with port 0 for the first of them only. The file of a Unix socket is
    /// replaced if no process listens on it, gets its mode from the umask, and is removed at the end.
    pub listen: Vec<Address>,
    /// The limits in force. `max_connections` needs as many file descriptors, plus a few.
    pub limits: Limits,
    /// The engine's name in WELCOME.
    pub name: String,
    /// The principals that may connect, and their rights. `None` gives every peer all rights. The file is read again on a reload.
    pub credentials: Option<CredentialsFile>,
    /// Seed of all randomness. `None` takes it from the system, as everything but a test should.
    pub seed: Option<[u8; 32]>,
    /// Whether SIGTERM and SIGINT shut this server down, and SIGHUP reloads it. Signals belong to the whole
    /// process, so this is for a process that is nothing but a server.
    pub handle_signals: bool,
    /// What the loop does while it is idle.
    pub spin: Spin,
    /// How often to log what the loop does; at most once a turn.
    pub stats_every: Option<Duration>,
    /// Write calls that one turn spends on fan-out before it reads again. A call waits at most this long while a
    /// change goes out to a large fleet. At least 1.
    pub fanout_writes: usize,
}

/// What the loop does while it is idle. Waking up takes longer than most turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spin {
    /// Sleeps at once.
    #[default]
    Never,
    /// Polls without sleeping for this long after the last input, then sleeps.
    For(Duration),
    /// Never sleeps, and occupies a processor.
    Always,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: vec![Address::Tcp(DEFAULT_ADDRESS.to_owned())],
            limits: Limits::default(),
            name: "callboard".to_owned(),
            credentials: None,
            seed: None,
            handle_signals: false,
            spin: Spin::Never,
            stats_every: None,
            fanout_writes: 128,
        }
    }
}
