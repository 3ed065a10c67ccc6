//! What those see of workers who may not see every function: a worker is there for them while it provides something
//! that they may see, with that and nothing else. A change of a worker notes for each such rules whether it was
//! visible before and is after; from that it is told to them as what it is to them: a worker that came, changed,
//! or left.

use std::rc::Rc;

use crate::protocol::{Bin, Text, WorkerEntry, WorkerKey};

use super::changelog::Item;
use super::entry::encoded;
use super::part::Op;
use super::rights::Rules;

/// The rules by which the workers of a namespace are seen, where that is not everything.
#[derive(Debug, Clone)]
pub(super) struct Onlookers(Rc<[Rc<Rules>]>);

impl Default for Onlookers {
    fn default() -> Self {
        Self(Rc::new([]))
    }
}

impl Onlookers {
    pub(super) fn new(rules: Vec<Rc<Rules>>) -> Self {
        Self(rules.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn index(&self, rules: &Rc<Rules>) -> Option<usize> {
        index_of(&self.0, rules)
    }

    /// How many of these functions each may see.
    pub(super) fn count<'a>(&self, names: impl Iterator<Item = &'a Rc<str>>) -> Tally {
        let mut tally = self.nothing();
        if !self.is_empty() {
            names.for_each(|name| self.add(&mut tally, name));
        }
        tally
    }

    /// Counts for nothing at all.
    pub(super) fn nothing(&self) -> Tally {
        Tally(self.0.iter().map(|_| 0).collect())
    }

    /// The counts of other onlookers as far as they are the same; 0 for those that are new.
    pub(super) fn adopt(&self, tally: &Tally, of: &Self) -> Tally {
        let count = |rules| of.index(rules).map_or(0, |index| tally.0[index]);
        Tally(self.0.iter().map(count).collect())
    }

    pub(super) fn add(&self, tally: &mut Tally, name: &str) {
        for (rules, count) in self.0.iter().zip(&mut tally.0) {
            *count += u32::from(rules.allows(name));
        }
    }

    pub(super) fn take(&self, tally: &mut Tally, name: &str) {
        for (rules, count) in self.0.iter().zip(&mut tally.0) {
            *count -= u32::from(rules.allows(name));
        }
    }

    /// What a change is to each. None, if everybody sees everything.
    pub(super) fn sight(
        &self,
        before: &Tally,
        after: &Tally,
        metadata: Option<&Rc<[u8]>>,
    ) -> Option<Rc<Sight>> {
        if self.is_empty() {
            return None;
        }
        let shifts = before.0.iter().zip(&after.0);
        Some(Rc::new(Sight {
            rules: self.0.clone(),
            shifts: shifts
                .map(|(&before, &after)| (before > 0, after > 0))
                .collect(),
            metadata: metadata.cloned(),
        }))
    }
}

fn index_of(all: &[Rc<Rules>], rules: &Rc<Rules>) -> Option<usize> {
    all.iter()
        .position(|it| Rc::ptr_eq(it, rules) || it == rules)
}

/// For each of the onlookers, how many functions of one worker it may see.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Box<[u32]>);

/// What a change of a worker is to those who may not see everything.
#[derive(Debug)]
pub(super) struct Sight {
    rules: Rc<[Rc<Rules>]>,
    /// For each: the worker was visible before, and is after.
    shifts: Box<[(bool, bool)]>,
    /// The worker's, for those to whom it is new.
    metadata: Option<Rc<[u8]>>,
}

impl Sight {
    /// Bytes that the log holds for it.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.shifts.len() * size_of::<(bool, bool)>()
    }
}

/// How a change of a worker looks by these rules; none, if there is nothing to see.
pub(super) fn look(item: &Item, rules: &Rc<Rules>) -> Option<(Op, Rc<[u8]>)> {
    let sight = item.sight.as_deref()?;
    let (before, after) = sight.shifts[index_of(&sight.rules, rules)?];
    if !after {
        return before.then(|| match item.op {
            Op::Removed => (Op::Removed, item.body.clone()),
            _ => (Op::Removed, key_of(item)),
        });
    }
    let entry = rmp_serde::from_slice::<WorkerEntry<'_>>(&item.body).ok()?;
    let seen = |names: &[Text<'_>]| names.iter().any(|name| rules.allows(name.0));
    let is_told = !entry.metadata.is_empty() || seen(&entry.added) || seen(&entry.removed);
    let (op, metadata) = match (before, item.op) {
        (false, _) => (
            Op::Added,
            Bin(sight.metadata.as_deref().unwrap_or_default()),
        ),
        (true, op) if is_told => (op, entry.metadata),
        (true, _) => return None,
    };
    Some((op, entry_of(&entry, op, metadata, rules)))
}

/// The entry with what of it may be seen.
fn entry_of(entry: &WorkerEntry<'_>, op: Op, metadata: Bin<'_>, rules: &Rules) -> Rc<[u8]> {
    let visible = |names: &[Text<'_>]| -> Vec<String> {
        let visible = names.iter().filter(|name| rules.allows(name.0));
        visible.map(|name| name.0.to_owned()).collect()
    };
    let (added, removed) = (visible(&entry.added), visible(&entry.removed));
    encoded(&WorkerEntry {
        id: entry.id,
        name: Text(&entry.name),
        metadata: Bin(&metadata),
        added: added.iter().map(|name| Text(name)).collect(),
        // Who is new has had nothing before.
        removed: match op {
            Op::Updated => removed.iter().map(|name| Text(name)).collect(),
            _ => Vec::new(),
        },
    })
}

fn key_of(item: &Item) -> Rc<[u8]> {
    encoded(&WorkerKey {
        id: item.worker,
        name: Text(&item.key),
    })
}
