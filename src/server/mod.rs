//! The `mio` shell around the engine: listeners, sockets, signals and the loop that turns them into
//! the engine's calls. It only reads, writes and waits; it knows no message and decides nothing
//! about one.
//!
//! [`Server::bind`] and [`Server::run`] are the engine's process, [`Service`] what a service manager has to
//! do with it; [`Server::spawn`] puts an engine on a thread, for tests and for embedding:
//!
//! ```
//! use callboard::server::{Server, ServerConfig};
//!
//! let server = Server::spawn(ServerConfig {
//!     listen: vec!["127.0.0.1:0".parse()?],
//!     ..ServerConfig::default()
//! })?;
//! println!("an engine listens on {}", server.addresses()[0]);
//! server.shutdown();
//! server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acceptor;
mod activation;
mod counters;
mod credentials;
mod error;
mod handle;
mod listener;
mod notifier;
mod principals;
mod pulse;
mod service;
mod socket;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use mio::{Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

pub use counters::Counters;
pub use credentials::{CredentialsError, CredentialsFile};
pub use error::{BindError, RunError};
pub use handle::ServerHandle;
pub use principals::Fault;
pub use service::Service;

use crate::address::{Address, DEFAULT_ADDRESS};
use crate::engine::{Config, ConnId, Credentials};
use crate::limits::Limits;
use handle::Control;
use listener::Listener;

// A poll token holds a slab key and a generation.
const _: () = assert!(usize::BITS == 64, "Callboard needs a 64-bit system");

/// No connection is ever of this generation: its tokens are the server's own.
const OWN_GENERATION: u32 = u32::MAX;

/// Tokens of the server's own sources. A listener's is its index.
const SIGNALS: u32 = u32::MAX;
const WAKER: u32 = u32::MAX - 1;

fn own_token(which: u32) -> Token {
    Token(ConnId::new(OWN_GENERATION, which).token())
}

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

/// A server that listens and does not serve yet: connections wait in the kernel until
/// [`Server::run`].
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    listeners: Vec<Listener>,
    signals: Option<SignalSource>,
    control: Arc<Control>,
    engine: Config,
    service: Service,
    /// The file, and what it said.
    credentials: Option<(CredentialsFile, Credentials)>,
    spin: Spin,
    stats_every: Option<Duration>,
    fanout_writes: usize,
}

impl Server {
    /// Listens on all addresses of `config`, or on none.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        Self::bind_service(config, Service::default())
    }

    /// Listens on the sockets that the service manager gave, and on all addresses of `config`; or on none.
    /// The manager is told of all that follows.
    pub fn bind_service(config: ServerConfig, mut service: Service) -> Result<Self, BindError> {
        config.limits.check().map_err(BindError::Limits)?;
        let credentials = match config.credentials {
            Some(file) => {
                let read = file.read().map_err(BindError::Credentials)?;
                Some((file, read))
            }
            None => None,
        };
        let listeners = service.take_listeners();
        if config.listen.is_empty() && listeners.is_empty() {
            return Err(BindError::NoAddress);
        }
        let seed = match config.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        let poll = Poll::new().map_err(BindError::System)?;
        let waker = Waker::new(poll.registry(), own_token(WAKER)).map_err(BindError::System)?;
        let mut server = Self {
            control: Arc::new(Control::new(waker)),
            listeners,
            service,
            credentials,
            signals: None,
            spin: config.spin,
            stats_every: config.stats_every,
            fanout_writes: config.fanout_writes.max(1),
            engine: Config {
                limits: config.limits,
                name: config.name,
                seed,
            },
            poll,
        };
        if let Err(error) = server.acquire(&config.listen, config.handle_signals) {
            // What was bound before the failure goes again, socket files included.
            for listener in server.listeners {
                listener.close(server.poll.registry());
            }
            return Err(error);
        }
        for listener in &server.listeners {
            log::info!("listening on {}", listener.address());
        }
        Ok(server)
    }

    fn acquire(&mut self, listen: &[Address], handle_signals: bool) -> Result<(), BindError> {
        let registry = self.poll.registry();
        if !self.listeners.is_empty() {
            log::info!(
                "the service manager gave {} sockets to listen on",
                self.listeners.len()
            );
        }
        for address in listen {
            self.listeners.extend(Listener::bind(address)?);
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener
                .register(registry, own_token(index as u32))
                .map_err(BindError::System)?;
        }
        if handle_signals {
            let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(BindError::System)?;
            registry
                .register(&mut signals, own_token(SIGNALS), mio::Interest::READABLE)
                .map_err(BindError::System)?;
            self.signals = Some(SignalSource(signals));
        }
        Ok(())
    }

    /// Where it listens: on what the service manager gave, then in the order of the configuration; ports are
    /// the real ones.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until it is shut down. The engine lives and dies on the calling thread.
    pub fn run(self) -> Result<(), RunError> {
        turn::serve(self)
    }
}

/// SIGTERM, SIGINT and SIGHUP as an event source.
struct SignalSource(Signals);

/// What signals asked for.
#[derive(Debug, Default)]
struct Signalled {
    /// How many kinds of signals asked for the end; several of one kind count once.
    stops: u32,
    reload: bool,
}

impl SignalSource {
    /// What came since the last call.
    fn take(&mut self) -> Signalled {
        let mut signalled = Signalled::default();
        for signal in self.0.pending() {
            match signal {
                SIGHUP => signalled.reload = true,
                _ => signalled.stops += 1,
            }
        }
        signalled
    }
}

impl std::fmt::Debug for SignalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSource")
    }
}

fn random_seed() -> Result<[u8; 32], BindError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| BindError::System(std::io::Error::other(error)))?;
    Ok(seed)
}
