//! Entries that are checked as a whole, and a REGISTER batch that spans several frames: its entries so far, or why it
//! will fail. Checks nothing.

use crate::engine::interface::Time;
use crate::engine::memory::{Charge, Usage};
use crate::engine::refusal::Refusal;
use crate::engine::registry::entry::{EncodedDefinition, Name};

/// Bytes of an entry of a batch beside its definition, in round figures.
const ENTRY_OVERHEAD: usize = 100;

/// A function, or a binding, of a batch.
#[derive(Debug)]
pub(crate) struct BatchEntry {
    /// The function's name, or the binding's key.
    pub(crate) name: Name,
    pub(crate) definition: EncodedDefinition,
    /// Its slot when the batch is checked, if it is on the board.
    pub(crate) slot: Option<usize>,
}

impl BatchEntry {
    pub(crate) fn new(name: Name, definition: EncodedDefinition) -> Self {
        Self {
            name,
            definition,
            slot: None,
        }
    }
}

/// Sorts entries by name, so that neighbours on the board are looked up together. The last definition of a name counts.
pub(crate) fn sort_entries(entries: &mut Vec<BatchEntry>) {
    if entries.len() < 2 {
        return;
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.dedup_by(|later, kept| {
        let is_again = later.name == kept.name;
        if is_again {
            std::mem::swap(later, kept);
        }
        is_again
    });
}

/// A batch of which further frames are expected.
#[derive(Debug)]
pub(crate) struct Batch {
    id: u64,
    since: Time,
    entries: Vec<BatchEntry>,
    /// Bytes of the definitions, encoded.
    bytes: usize,
    failure: Option<Refusal>,
    /// Its bytes, among those of all batches.
    charge: Charge,
}

impl Batch {
    pub(crate) fn new(id: u64, now: Time, usage: &Usage) -> Self {
        Self {
            id,
            since: now,
            entries: Vec::new(),
            bytes: 0,
            failure: None,
            charge: usage.charge(0),
        }
    }

    /// The request id that its frames share.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// When its first frame came.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().map(|it| &it.name)
    }

    /// Counts the bytes of a definition. Returns those of all.
    pub(crate) fn add_bytes(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.bytes
    }

    pub(crate) fn push(&mut self, name: Name, definition: EncodedDefinition) {
        self.entries.push(BatchEntry::new(name, definition));
    }

    /// Whether it will fail.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// It will fail with its last frame. Its entries are dropped.
    pub(crate) fn fail(&mut self, failure: Refusal) {
        self.entries = Vec::new();
        self.bytes = 0;
        self.failure = Some(failure);
        self.update_charge();
    }

    /// Accounts for the entries so far.
    pub(crate) fn update_charge(&mut self) {
        self.charge.set(self.held());
    }

    /// Bytes of its entries, with what they take beside the definitions.
    pub(crate) fn held(&self) -> usize {
        self.bytes + self.entries.len() * ENTRY_OVERHEAD
    }

    /// Its entries, sorted by name, or its failure.
    pub(crate) fn finish(self) -> Result<Vec<BatchEntry>, Refusal> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let mut entries = self.entries;
        sort_entries(&mut entries);
        Ok(entries)
    }
}

#[cfg(debug_assertions)]
impl Batch {
    /// Compares the charge with what is held. Returns it.
    pub(super) fn check_books(&self) -> usize {
        let Self {
            id: _,
            since: _,
            entries,
            bytes,
            failure,
            charge,
        } = self;
        let definitions: usize = entries.iter().map(|it| it.definition.bytes.len()).sum();
        assert_eq!(*bytes, definitions, "bytes of a batch");
        assert!(failure.is_none() || entries.is_empty());
        let held = definitions + entries.len() * ENTRY_OVERHEAD;
        assert_eq!(charge.bytes(), held, "charge of a batch");
        charge.bytes()
    }
}
