//! What a worker is made with, and the ways to begin it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::{ConnectError, End, WaitError};
use super::function::{FunctionError, pack};
use super::identity::Identity;
use super::link::Link;
use super::runtime::Runtime;
use super::runtime::reader::Reader;
use super::settings::Settings;
use super::token::Token;
use super::watch::Watch;
use super::worker::Worker;
use crate::address::{Address, AddressError};
use crate::protocol::{check_event_name, check_worker_name};

/// What an engine reads of a stranger's HELLO.
const HELLO_BYTES: usize = 16 * 1024;

/// Makes a [`Worker`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    namespace: String,
    addresses: Vec<Address>,
    watch: Watch,
    metadata: Vec<u8>,
    token: Option<Token>,
    settings: Settings,
}

impl Worker {
    /// Begins a worker of this name, 1 to 255 bytes, for people to read; several may bear the same.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl Builder {
    fn new(name: String) -> Self {
        Self {
            name,
            namespace: String::new(),
            addresses: Vec::new(),
            watch: Watch::default(),
            metadata: Vec::new(),
            token: None,
            settings: Settings::default(),
        }
    }

    /// Where the engine listens: `host:port` or `unix:/path`, several separated by commas, in order of
    /// preference.
    pub fn engine(mut self, addresses: &str) -> Result<Self, AddressError> {
        self.addresses = Address::parse_list(addresses)?;
        Ok(self)
    }

    /// Where the engine listens, in order of preference.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = Address>) -> Self {
        self.addresses = addresses.into_iter().collect();
        self
    }

    /// What to present, where the engine has credentials; nothing unless said, as with
    /// [`Token::from_environment`], which may find none. A file is read anew for each
    /// connection, so that a token is replaced without a restart. An engine that does not let the worker in
    /// (`unauthorized`) is tried again every 5 to 10 s: [`Status`](super::Status) and the log say so.
    #[must_use]
    pub fn token(mut self, token: impl Into<Option<Token>>) -> Self {
        self.token = token.into();
        self
    }

    /// The board to be on. Unless said, the one that the token is for; `default` without credentials.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What to see of the board; all functions unless said.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// What to show about this worker in the section `workers`, sent as MessagePack; at most 4 KiB.
    pub fn metadata(mut self, value: &impl Serialize) -> Result<Self, FunctionError> {
        self.metadata = pack(value)?;
        Ok(self)
    }

    /// How long a request may wait for its answer, reconnects included. 30 s unless said. An engine that
    /// reads nothing any more can hold it up for 10 s more, until writing to it is given up.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// Connected to an engine that is not the first of the list: about how often to look whether one
    /// that comes before is back, and to move there. 5 s unless said; never less than 10 ms.
    #[must_use]
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.settings.probe_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Handlers that run at once, each on a thread of its own; 8 unless said, at least 1. The threads begin
    /// with the first calls. A handler that calls another function keeps its thread meanwhile.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.settings.threads = count.max(1);
        self
    }

    /// Calls that this worker takes at once, those that wait for a thread included; 1,000 unless said, at
    /// least 1. The engine routes by it: what is beyond goes to other providers, or ends with `overloaded`.
    #[must_use]
    pub fn capacity(mut self, calls: usize) -> Self {
        self.settings.capacity = calls.max(1);
        self
    }

    /// How long a close or a drop waits for handlers that are still running. 10 s unless said.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// Connects, and waits until the board is there. Each address is tried once; if none works, this
    /// says why, address by address. After that the worker reconnects by itself, for ever.
    pub fn connect(self, timeout: Duration) -> Result<Worker, ConnectError> {
        let runtime = self.start_runtime(true)?;
        // From here on, the worker's drop ends its threads.
        let worker = Worker::new(runtime.clone());
        match worker.wait_synced(timeout) {
            Ok(_) => Ok(worker),
            Err(WaitError::Timeout(_)) => Err(ConnectError::Timeout(runtime.attempts())),
            Err(WaitError::Ended(End::Unconnected | End::Refused(_))) => {
                Err(ConnectError::Failed(runtime.attempts()))
            }
            Err(WaitError::Ended(end)) => Err(ConnectError::Ended(end)),
        }
    }

    /// Returns at once and connects in the background, for ever. The board is empty and stale until
    /// then; what is registered waits.
    pub fn start(self) -> Result<Worker, ConnectError> {
        self.start_runtime(false).map(Worker::new)
    }

    fn start_runtime(self, single_round: bool) -> Result<Arc<Runtime>, ConnectError> {
        if self.addresses.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let invalid = |name: &str, error| ConnectError::InvalidName {
            name: name.into(),
            error,
        };
        check_worker_name(&self.name).map_err(|error| invalid(&self.name, error))?;
        if !self.namespace.is_empty() {
            check_event_name(&self.namespace).map_err(|error| invalid(&self.namespace, error))?;
        }
        let identity = Identity {
            name: self.name,
            namespace: self.namespace,
            watch: self.watch,
            metadata: self.metadata,
            capacity: Some(self.settings.capacity as u64),
        };
        let mut link = Link::new(identity.clone(), [0; 32], Instant::now());
        // One that cannot be read now may be there when it is needed.
        link.set_token(self.token.as_ref().and_then(|token| token.read().ok()));
        let bytes = link.hello_bytes();
        if bytes > HELLO_BYTES {
            return Err(ConnectError::HelloTooLarge { bytes });
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| {
            let code = error.raw_os_error().map(io::Error::from_raw_os_error);
            ConnectError::System(code.unwrap_or_else(|| io::ErrorKind::Other.into()).into())
        })?;
        Reader::start(
            identity,
            self.token,
            self.addresses,
            self.settings,
            seed,
            single_round,
        )
        .map_err(|error| ConnectError::System(error.into()))
    }
}
