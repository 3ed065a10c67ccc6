//! A part: entries that were encoded before, gathered into one CHANGES or SNAPSHOT frame. Copies bytes
//! and writes the headers around them; never looks into an entry.

use std::rc::Rc;

use rmp::encode::{write_array_len, write_bool, write_map_len, write_str, write_uint};

use crate::protocol::{Changes, Snapshot, begin_frame, end_frame};

/// Bytes of entries after which a part is full. One entry more than fits never breaks `max_frame`:
/// entries are bounded well below (`--max-entry`).
pub(super) const PART_BYTES: usize = 64 * 1024;

/// A section of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Section {
    Functions,
    Workers,
    Bindings,
}

impl Section {
    /// In the order in which they stand in a frame.
    pub(super) const ALL: [Self; 3] = [Self::Functions, Self::Workers, Self::Bindings];
}

/// What happened to an entry. In the order in which a reader takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Removed,
    Added,
    Updated,
}

const SECTIONS: [&str; 3] = ["functions", "workers", "bindings"];
const OPS: [&str; 3] = ["removed", "added", "updated"];

/// Encoded entries, by section and operation.
#[derive(Debug, Default)]
pub(super) struct Part {
    entries: [[Vec<Rc<[u8]>>; OPS.len()]; SECTIONS.len()],
    bytes: usize,
}

impl Part {
    pub(super) fn push(&mut self, section: Section, op: Op, entry: Rc<[u8]>) {
        self.bytes += entry.len();
        self.entries[section as usize][op as usize].push(entry);
    }

    /// Whether `entry` would take the part over its size.
    pub(super) fn overflows(&self, entry: &[u8]) -> bool {
        self.bytes > 0 && self.bytes + entry.len() > PART_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// As a CHANGES frame.
    pub(super) fn changes(&self, from: u64, to: u64, more: bool) -> Rc<[u8]> {
        let mut out = Vec::with_capacity(self.bytes + CHANGES_ROOM);
        let mark = begin_changes(&mut out, from, to, more);
        self.sections(&mut out);
        end_frame(&mut out, mark);
        out.into()
    }

    /// As a SNAPSHOT frame.
    pub(super) fn snapshot(&self) -> Rc<[u8]> {
        let mut out = Vec::with_capacity(self.bytes + 64);
        let mark = begin_frame(&mut out);
        must(write_array_len(&mut out, 2));
        must(write_uint(&mut out, Snapshot::KIND));
        self.sections(&mut out);
        end_frame(&mut out, mark);
        out.into()
    }

    fn sections(&self, out: &mut Vec<u8>) {
        let present = |ops: &[Vec<Rc<[u8]>>]| ops.iter().filter(|list| !list.is_empty()).count();
        let sections = self
            .entries
            .iter()
            .filter(|ops| present(&ops[..]) > 0)
            .count();
        must(write_map_len(out, sections as u32));
        for (name, ops) in SECTIONS.iter().zip(&self.entries) {
            if present(ops) == 0 {
                continue;
            }
            must(write_str(out, name));
            must(write_map_len(out, present(ops) as u32));
            for (name, list) in OPS.iter().zip(ops).filter(|(_, list)| !list.is_empty()) {
                must(write_str(out, name));
                must(write_array_len(out, list.len() as u32));
                for entry in list {
                    out.extend_from_slice(entry);
                }
            }
        }
    }
}

/// Bytes of a CHANGES frame beside its entries, at most.
const CHANGES_ROOM: usize = 128;

fn begin_changes(out: &mut Vec<u8>, from: u64, to: u64, more: bool) -> usize {
    let mark = begin_frame(out);
    must(write_array_len(out, 5));
    must(write_uint(out, Changes::KIND));
    must(write_uint(out, from));
    must(write_uint(out, to));
    must(write_bool(out, more));
    mark
}

/// The CHANGES frame that a part makes of this entry alone. Most changes are one, and the first watcher waits for its
/// frame.
pub(super) fn single(section: Section, op: Op, entry: &[u8], from: u64, to: u64) -> Rc<[u8]> {
    let mut out = Vec::with_capacity(entry.len() + CHANGES_ROOM);
    let mark = begin_changes(&mut out, from, to, false);
    must(write_map_len(&mut out, 1));
    must(write_str(&mut out, SECTIONS[section as usize]));
    must(write_map_len(&mut out, 1));
    must(write_str(&mut out, OPS[op as usize]));
    must(write_array_len(&mut out, 1));
    out.extend_from_slice(entry);
    end_frame(&mut out, mark);
    out.into()
}

/// Writing to memory does not fail.
fn must<T, E: std::fmt::Debug>(written: Result<T, E>) {
    written.expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_alone_makes_the_frame_that_a_part_of_it_makes() {
        for section in Section::ALL {
            for op in [Op::Removed, Op::Added, Op::Updated] {
                let mut part = Part::default();
                part.push(section, op, [0xa1, b'f'].into());
                let frame = part.changes(7, 300, false);
                assert_eq!(single(section, op, &[0xa1, b'f'], 7, 300), frame);
            }
        }
    }
}
