//! Builds a CHANGES or SNAPSHOT frame from entries that are encoded already. Copies bytes and writes the headers around
//! them; never looks into an entry.

use std::rc::Rc;

use rmp::encode::{write_array_len, write_bool, write_map_len, write_str, write_uint};

use crate::protocol::{Changes, Snapshot, begin_frame, end_frame};

use super::change::{ChangeKind, Section};

/// Bytes of entries after which a frame is full. A single larger entry never exceeds `max_frame`: `--max-entry` is well
/// below it.
pub(super) const FRAME_BYTES: usize = 64 * 1024;

const SECTIONS: [&str; 3] = ["functions", "workers", "bindings"];
const KINDS: [&str; 3] = ["removed", "added", "updated"];

/// Encoded entries of one frame, by section and kind of change.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    entries: [[Vec<Rc<[u8]>>; KINDS.len()]; SECTIONS.len()],
    bytes: usize,
}

impl FrameBuilder {
    pub(super) fn push(&mut self, section: Section, kind: ChangeKind, entry: Rc<[u8]>) {
        self.bytes += entry.len();
        self.entries[section as usize][kind as usize].push(entry);
    }

    /// Whether `entry` would exceed the frame's size.
    pub(super) fn overflows(&self, entry: &[u8]) -> bool {
        self.bytes > 0 && self.bytes + entry.len() > FRAME_BYTES
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
        let present =
            |kinds: &[Vec<Rc<[u8]>>]| kinds.iter().filter(|list| !list.is_empty()).count();
        let sections = self
            .entries
            .iter()
            .filter(|kinds| present(&kinds[..]) > 0)
            .count();
        must(write_map_len(out, sections as u32));
        for (name, kinds) in SECTIONS.iter().zip(&self.entries) {
            if present(kinds) == 0 {
                continue;
            }
            must(write_str(out, name));
            must(write_map_len(out, present(kinds) as u32));
            for (name, list) in KINDS.iter().zip(kinds).filter(|(_, list)| !list.is_empty()) {
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

/// The CHANGES frame of one entry alone. Most changes are one entry, and the first watcher waits for this frame.
pub(super) fn single_change(
    section: Section,
    kind: ChangeKind,
    entry: &[u8],
    from: u64,
    to: u64,
) -> Rc<[u8]> {
    let mut out = Vec::with_capacity(entry.len() + CHANGES_ROOM);
    let mark = begin_changes(&mut out, from, to, false);
    must(write_map_len(&mut out, 1));
    must(write_str(&mut out, SECTIONS[section as usize]));
    must(write_map_len(&mut out, 1));
    must(write_str(&mut out, KINDS[kind as usize]));
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
    fn a_single_change_is_encoded_as_the_builder_would() {
        for section in Section::ALL {
            for kind in [ChangeKind::Removed, ChangeKind::Added, ChangeKind::Updated] {
                let mut builder = FrameBuilder::default();
                builder.push(section, kind, [0xa1, b'f'].into());
                let frame = builder.changes(7, 300, false);
                assert_eq!(single_change(section, kind, &[0xa1, b'f'], 7, 300), frame);
            }
        }
    }
}
