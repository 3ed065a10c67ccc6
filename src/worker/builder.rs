//! What a worker is made with.

use std::time::Duration;

use serde::Serialize;

use super::function::pack;
use super::{ConnectError, FunctionError, Watch, Worker};
use crate::address::{Address, AddressError};

/// Makes a [`Worker`].
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) addresses: Vec<Address>,
    pub(super) watch: Watch,
    pub(super) metadata: Vec<u8>,
    pub(super) request_timeout: Duration,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            namespace: "default".to_owned(),
            addresses: Vec::new(),
            watch: Watch::default(),
            metadata: Vec::new(),
            request_timeout: Duration::from_secs(30),
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

    /// The board to be on; `default` unless said.
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

    /// How long a request may wait for its answer, reconnects included. 30 s unless said.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Connects, and waits until the board is there. Each address is tried once; if none works, this
    /// says why, address by address. After that the worker reconnects by itself, for ever.
    pub fn connect(self, timeout: Duration) -> Result<Worker, ConnectError> {
        let _ = timeout;
        unimplemented!()
    }

    /// Returns at once and connects in the background, for ever. The board is empty and stale until
    /// then; what is registered waits.
    pub fn start(self) -> Result<Worker, ConnectError> {
        unimplemented!()
    }
}
