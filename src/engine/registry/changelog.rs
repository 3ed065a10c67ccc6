//! The change log of a namespace: one step per revision, each change encoded once and shared. A ring bounded in bytes.
//! The frames for any audience and any reader that is not too far behind are built from it, so a reader is a position
//! and not a queue. Knows no readers.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::engine::memory::{Charge, Usage};
use crate::engine::rng::HashKeys;

use super::change::{Change, ChangeKind, Section};
use super::encoded_change::EncodedChange;
use super::filter::WatchFilter;
use super::frame_builder::{FRAME_BYTES, FrameBuilder, single_change};
use super::position::{Position, Reader};

/// Steps that one encoding scans at most. Bounds the work of one turn for a reader far behind.
const STEPS_PER_SCAN: usize = 4096;

/// Bytes of a change beside its name and entry.
const CHANGE_OVERHEAD: usize = size_of::<Change>() + 16;

/// A change as readers with one filter see it.
#[derive(Debug)]
struct VisibleChange<'a> {
    section: Section,
    key: &'a str,
    worker: u64,
    kind: ChangeKind,
    body: Rc<[u8]>,
}

impl<'a> VisibleChange<'a> {
    /// The part of a change that the filter passes, if any.
    fn through(filter: &WatchFilter, change: &'a Change) -> Option<Self> {
        if !filter.allows(change.section, &change.key) {
            return None;
        }
        let (kind, body) = match filter.rules() {
            Some(rules) if change.section == Section::Workers => change.as_seen_with(rules)?,
            _ => (change.kind, change.body.clone()),
        };
        Some(Self {
            section: change.section,
            key: &change.key,
            worker: change.worker,
            kind,
            body,
        })
    }
}

/// The changes of one revision, by section and key.
#[derive(Debug)]
struct Step {
    changes: Vec<Change>,
    bytes: usize,
}

impl Step {
    fn section(&self, section: Section) -> &[Change] {
        let end = |section| self.changes.partition_point(|it| it.section <= section);
        let begin = self.changes.partition_point(|it| it.section < section);
        &self.changes[begin..end(section)]
    }

    /// The changes that a filter passes. O(prefixes × log changes + found).
    fn visible_through<'a>(
        &'a self,
        filter: &'a WatchFilter,
    ) -> impl Iterator<Item = VisibleChange<'a>> {
        Section::ALL.into_iter().flat_map(move |section| {
            let changes = self.section(section);
            filter.prefixes(section).iter().flat_map(move |prefix| {
                let begin = changes.partition_point(|it| *it.key < **prefix);
                changes[begin..]
                    .iter()
                    .take_while(move |it| it.key.starts_with(&**prefix))
                    .filter_map(|it| VisibleChange::through(filter, it))
            })
        })
    }
}

/// The last steps of a namespace.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    steps: VecDeque<Step>,
    /// The revision of the last step; steps are numbered without gaps.
    revision: u64,
    limit: usize,
    /// Its bytes, bookkeeping included, among those of all logs.
    charge: Charge,
    /// Hash keys of the maps that folds build.
    keys: HashKeys,
}

