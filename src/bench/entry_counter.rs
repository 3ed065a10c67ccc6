//! Counts the entries in frames of the board, and which of them are the bench's own. All watchers receive a change
//! as the same bytes, so known frames are recognised by their bytes and only new ones are decoded: measuring must
//! cost less than the engine.

use std::collections::HashMap;

use super::error::BenchError;
use crate::protocol::{Changes, Message, Sections};

/// The most bytes of known frames: all pages of a large board, or what watchers at different revisions receive.
const KNOWN_BYTES: usize = 64 << 20;

/// Length of a frame's beginning that, with its length, is the key: it contains revisions and the first name.
const KEY_BYTES: usize = 64;

/// Counts entries, and remembers known frames.
#[derive(Debug)]
pub(super) struct EntryCounter {
    /// Prefix of the bench's own names.
    group: String,
    known: HashMap<(usize, Vec<u8>), (Vec<u8>, Counted)>,
    known_bytes: usize,
}

/// The entries in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counted {
    /// Entries of the group: functions added, updated or removed.
    pub(super) own: u64,
    /// Other entries.
    pub(super) foreign: u64,
    /// The reader's revision after the frame; 0 for a part of a snapshot.
    pub(super) revision: u64,
}

impl EntryCounter {
    pub(super) fn new(group: String) -> Self {
        Self {
            group,
            known: HashMap::new(),
            known_bytes: 0,
        }
    }

    /// Counts the entries of CHANGES or SNAPSHOT; other frames have none.
    pub(super) fn count(&mut self, body: &[u8]) -> Result<Counted, BenchError> {
        let key = (body.len(), body[..KEY_BYTES.min(body.len())].to_vec());
        let known = self.known.get(&key).filter(|(bytes, _)| bytes == body);
        if let Some((_, counted)) = known {
            return Ok(*counted);
        }
        let message =
            Message::decode(body).map_err(|error| BenchError::NotAnEngine(error.to_string()))?;
        let counted = match &message {
            Message::Changes(Changes {
                to, more, sections, ..
            }) => Counted {
                // The parts of a step take effect with its last.
                revision: if *more { 0 } else { *to },
                ..self.entries(sections)
            },
            Message::Snapshot(snapshot) => self.entries(&snapshot.sections),
            _ => return Ok(Counted::default()),
        };
        if self.known_bytes + body.len() > KNOWN_BYTES {
            self.known.clear();
            self.known_bytes = 0;
        }
        self.known_bytes += body.len();
        self.known.insert(key, (body.to_vec(), counted));
        Ok(counted)
    }

    fn entries(&self, sections: &Sections<'_>) -> Counted {
        let functions = &sections.functions;
        let definitions = functions.added.iter().chain(&functions.updated);
        let names = definitions.map(|it| it.name.0);
        let names = names.chain(functions.removed.iter().map(|it| it.0));
        let mut counted = Counted::default();
        for name in names {
            if name.starts_with(&self.group) {
                counted.own += 1;
            } else {
                counted.foreign += 1;
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Definition, FunctionSection, HEADER_LEN, Snapshot, Text};

    fn definition(name: &str) -> Definition<'_> {
        Definition {
            name: Text(name),
            ..Definition::default()
        }
    }

    #[test]
    fn what_came_changed_and_went_counts_whoever_is_told_again() {
        let sections = Sections {
            functions: FunctionSection {
                removed: vec![Text("mine::a"), Text("other")],
                added: vec![definition("mine::b"), definition("mine::c")],
                updated: vec![definition("mine::d")],
            },
            ..Sections::default()
        };
        let mut changes = Changes {
            from: 3,
            to: 4,
            more: false,
            sections: sections.clone(),
            ..Changes::default()
        };
        let mut entry_counter = EntryCounter::new("mine::".to_owned());
        let mut count = |frame: Vec<u8>| entry_counter.count(&frame[HEADER_LEN..]).unwrap();
        for _ in 0..3 {
            let counted = count(changes.to_frame());
            assert_eq!((counted.own, counted.foreign, counted.revision), (4, 1, 4));
        }
        changes.more = true;
        assert_eq!(count(changes.to_frame()).revision, 0);
        let snapshot = Snapshot {
            sections,
            ..Snapshot::default()
        };
        assert_eq!(count(snapshot.to_frame()).own, 4);
        // Frames with the same beginning are distinguished.
        let long = "x".repeat(200);
        for (name, own) in [("mine::x", 5), ("yours::", 4)] {
            changes.sections.functions.updated = vec![definition("mine::d"), definition(&long)];
            changes.sections.functions.updated.push(definition(name));
            assert_eq!(count(changes.to_frame()).own, own, "{name}");
        }
    }
}
