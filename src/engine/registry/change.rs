//! A change of one entry of a board, as the change log stores it and as readers with partial rights see it. Knows
//! neither revisions nor readers.

use std::rc::Rc;

use crate::engine::access::rights::Rules;
use crate::protocol::{Bin, Text, WorkerEntry, WorkerKey};

use super::entry::{Name, encode_entry};
use super::visibility::Visibility;

/// A section of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Section {
    Functions,
    Workers,
    Bindings,
}

impl Section {
    /// All sections, in the order in which they stand in a frame.
    pub(crate) const ALL: [Self; 3] = [Self::Functions, Self::Workers, Self::Bindings];
}

/// What happened to an entry. Readers apply the kinds in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeKind {
    Removed,
    Added,
    Updated,
}

/// One change of one entry.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) section: Section,
    /// The key that prefixes are matched with: the function's name, the worker's name, or a binding's key, which
    /// begins with the event's name.
    pub(crate) key: Name,
    /// The worker's id in the section of workers, where names are not unique; otherwise 0.
    pub(crate) worker: u64,
    pub(crate) kind: ChangeKind,
    /// The entry as it stands in a frame.
    pub(crate) body: Rc<[u8]>,
    /// How a change of a worker appears to readers with partial rights; `None` if there are none.
    pub(crate) visibility: Option<Rc<Visibility>>,
}

impl Change {
    /// This change of a worker as a reader with these rules sees it; `None` if it sees nothing of it.
    pub(crate) fn as_seen_with(&self, rules: &Rc<Rules>) -> Option<(ChangeKind, Rc<[u8]>)> {
        let visibility = self.visibility.as_deref()?;
        let (before, after) = visibility.transition(rules)?;
        if !after {
            return before.then(|| match self.kind {
                ChangeKind::Removed => (ChangeKind::Removed, self.body.clone()),
                _ => (ChangeKind::Removed, self.worker_key()),
            });
        }
        let entry = rmp_serde::from_slice::<WorkerEntry<'_>>(&self.body).ok()?;
        let seen = |names: &[Text<'_>]| names.iter().any(|name| rules.allows(name.0));
        let is_visible = entry.metadata.is_some() || seen(&entry.added) || seen(&entry.removed);
        let (kind, metadata) = match (before, self.kind) {
            (false, _) => (ChangeKind::Added, some_metadata(visibility.metadata())),
            (true, kind) if is_visible => (kind, entry.metadata),
            (true, _) => return None,
        };
        Some((kind, visible_entry(&entry, kind, metadata, rules)))
    }

    fn worker_key(&self) -> Rc<[u8]> {
        encode_entry(&WorkerKey {
            id: self.worker,
            name: Text(&self.key),
        })
    }
}

/// Metadata for a reader that has none of this worker yet: none if they are empty.
pub(super) fn some_metadata(metadata: &[u8]) -> Option<Bin<'_>> {
    (!metadata.is_empty()).then_some(Bin(metadata))
}

/// The part of a worker's entry that these rules show.
fn visible_entry(
    entry: &WorkerEntry<'_>,
    kind: ChangeKind,
    metadata: Option<Bin<'_>>,
    rules: &Rules,
) -> Rc<[u8]> {
    let visible = |names: &[Text<'_>]| -> Vec<String> {
        let visible = names.iter().filter(|name| rules.allows(name.0));
        visible.map(|name| name.0.to_owned()).collect()
    };
    let (added, removed) = (visible(&entry.added), visible(&entry.removed));
    encode_entry(&WorkerEntry {
        id: entry.id,
        name: Text(&entry.name),
        metadata,
        added: added.iter().map(|name| Text(name)).collect(),
        // A worker that is new to the reader had no functions before.
        removed: match kind {
            ChangeKind::Updated => removed.iter().map(|name| Text(name)).collect(),
            _ => Vec::new(),
        },
    })
}

/// Counts of changed entries, net, over all revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Changes {
    /// Functions, workers and bindings added.
    pub added: u64,
    /// Those removed.
    pub removed: u64,
    /// Those whose entry changed.
    pub updated: u64,
}

impl Changes {
    pub(crate) fn count(&mut self, kind: ChangeKind) {
        *match kind {
            ChangeKind::Added => &mut self.added,
            ChangeKind::Removed => &mut self.removed,
            ChangeKind::Updated => &mut self.updated,
        } += 1;
    }
}
