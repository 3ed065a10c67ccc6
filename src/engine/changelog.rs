//! The change log of a namespace: one entry per revision, the changed items encoded once and shared. A
//! ring bounded in bytes. From it the frames of any audience are put together for any reader who is
//! not too far behind, so that a reader is a position and not a queue. Never knows who reads.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::audience::{Cover, Encoded, Reader};
use super::chance::Keyed;
use super::outbox::Position;
use super::part::{Op, PART_BYTES, Part, Section, single};
use super::sight::{Sight, look};

/// Steps that one look into the log may take. Bounds a turn's work for a reader far behind.
const STEPS_AT_ONCE: usize = 4096;

/// What an item costs beside its bytes.
const ITEM_OVERHEAD: usize = size_of::<Item>() + 16;

/// One change of one entry.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) section: Section,
    /// What prefixes are matched with: the function's name, the worker's, or a binding's key, which
    /// begins with the event's.
    pub(super) key: Rc<str>,
    /// The worker, in its section; names are not unique there.
    pub(super) worker: u64,
    pub(super) op: Op,
    /// The entry as it stands in a frame.
    pub(super) body: Rc<[u8]>,
    /// What it is to those who may not see all of a worker; in its section, and if there are any.
    pub(super) sight: Option<Rc<Sight>>,
}

/// One change as somebody sees it.
#[derive(Debug)]
struct Seen<'a> {
    section: Section,
    key: &'a str,
    worker: u64,
    op: Op,
    body: Rc<[u8]>,
}

impl<'a> Seen<'a> {
    /// Nothing, if there is nothing in it that the cover lets through.
    fn by(cover: &Cover, item: &'a Item) -> Option<Self> {
        if !cover.shows(item.section, &item.key) {
            return None;
        }
        let (op, body) = match cover.sight() {
            Some(rules) if item.section == Section::Workers => look(item, rules)?,
            _ => (item.op, item.body.clone()),
        };
        Some(Self {
            section: item.section,
            key: &item.key,
            worker: item.worker,
            op,
            body,
        })
    }
}

/// All that changed with one revision: per section in the order of keys.
#[derive(Debug)]
struct Step {
    items: Vec<Item>,
    bytes: usize,
}

impl Step {
    fn section(&self, section: Section) -> &[Item] {
        let end = |section| self.items.partition_point(|item| item.section <= section);
        let begin = self.items.partition_point(|item| item.section < section);
        &self.items[begin..end(section)]
    }

    /// The items that a cover lets through. O(prefixes × log items + found).
    fn covered<'a>(&'a self, cover: &'a Cover) -> impl Iterator<Item = Seen<'a>> {
        Section::ALL.into_iter().flat_map(move |section| {
            let items = self.section(section);
            cover.prefixes(section).iter().flat_map(move |prefix| {
                let begin = items.partition_point(|item| *item.key < **prefix);
                items[begin..]
                    .iter()
                    .take_while(move |item| item.key.starts_with(&**prefix))
                    .filter_map(|item| Seen::by(cover, item))
            })
        })
    }
}

/// The log.
#[derive(Debug)]
pub(super) struct ChangeLog {
    steps: VecDeque<Step>,
    /// The revision of the last step; steps are numbered without gaps.
    revision: u64,
    bytes: usize,
    limit: usize,
    /// Those of the maps that a fold needs for a moment.
    keys: Keyed,
}

