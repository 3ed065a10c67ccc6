//! Configures a worker and starts it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::deadline::deadline_after;
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

/// The largest HELLO that an engine reads.
const HELLO_BYTES: usize = 16 * 1024;

/// So much later than the last attempt the wait for it ends, so that the error says how it failed.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Configures and starts a [`Worker`].
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
    /// A builder for a worker with this name: 1 to 255 bytes, for people to read, not necessarily unique.
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

    /// Where the engine listens: `host:port` or `unix:/path`, several separated by commas, in order of preference.
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

    /// The token to present if the engine requires credentials; none by default. Takes the `Option` of
    /// [`Token::from_environment`] too. A file is read again for each connection, so a token can be replaced
    /// without a restart. If the engine rejects the token (`unauthorized`), the worker retries every 5 to 10 s and
    /// reports it in [`Status`](super::Status) and the log.
    #[must_use]
    pub fn token(mut self, token: impl Into<Option<Token>>) -> Self {
        self.token = token.into();
        self
    }

    /// The namespace. By default that of the token, or `default` without credentials.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What to watch on the board; by default all functions.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Metadata of this worker, shown in the section `workers`, sent as MessagePack; at most 4 KiB.
    pub fn metadata(mut self, value: &impl Serialize) -> Result<Self, FunctionError> {
        self.metadata = pack(value)?;
        Ok(self)
    }

    /// How long a request may take, including reconnects; 30 s by default. An engine that has stopped reading can
    /// add 10 s, until the write times out.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// While connected to an engine other than the first of the list: how often, approximately, to check whether a
    /// preferred one is back, and to move there. 5 s by default, at least 10 ms.
    #[must_use]
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.settings.probe_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// The number of handlers that run at once, each on its own thread; 8 by default, at least 1. Threads start
    /// with the first calls. A handler that calls another function keeps its thread while it waits.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.settings.threads = count.max(1);
        self
    }

    /// The number of calls that this worker accepts at once, including calls that wait for a thread; 1,000 by
    /// default, at least 1. The engine routes by it: further calls go to other providers or end with `overloaded`.
    #[must_use]
    pub fn capacity(mut self, calls: usize) -> Self {
        self.settings.capacity = calls.max(1);
        self
    }

    /// The tier of this worker: calls go to it only while no provider of a lower tier has room. So a worker of tier 1
    /// stands by for those of tier 0. By default the lowest that its principal may ask for: 0, unless the credentials of
    /// the engine say otherwise. The engine refuses a lower one with `unauthorized`.
    #[must_use]
    pub fn tier(mut self, tier: u64) -> Self {
        self.settings.tier = Some(tier);
        self
    }

    /// How long a close or a drop waits for running handlers; 10 s by default.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// Connects and waits until the board is synced. Tries each address once; if all fail, the error says why for
    /// each. An address that does not answer is waited for until the timeout; if others come after it, for its share of
    /// the time and 5 s at most. Once connected, the worker reconnects by itself for ever.
    pub fn connect(self, timeout: Duration) -> Result<Worker, ConnectError> {
        let deadline = deadline_after(timeout);
        let runtime = self.start_runtime(Some(deadline))?;
        // From here on, dropping the worker ends its threads.
        let worker = Worker::new(runtime.clone());
        match worker.wait_synced(timeout.saturating_add(LAST_WORDS)) {
            Ok(_) => Ok(worker),
            Err(WaitError::Timeout(_)) => Err(ConnectError::Timeout(runtime.attempts())),
            Err(WaitError::Ended(End::Unconnected)) if Instant::now() >= deadline => {
                Err(ConnectError::Timeout(runtime.attempts()))
            }
            Err(WaitError::Ended(End::Unconnected | End::Refused(_))) => {
                Err(ConnectError::Failed(runtime.attempts()))
            }
            Err(WaitError::Ended(end)) => Err(ConnectError::Ended(end)),
        }
    }

    /// Returns at once and connects in the background, for ever. Until then the board is empty and stale, and
    /// registrations wait.
    pub fn start(self) -> Result<Worker, ConnectError> {
        self.start_runtime(None).map(Worker::new)
    }

    fn start_runtime(self, single_round: Option<Instant>) -> Result<Arc<Runtime>, ConnectError> {
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
            tier: self.settings.tier,
        };
        let mut link = Link::new(identity.clone(), [0; 32], Instant::now());
        // An unreadable token file may be readable when it is needed.
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
