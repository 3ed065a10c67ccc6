//! What the board shows, as values of one's own: an entry, a worker, a binding. Cheap to clone; a copy
//! does not follow the board.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::function::{pack, unpack_optional};
use super::{Function, FunctionError};
use crate::protocol::{Bin, BindingEntry, Text};

/// A function on the board, as it was when one asked.
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

    /// What it does, for people; empty if nobody said.
    #[must_use]
    pub fn description(&self) -> &str {
        self.function.text()
    }

    /// The definition: schemas and metadata as they travel.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The metadata, read as MessagePack of some type; `None` if there are none.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_metadata())
    }

    /// The schema of the arguments, read as MessagePack of some type; `None` if there is none.
    pub fn request<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_request())
    }

    /// The schema of the result, read as MessagePack of some type; `None` if there is none.
    pub fn response<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(self.function.raw_response())
    }

    /// Whether it has one provider only.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.function.is_exclusive()
    }

    /// Whether this worker provides it, or is just registering it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether the board may be wrong about it: the worker was not connected, or the engine had just
    /// restarted and the provider was not back yet.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }
}

/// A worker that provides or binds something, as the section `workers` shows it.
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
    /// Unique within an engine's epoch. While an engine that was restarted settles, workers of two epochs
    /// may be on the board: tell them apart by [`WorkerInfo::key`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Epoch and id: never of two workers.
    #[must_use]
    pub fn key(&self) -> (u64, u64) {
        (self.epoch, self.id)
    }

    /// Its name; several workers may bear the same.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says about itself, as it travels; empty if it says nothing.
    #[must_use]
    pub fn raw_metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// What it says about itself, read as MessagePack of some type; `None` if it says nothing.
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

    /// Whether it is this worker itself.
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

/// A function tied to an event, as the section `bindings` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub(super) key: Arc<BindingName>,
    pub(super) config: Arc<[u8]>,
    pub(super) deliver_all: bool,
    pub(super) stale: bool,
}

/// What names a binding: event, function and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BindingName {
    pub(super) event: Box<str>,
    pub(super) function: Box<str>,
    pub(super) id: Box<str>,
}

/// For people: which event leads to which function.
impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.event, self.function)
    }
}

impl Binding {
    /// To tie a function to an event: [`Worker::bind`](super::Worker::bind). Both names are of the grammar
    /// of functions' names.
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

    /// Tells it from other bindings of the function to the event.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.key).id = id.into();
        self
    }

    /// For the event's source, sent as MessagePack: a schedule, a route.
    pub fn with_config(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.with_config_bytes(pack(value)?))
    }

    /// For the event's source, as bytes of whatever format.
    #[must_use]
    pub fn with_config_bytes(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.config = bytes.into();
        self
    }

    /// Cast to every provider of the function, not to one of them.
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

    /// Tells several bindings of one function to one event apart.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// For the event's source, as it travels; empty if there is none.
    #[must_use]
    pub fn raw_config(&self) -> &[u8] {
        &self.config
    }

    /// For the event's source, read as MessagePack of some type; `None` if there is none.
    pub fn config<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.config)
    }

    /// Cast to every provider, not to one of them.
    #[must_use]
    pub fn delivers_to_all(&self) -> bool {
        self.deliver_all
    }

    /// See [`Entry::is_stale`].
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// As it travels.
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