impl ChangeLog {
    pub(super) fn new(limit: usize, keys: Keyed) -> Self {
        Self {
            steps: VecDeque::new(),
            revision: 0,
            bytes: 0,
            limit,
            keys,
        }
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Bytes held, bookkeeping included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a reader at `revision` can be brought up to date from here.
    pub(super) fn reaches(&self, revision: u64) -> bool {
        revision <= self.revision && self.revision - revision <= self.steps.len() as u64
    }

    /// Seals `items` as the next revision. The newest step is kept even when it alone is over the limit:
    /// everyone is still to hear of it.
    pub(super) fn push(&mut self, items: &mut Vec<Item>) -> u64 {
        items.sort_by(|a, b| (a.section, &a.key, a.worker).cmp(&(b.section, &b.key, b.worker)));
        // A copy of its own size: shrinking in place would leave a hole behind each step that the next
        // one's list does not fit into, and a log of small steps would weigh nearly twice its bytes.
        let mut kept = Vec::with_capacity(items.len());
        kept.append(items);
        let items = kept;
        let bytes = items
            .iter()
            .map(|item| {
                let sight = item.sight.as_ref().map_or(0, |sight| sight.bytes());
                item.body.len() + item.key.len() + sight + ITEM_OVERHEAD
            })
            .sum();
        self.revision += 1;
        self.bytes += bytes;
        self.steps.push_back(Step { items, bytes });
        while self.bytes > self.limit && self.steps.len() > 1 {
            self.bytes -= self.steps.pop_front().map_or(0, |step| step.bytes);
        }
        self.revision
    }

    /// Whether the newest step has something for this cover.
    pub(super) fn newest_concerns(&self, cover: &Cover) -> bool {
        self.steps
            .back()
            .is_some_and(|step| step.covered(cover).next().is_some())
    }

    /// What leads a reader further, put together for `cover`. With `to`, exactly to that revision
    /// (the same bytes as the first time); otherwise as far as one look reaches. `from` is what the
    /// frames call their beginning.
    pub(super) fn encode(
        &self,
        cover: &Cover,
        position: &Position,
        from: u64,
        to: Option<u64>,
    ) -> Encoded {
        let at = position.at;
        let begin = self.steps.len() - (self.revision - at) as usize;
        if to.unwrap_or(self.revision) == at + 1 {
            // The common case: one step, whose items are its net effect already.
            let to = at + 1;
            let items: Vec<_> = self.steps[begin].covered(cover).collect();
            let first = if items.is_empty() { to + 1 } else { to };
            let parts = if items.is_empty() {
                Vec::new()
            } else {
                parts(&items, from, to)
            };
            return Encoded {
                from,
                first,
                to,
                folded: None,
                parts,
            };
        }
        let mut fold = Fold::new(position.reader, self.keys);
        let (mut first, mut last, mut looked_at) = (None, at, at);
        for (index, step) in self.steps.range(begin..).enumerate() {
            if to.map_or(index >= STEPS_AT_ONCE || fold.bytes >= PART_BYTES, |to| {
                looked_at >= to
            }) {
                break;
            }
            looked_at += 1;
            let before = fold.seen;
            step.covered(cover).for_each(|item| fold.add(item));
            if fold.seen > before {
                first.get_or_insert(looked_at);
                last = looked_at;
            }
        }
        // Nothing of what was looked at concerns this reader: it stands at the end of the look.
        let Some(first) = first else {
            let (first, to) = (looked_at + 1, looked_at);
            return Encoded {
                from,
                first,
                to,
                folded: None,
                parts: Vec::new(),
            };
        };
        let to = to.unwrap_or(last);
        let folded = (first < to).then_some(position.reader);
        Encoded {
            from,
            first,
            to,
            folded,
            parts: parts(&fold.finish(), from, to),
        }
    }
}

/// Cuts items into frames. Never empty, so that a fold to nothing still moves the reader on.
fn parts(items: &[Seen<'_>], from: u64, to: u64) -> Vec<Rc<[u8]>> {
    if let [item] = items {
        let frame = single(item.section, item.op, &item.body, from, to);
        return vec![frame];
    }
    let mut sorted: Vec<&Seen<'_>> = items.iter().collect();
    sorted.sort_by_key(|item| (item.section, item.op));
    let (mut parts, mut part) = (Vec::new(), Part::default());
    for item in sorted {
        if part.overflows(&item.body) {
            parts.push(std::mem::take(&mut part).changes(from, to, true));
        }
        part.push(item.section, item.op, item.body.clone());
    }
    parts.push(part.changes(from, to, false));
    parts
}

/// The net effect of several steps, entry by entry.
#[derive(Debug)]
struct Fold<'a> {
    reader: Reader,
    entries: Vec<Net<'a>>,
    /// Where an entry stands in `entries`.
    index: HashMap<(Section, &'a str, u64), usize, Keyed>,
    seen: usize,
    bytes: usize,
}

/// What happened to one entry since the reader's revision.
#[derive(Debug)]
struct Net<'a> {
    /// The reader has the entry.
    existed: bool,
    /// The last removal, if there was one.
    removed: Option<Seen<'a>>,
    /// What came after it.
    after: Vec<Seen<'a>>,
}

impl<'a> Fold<'a> {
    fn new(reader: Reader, keys: Keyed) -> Self {
        Self {
            reader,
            entries: Vec::new(),
            index: HashMap::with_hasher(keys),
            seen: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, item: Seen<'a>) {
        self.seen += 1;
        let key = (item.section, item.key, item.worker);
        let index = *self.index.entry(key).or_insert_with(|| {
            let existed = item.op != Op::Added;
            self.entries.push(Net {
                existed,
                removed: None,
                after: Vec::new(),
            });
            self.entries.len() - 1
        });
        let net = &mut self.entries[index];
        let dropped: usize = match (item.op, item.section) {
            // A function's or a binding's entry is complete in itself; the newest says all.
            (Op::Removed, _) | (_, Section::Functions | Section::Bindings) => {
                net.after.drain(..).map(|item| item.body.len()).sum()
            }
            // A worker's says what changed; all that came since it joined is needed.
            (_, Section::Workers) => 0,
        };
        self.bytes = self.bytes + item.body.len() - dropped;
        if item.op == Op::Removed {
            net.removed = Some(item);
        } else {
            net.after.push(item);
        }
    }

    fn finish(self) -> Vec<Seen<'a>> {
        let mut out = Vec::with_capacity(self.entries.len());
        for net in self.entries {
            // A fuzzy reader may have an entry that came after its snapshot began.
            let may_have = net.existed || self.reader == Reader::Fuzzy;
            let removed = net.removed.filter(|_| may_have);
            let mut after = net.after.into_iter();
            let Some(head) = after.next() else {
                // Came and went: an exact reader never knew. Otherwise: gone.
                out.extend(removed);
                continue;
            };
            if head.section == Section::Workers {
                out.extend(removed);
                out.push(head);
                out.extend(after);
            } else {
                let op = if net.existed { Op::Updated } else { Op::Added };
                out.push(Seen { op, ..head });
            }
        }
        out
    }
}
