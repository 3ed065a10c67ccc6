//! The configuration of a server, with its defaults. Values only; nothing is checked or opened here.

use std::time::Duration;

use super::credentials::CredentialsFile;
use crate::address::{Address, DEFAULT_ADDRESS};
use crate::limits::Limits;

/// What a server is made with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen; at least one address, unless a service manager gave sockets. A host name stands for all its addresses on this host,
    /// but with port 0 for the first of them. A Unix socket's file is replaced if nobody listens on it,
    /// gets its mode from the umask, and is removed at the end.
    pub listen: Vec<Address>,
    /// The limits in force. `max_connections` needs as many file descriptors, and some more.
    pub limits: Limits,
    /// The engine's name in WELCOME.
    pub name: String,
    /// Who may connect, and with which rights; `None`: everybody, with all of them. Read again when the server is
    /// asked to reload.
    pub credentials: Option<CredentialsFile>,
    /// Source of all chance; `None` takes it from the system, as anything but a test should.
    pub seed: Option<[u8; 32]>,
    /// Whether SIGTERM and SIGINT end this server, and SIGHUP makes it reload. Signals belong to the whole
    /// process: only for a server that is the process's purpose.
    pub handle_signals: bool,
    /// Whether the loop sleeps while nothing happens.
    pub spin: Spin,
    /// Log what the loop does, this often. At most once a turn.
    pub stats_every: Option<Duration>,
    /// Write calls that one turn spends on telling many the same, before it reads again: what a call waits for
    /// while a change goes out to a large fleet. At least 1.
    pub fanout_writes: usize,
}

/// Whether a loop sleeps while nothing happens. To be woken takes longer than most turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spin {
    /// It sleeps at once.
    #[default]
    Never,
    /// It looks again and again until so long after something last came in, then sleeps.
    For(Duration),
    /// It never sleeps, and takes a processor for itself.
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