impl ChangeLog {
    pub(super) fn new(limit: usize, keys: HashKeys, usage: &Usage) -> Self {
        Self {
            steps: VecDeque::new(),
            revision: 0,
            limit,
            charge: usage.charge(0),
            keys,
        }
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Bytes held, bookkeeping included.
    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Whether a reader at `revision` can be brought up to date from here.
    pub(crate) fn reaches(&self, revision: u64) -> bool {
        revision <= self.revision && self.revision - revision <= self.steps.len() as u64
    }

    /// Appends `changes` as the next revision. The newest step is kept even if it alone exceeds the limit, since no
    /// reader has it yet.
    pub(super) fn push(&mut self, changes: &mut Vec<Change>) -> u64 {
        changes.sort_by(|a, b| (a.section, &a.key, a.worker).cmp(&(b.section, &b.key, b.worker)));
        // A copy of exact size: shrinking in place would leave holes that the next list does not fit into, and a log
        // of small steps would take nearly twice its bytes.
        let mut exact = Vec::with_capacity(changes.len());
        exact.append(changes);
        let changes = exact;
        let bytes = bytes_of(&changes);
        self.revision += 1;
        self.charge.add(bytes);
        self.steps.push_back(Step { changes, bytes });
        self.trim(self.limit, 1);
        self.revision
    }

    /// Drops the oldest steps while the log holds more than `limit` bytes and more than `least` steps.
    pub(super) fn trim(&mut self, limit: usize, least: usize) {
        while self.bytes() > limit && self.steps.len() > least {
            let oldest = self.steps.pop_front();
            self.charge.remove(oldest.map_or(0, |step| step.bytes));
        }
    }

    /// The number of changes of the newest step that this filter passes, or `most` if there are more.
    pub(super) fn newest_for(&self, filter: &WatchFilter, most: usize) -> usize {
        let newest = self.steps.back();
        newest.map_or(0, |step| step.visible_through(filter).take(most).count())
    }

    /// The frames that lead a reader further. With `to`, exactly to that revision (the same bytes as the first time);
    /// otherwise as far as one scan reaches. `from` is the beginning that the frames name.
    pub(super) fn encode(
        &self,
        filter: &WatchFilter,
        position: &Position,
        from: u64,
        to: Option<u64>,
    ) -> (EncodedChange, usize) {
        let at = position.at;
        let begin = self.steps.len() - (self.revision - at) as usize;
        let steps = to.map_or(STEPS_PER_SCAN, |to| (to - at) as usize);
        let mut steps = self.steps.range(begin..).take(steps);
        let mut scanned = at;
        let mut changes = Vec::new();
        while changes.is_empty()
            && let Some(step) = steps.next()
        {
            scanned += 1;
            changes.extend(step.visible_through(filter));
        }
        let first = scanned;
        if changes.is_empty() {
            // Nothing that was scanned concerns this reader: it moves to the end of the scan.
            let encoded = EncodedChange {
                from,
                first: scanned + 1,
                to: scanned,
                folded: None,
                parts: Vec::new(),
            };
            return (encoded, (scanned - at) as usize);
        }
        let bytes: usize = changes.iter().map(|it| it.body.len()).sum();
        if first == to.unwrap_or(self.revision) || to.is_none() && bytes >= FRAME_BYTES {
            // The common case: one step, which is its own net effect.
            let found = changes.len();
            let encoded = EncodedChange {
                from,
                first,
                to: first,
                folded: None,
                parts: encode_parts(&changes, from, first),
            };
            return (encoded, found);
        }
        let mut fold = Fold::new(position.reader, self.keys);
        for change in changes {
            fold.add(change);
        }
        let mut last = first;
        for step in steps {
            if to.is_none() && fold.bytes >= FRAME_BYTES {
                break;
            }
            scanned += 1;
            let before = fold.seen;
            for change in step.visible_through(filter) {
                fold.add(change);
            }
            if fold.seen > before {
                last = scanned;
            }
        }
        let to = to.unwrap_or(last);
        let folded = (first < to).then_some(position.reader);
        let found = fold.seen;
        let encoded = EncodedChange {
            from,
            first,
            to,
            folded,
            parts: encode_parts(&fold.finish(), from, to),
        };
        (encoded, found)
    }
}

#[cfg(debug_assertions)]
impl ChangeLog {
    pub(super) fn check_books(&self) {
        let Self {
            steps,
            revision,
            limit,
            charge,
            keys: _,
        } = self;
        for step in steps {
            assert_eq!(step.bytes, bytes_of(&step.changes), "bytes of a step");
        }
        let sum: usize = steps.iter().map(|step| step.bytes).sum();
        assert_eq!(charge.bytes(), sum, "bytes of the log");
        assert!(sum <= *limit || steps.len() == 1, "{sum} bytes in the log");
        assert!(steps.len() as u64 <= *revision);
    }
}

/// Bytes that the log accounts for these changes.
fn bytes_of(changes: &[Change]) -> usize {
    let bytes = changes.iter().map(|it| {
        let visibility = it.visibility.as_ref().map_or(0, |it| it.bytes());
        it.body.len() + it.key.len() + visibility + CHANGE_OVERHEAD
    });
    bytes.sum()
}

/// Splits changes into frames. Never empty: a fold whose net effect is empty still moves the reader on.
fn encode_parts(changes: &[VisibleChange<'_>], from: u64, to: u64) -> Vec<Rc<[u8]>> {
    if let [only] = changes {
        let frame = single_change(only.section, only.kind, &only.body, from, to);
        return vec![frame];
    }
    let mut sorted: Vec<&VisibleChange<'_>> = changes.iter().collect();
    sorted.sort_by_key(|it| (it.section, it.kind));
    let (mut parts, mut frame) = (Vec::new(), FrameBuilder::default());
    for change in sorted {
        if frame.overflows(&change.body) {
            parts.push(std::mem::take(&mut frame).changes(from, to, true));
        }
        frame.push(change.section, change.kind, change.body.clone());
    }
    parts.push(frame.changes(from, to, false));
    parts
}

/// The net effect of several steps, entry by entry.
#[derive(Debug)]
struct Fold<'a> {
    reader: Reader,
    entries: Vec<NetChange<'a>>,
    /// The index of an entry in `entries`.
    index: HashMap<(Section, &'a str, u64), usize, HashKeys>,
    /// Changes added.
    seen: usize,
    bytes: usize,
}

/// The net effect on one entry since the reader's revision.
#[derive(Debug)]
struct NetChange<'a> {
    /// The reader has the entry.
    existed: bool,
    /// The last removal, if there was one.
    removed: Option<VisibleChange<'a>>,
    /// The changes after it.
    after: Vec<VisibleChange<'a>>,
}

impl<'a> Fold<'a> {
    fn new(reader: Reader, keys: HashKeys) -> Self {
        Self {
            reader,
            entries: Vec::new(),
            index: HashMap::with_hasher(keys),
            seen: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, change: VisibleChange<'a>) {
        self.seen += 1;
        let key = (change.section, change.key, change.worker);
        let index = *self.index.entry(key).or_insert_with(|| {
            let existed = change.kind != ChangeKind::Added;
            self.entries.push(NetChange {
                existed,
                removed: None,
                after: Vec::new(),
            });
            self.entries.len() - 1
        });
        let net = &mut self.entries[index];
        let dropped: usize = match (change.kind, change.section) {
            // The entry of a function or a binding is complete: the newest one suffices.
            (ChangeKind::Removed, _) | (_, Section::Functions | Section::Bindings) => {
                net.after.drain(..).map(|it| it.body.len()).sum()
            }
            // The entry of a worker is a difference: all of them since it joined are needed.
            (_, Section::Workers) => 0,
        };
        self.bytes = self.bytes + change.body.len() - dropped;
        if change.kind == ChangeKind::Removed {
            net.removed = Some(change);
        } else {
            net.after.push(change);
        }
    }

    fn finish(self) -> Vec<VisibleChange<'a>> {
        let mut out = Vec::with_capacity(self.entries.len());
        for net in self.entries {
            // A fuzzy reader may have an entry that came after its snapshot started.
            let may_have = net.existed || self.reader == Reader::Fuzzy;
            let removed = net.removed.filter(|_| may_have);
            let mut after = net.after.into_iter();
            let Some(head) = after.next() else {
                // It came and went, and an exact reader never had it; or it is gone.
                out.extend(removed);
                continue;
            };
            if head.section == Section::Workers {
                out.extend(removed);
                out.push(head);
                out.extend(after);
            } else {
                let kind = if net.existed {
                    ChangeKind::Updated
                } else {
                    ChangeKind::Added
                };
                out.push(VisibleChange { kind, ..head });
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;
    use crate::protocol::{Text, Watch};

    fn log(names: &[&str]) -> ChangeLog {
        let mut log = ChangeLog::new(1 << 20, Rng::new([7; 32]).hash_keys(), &Usage::default());
        for name in names {
            log.push(&mut vec![Change {
                section: Section::Functions,
                key: (*name).into(),
                worker: 0,
                kind: ChangeKind::Added,
                body: vec![0xc0].into(),
                visibility: None,
            }]);
        }
        log
    }

    #[test]
    fn steps_that_do_not_concern_a_reader_are_no_part_of_what_it_is_sent() {
        let filter = WatchFilter::new(Some(&Watch {
            functions: Some(vec![Text("mine::")]),
            ..Watch::default()
        }));
        let position = Position::new(0, Reader::Exact);
        let encoded = |names: &[&str]| {
            let (encoded, _) = log(names).encode(&filter, &position, 0, None);
            (
                encoded.first,
                encoded.to,
                encoded.folded,
                encoded.parts.len(),
            )
        };
        // One of four: it is sent as what it is.
        let one = encoded(&["other", "mine::f", "other", "other"]);
        assert_eq!(one, (2, 2, None, 1));
        let two = encoded(&["other", "mine::f", "other", "mine::g", "other"]);
        assert_eq!(two, (2, 4, Some(Reader::Exact), 1));
        // None: the reader moves to the end, and nothing is written.
        assert_eq!(encoded(&["other", "other", "other"]), (4, 3, None, 0));
    }

    #[test]
    fn the_newest_step_is_kept_however_large_it_is() {
        let mut log = log(&["first"]);
        log.limit = 1;
        for name in ["second", "third"] {
            let change = Change {
                section: Section::Functions,
                key: name.into(),
                worker: 0,
                kind: ChangeKind::Added,
                body: vec![0; 1000].into(),
                visibility: None,
            };
            let revision = log.push(&mut vec![change]);
            assert!(log.reaches(revision - 1) && !log.reaches(revision - 2));
        }
    }
}
