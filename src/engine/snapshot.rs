//! Snapshots of a board, in chunks that joiners share. A chunk shows the board as it is when the chunk is
//! made, so the chunks of one snapshot are of different revisions; the changes since the snapshot's
//! beginning, replayed over them as upserts and removals, give exactly the board of now. So a joiner is
//! a revision and a cursor, and pins no memory however slowly it reads.
//!
//! Why that is right: take any name. If it changed after the snapshot began, the last such change is
//! replayed after all chunks and says what holds. If it did not change, it had one slot all the time,
//! and the chunk that covered the slot says what holds.

use std::rc::Rc;

use super::audience::Cover;
use super::board::{Board, Name};
use super::part::{Op, Part, Section};
use super::roster::{Mark, Roster};

/// Slots of the board in one page. A change to one of them costs the next joiner one page's encoding.
const PAGE_SLOTS: usize = 256;

/// How far a snapshot has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    /// All functions, in the order of slots: the next slot.
    Slots(usize),
    /// Functions under the cover's prefixes, in the order of names: the last name sent.
    Names(Option<Name>),
    /// Workers, in the order of ids.
    Workers(Mark),
    /// Bindings, in the order of keys: the last key sent.
    Bindings(Option<Name>),
    /// All is sent.
    End,
}

impl Cursor {
    pub(super) fn begin(cover: &Cover) -> Self {
        if cover.is_all_functions() {
            Self::Slots(0)
        } else {
            Self::Names(None)
        }
    }
}

/// A page: its slots' entries as frames, each with the slot at which it begins.
type Page = Vec<(usize, usize, Rc<[u8]>)>;

/// The encoded pages of a board. A page is encoded once until one of its entries changes.
#[derive(Debug, Default)]
pub(super) struct Pages {
    by_number: Vec<Option<Page>>,
    /// How many pages were ever encoded.
    pub(super) encoded: u64,
    bytes: usize,
}

impl Pages {
    /// An entry changed.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(page) = self
            .by_number
            .get_mut(slot / PAGE_SLOTS)
            .and_then(Option::take)
        {
            self.bytes -= page.iter().map(|(_, _, frame)| frame.len()).sum::<usize>();
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next chunk behind `cursor`, and where that leaves it. `None` for a step that has nothing to
    /// send.
    pub(super) fn next(
        &mut self,
        cursor: &Cursor,
        cover: &Cover,
        board: &Board,
        roster: &Roster,
        bindings: &Board,
    ) -> (Option<Rc<[u8]>>, Cursor) {
        match cursor {
            Cursor::Slots(slot) => match self.chunk_of_slots(*slot, board) {
                Some((frame, next)) => (Some(frame), Cursor::Slots(next)),
                None => (None, Cursor::Workers(Mark::default())),
            },
            Cursor::Names(after) => match chunk_of_names(after.as_ref(), cover, board) {
                Some((frame, last)) => (Some(frame), Cursor::Names(Some(last))),
                None => (None, Cursor::Workers(Mark::default())),
            },
            Cursor::Workers(mark) => match chunk_of_workers(mark, cover, roster) {
                Some((frame, mark)) => (Some(frame), Cursor::Workers(mark)),
                None => (None, Cursor::Bindings(None)),
            },
            Cursor::Bindings(after) => match chunk_of_names(after.as_ref(), cover, bindings) {
                Some((frame, last)) => (Some(frame), Cursor::Bindings(Some(last))),
                None => (None, Cursor::End),
            },
            Cursor::End => (None, Cursor::End),
        }
    }

    fn chunk_of_slots(&mut self, mut slot: usize, board: &Board) -> Option<(Rc<[u8]>, usize)> {
        while slot < board.slots() {
            let number = slot / PAGE_SLOTS;
            if self.by_number.len() <= number {
                self.by_number.resize_with(number + 1, || None);
            }
            let page = self.by_number[number].get_or_insert_with(|| {
                let begin = number * PAGE_SLOTS;
                let page = encode_slots(begin, begin + PAGE_SLOTS, board);
                self.encoded += 1;
                self.bytes += page.iter().map(|(_, _, frame)| frame.len()).sum::<usize>();
                page
            });
            // A frame that begins behind `slot` will do if what lies between is empty. Otherwise the page
            // was cut differently when the frame before this one was sent: cut it anew from here.
            let shared = page.iter().find(|(begin, ..)| *begin >= slot);
            let shared = shared
                .filter(|(begin, ..)| (slot..*begin).all(|between| board.entry(between).is_none()));
            let page_end = (number + 1) * PAGE_SLOTS;
            let chunk = match shared {
                Some((_, end, frame)) => Some((frame.clone(), *end)),
                None => encode_slots(slot, page_end, board)
                    .into_iter()
                    .next()
                    .map(|(_, end, frame)| (frame, end)),
            };
            if chunk.is_some() {
                return chunk;
            }
            slot = page_end;
        }
        None
    }
}

/// The entries of some slots as frames.
fn encode_slots(begin: usize, end: usize, board: &Board) -> Page {
    let (mut page, mut part, mut part_begin) = (Page::new(), Part::default(), begin);
    for slot in begin..end.min(board.slots()) {
        let Some(entry) = board.entry(slot) else {
            continue;
        };
        if part.overflows(entry) {
            page.push((part_begin, slot, std::mem::take(&mut part).snapshot()));
        }
        if part.is_empty() {
            part_begin = slot;
        }
        part.push(Section::Functions, Op::Added, entry.clone());
    }
    if !part.is_empty() {
        page.push((part_begin, end, part.snapshot()));
    }
    page
}

/// One frame of entries under the cover's prefixes, and the last name in it.
fn chunk_of_names(after: Option<&Name>, cover: &Cover, board: &Board) -> Option<(Rc<[u8]>, Name)> {
    let (mut part, mut last) = (Part::default(), None);
    'full: for prefix in cover.prefixes(board.section()) {
        for (name, entry) in board.under(prefix, after.map(|after| &**after)) {
            if !cover.shows(board.section(), name) {
                continue;
            }
            if part.overflows(entry) {
                break 'full;
            }
            part.push(board.section(), Op::Added, entry.clone());
            last = Some(name.clone());
        }
    }
    last.map(|last| (part.snapshot(), last))
}

/// One frame of workers that the cover lets through, and how far it got.
fn chunk_of_workers(after: &Mark, cover: &Cover, roster: &Roster) -> Option<(Rc<[u8]>, Mark)> {
    if cover.prefixes(Section::Workers).is_empty() {
        return None;
    }
    let (mut part, mut last) = (Part::default(), None);
    let covers = |name: &str| cover.covers(Section::Workers, name);
    roster.entries_after(after, covers, cover.sight(), |mark, entry| {
        if part.overflows(&entry) {
            return false;
        }
        part.push(Section::Workers, Op::Added, entry);
        last = Some(mark);
        true
    });
    last.map(|last| (part.snapshot(), last))
}
