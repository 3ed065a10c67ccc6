//! Entries of the board as owned values: functions, workers, bindings. Cheap to clone; a copy does not follow the
//! board.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::function::{Function, FunctionError};
use super::function::{pack, unpack_optional};
use crate::protocol::{Bin, BindingEntry, Text};

/// A function on the board, as of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) function: Arc<Function>,
    pub(super) own: bool,
    pub(super) stale: bool,
}

impl Entry {
    /// The function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.function.name()
    }

    /// What it does, for people; empty if it is not described.
    #[must_use]
    pub fn description(&self) -> &str {
        self.function.text()
    }

    /// The definition, with schemas and metadata as bytes.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The metadata, decoded as MessagePack; `None` if there is none.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_metadata())
    }

    /// The schema of the arguments, decoded as MessagePack; `None` if there is none.
    pub fn request<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_request())
    }

    /// The schema of the result, decoded as MessagePack; `None` if there is none.
    pub fn response<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_response())
    }

    /// Whether only one worker may provide it.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.function.is_exclusive()
    }

    /// Whether this worker provides it or is registering it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether the entry may be out of date: the worker was not connected, or the engine had just restarted and the
    /// provider had not returned.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }
}

/// A worker with functions or bindings, as the section `workers` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    pub(super) epoch: u64,
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) metadata: Arc<[u8]>,
    pub(super) functions: Arc<BTreeSet<Arc<str>>>,
    pub(super) own: bool,
    pub(super) stale: bool,
}

impl WorkerInfo {
    /// Its id, unique within an engine's epoch. While a restarted engine settles, the board may show workers of two
    /// epochs: distinguish them by [`WorkerInfo::key`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Epoch and id, which no two workers share.
    #[must_use]
    pub fn key(&self) -> (u64, u64) {
        (self.epoch, self.id)
    }

    /// Its name, not necessarily unique.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its metadata as bytes; empty if there is none.
    #[must_use]
    pub fn raw_metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Its metadata, decoded as MessagePack; `None` if there is none.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.metadata)
    }

    /// Names of the functions it provides, in order.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.functions.iter().map(AsRef::as_ref)
    }

    /// Whether it provides this function.
    #[must_use]
    pub fn provides(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// Whether it is this worker.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// See [`Entry::is_stale`].
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }
}

/// A binding of a function to an event, as the section `bindings` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub(super) key: Arc<BindingName>,
    pub(super) config: Arc<[u8]>,
    pub(super) deliver_all: bool,
    pub(super) stale: bool,
}

/// The key of a binding: event, function and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BindingName {
    pub(super) event: Box<str>,
    pub(super) function: Box<str>,
    pub(super) id: Box<str>,
}

/// For messages: the event and the function.
impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.event, self.function)
    }
}

impl Binding {
    /// Binds a function to an event, with [`Worker::bind`](super::Worker::bind). Both names follow the grammar of
    /// function names.
    ///
    /// ```
    /// use callboard::worker::Binding;
    ///
    /// let nightly = Binding::new("cron::tick", "stock::count")
    ///     .with_id("nightly")
    ///     .with_config(&serde_json::json!({"at": "03:00"}))?;
    /// assert_eq!(nightly.id(), "nightly");
    /// # Ok::<(), callboard::worker::FunctionError>(())
    /// ```
    #[must_use]
    pub fn new(event: impl Into<Box<str>>, function: impl Into<Box<str>>) -> Self {
        Self {
            key: Arc::new(BindingName {
                event: event.into(),
                function: function.into(),
                id: Box::default(),
            }),
            config: Arc::default(),
            deliver_all: false,
            stale: false,
        }
    }

    /// Distinguishes it from other bindings of this function to this event.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.key).id = id.into();
        self
    }

    /// Configuration for the event's source, such as a schedule or a route, sent as MessagePack.
    pub fn with_config(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.with_config_bytes(pack(value)?))
    }

    /// Configuration for the event's source, as bytes of any format.
    #[must_use]
    pub fn with_config_bytes(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.config = bytes.into();
        self
    }

    /// Cast the event to every provider of the function instead of one.
    #[must_use]
    pub fn deliver_to_all(mut self) -> Self {
        self.deliver_all = true;
        self
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.key.event
    }

    /// The function that the event is cast to.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.key.function
    }

    /// The id that distinguishes bindings of one function to one event.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// The configuration as bytes; empty if there is none.
    #[must_use]
    pub fn raw_config(&self) -> &[u8] {
        &self.config
    }

    /// The configuration, decoded as MessagePack; `None` if there is none.
    pub fn config<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.config)
    }

    /// Whether the event is cast to every provider instead of one.
    #[must_use]
    pub fn delivers_to_all(&self) -> bool {
        self.deliver_all
    }

    /// See [`Entry::is_stale`].
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Its form on the wire.
    #[must_use]
    pub fn to_wire(&self) -> BindingEntry<'_> {
        BindingEntry {
            event: Text(&self.key.event),
            function: Text(&self.key.function),
            id: Text(&self.key.id),
            config: Bin(&self.config),
            deliver_all: self.deliver_all,
        }
    }

    pub(super) fn from_wire(entry: &BindingEntry<'_>) -> Self {
        Self {
            key: Arc::new(BindingName {
                event: entry.event.0.into(),
                function: entry.function.0.into(),
                id: entry.id.0.into(),
            }),
            config: entry.config.0.into(),
            deliver_all: entry.deliver_all,
            stale: false,
        }
    }
}
