//! Snapshots of a board, in chunks that joining readers share. A chunk shows the board at the time when the chunk is
//! encoded, so the chunks of one snapshot are of different revisions. The changes since the start of the snapshot,
//! applied over them as upserts and removals, give exactly the current board. So a joining reader is a revision and a
//! cursor, and pins no memory however slowly it reads.
//!
//! Proof: take any name. If it changed after the start of the snapshot, the last such change is applied after all
//! chunks and determines the result. If it did not change, it kept its slot, and the chunk that covers the slot
//! determines the result.

use std::rc::Rc;

use crate::engine::memory::{Charge, Usage};

use super::board::Board;
use super::change::{ChangeKind, Section};
use super::entry::Name;
use super::filter::WatchFilter;
use super::frame_builder::FrameBuilder;
use super::position::{Cursor, WorkerMark};
use super::roster::Roster;

/// Slots of the board in one page. A change to one of them costs the next joiner one page's encoding.
const PAGE_SLOTS: usize = 256;

/// The entries of one page as frames, each with its first slot and the slot behind its last.
type Page = Vec<(usize, usize, Rc<[u8]>)>;

/// The encoded pages of a board. A page is encoded once until one of its entries changes.
#[derive(Debug)]
pub(crate) struct Pages {
    by_number: Vec<Option<Page>>,
    /// Pages encoded since the start.
    encoded: u64,
    /// Bytes of the frames, among those of all caches.
    charge: Charge,
}

impl Pages {
    pub(super) fn new(usage: &Usage) -> Self {
        Self {
            by_number: Vec::new(),
            encoded: 0,
            charge: usage.charge(0),
        }
    }

    /// Drops all pages.
    pub(super) fn clear(&mut self) {
        self.by_number = Vec::new();
        self.charge.set(0);
    }

    /// The entry in `slot` changed: drops its page.
    pub(super) fn invalidate(&mut self, slot: usize) {
        if let Some(page) = self
            .by_number
            .get_mut(slot / PAGE_SLOTS)
            .and_then(Option::take)
        {
            self.charge.remove(bytes_of(&page));
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Pages encoded since the start.
    pub(crate) fn encoded(&self) -> u64 {
        self.encoded
    }

    /// The next chunk after `cursor`, and the cursor after it. The chunk is `None` at the end of a section.
    pub(super) fn next(
        &mut self,
        cursor: &Cursor,
        filter: &WatchFilter,
        board: &Board,
        roster: &Roster,
        bindings: &Board,
    ) -> (Option<Rc<[u8]>>, Cursor) {
        match cursor {
            Cursor::Slots(slot) => match self.chunk_of_slots(*slot, board) {
                Some((frame, next)) => (Some(frame), Cursor::Slots(next)),
                None => (None, Cursor::Workers(WorkerMark::default())),
            },
            Cursor::Names(after) => match chunk_of_names(after.as_ref(), filter, board) {
                Some((frame, last)) => (Some(frame), Cursor::Names(Some(last))),
                None => (None, Cursor::Workers(WorkerMark::default())),
            },
            Cursor::Workers(mark) => match chunk_of_workers(mark, filter, roster) {
                Some((frame, mark)) => (Some(frame), Cursor::Workers(mark)),
                None => (None, Cursor::Bindings(None)),
            },
            Cursor::Bindings(after) => match chunk_of_names(after.as_ref(), filter, bindings) {
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
                self.charge.add(bytes_of(&page));
                page
            });
            // A frame that begins after `slot` serves if the slots between are empty. Otherwise the page was divided
            // differently when the previous frame was sent: encode it again from here.
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

#[cfg(debug_assertions)]
impl Pages {
    pub(super) fn check_books(&self) {
        let Self {
            by_number,
            encoded: _,
            charge,
        } = self;
        let sum: usize = by_number.iter().flatten().map(bytes_of).sum();
        assert_eq!(charge.bytes(), sum, "bytes of pages");
    }
}

fn bytes_of(page: &Page) -> usize {
    page.iter().map(|(_, _, frame)| frame.len()).sum()
}

/// The entries of some slots as frames.
fn encode_slots(begin: usize, end: usize, board: &Board) -> Page {
    let (mut page, mut frame, mut frame_begin) = (Page::new(), FrameBuilder::default(), begin);
    for slot in begin..end.min(board.slots()) {
        let Some(entry) = board.entry(slot) else {
            continue;
        };
        if frame.overflows(entry) {
            page.push((frame_begin, slot, std::mem::take(&mut frame).snapshot()));
        }
        if frame.is_empty() {
            frame_begin = slot;
        }
        frame.push(Section::Functions, ChangeKind::Added, entry.clone());
    }
    if !frame.is_empty() {
        page.push((frame_begin, end, frame.snapshot()));
    }
    page
}

/// One frame of entries under the filter's prefixes, and the last name in it.
fn chunk_of_names(
    after: Option<&Name>,
    filter: &WatchFilter,
    board: &Board,
) -> Option<(Rc<[u8]>, Name)> {
    let (mut frame, mut last) = (FrameBuilder::default(), None);
    'full: for prefix in filter.prefixes(board.section()) {
        for (name, entry) in board.sealed_under(prefix, after.map(|after| &**after)) {
            if !filter.allows(board.section(), name) {
                continue;
            }
            if frame.overflows(entry) {
                break 'full;
            }
            frame.push(board.section(), ChangeKind::Added, entry.clone());
            last = Some(name.clone());
        }
    }
    last.map(|last| (frame.snapshot(), last))
}

/// One frame of workers that the filter passes, and the mark after it.
fn chunk_of_workers(
    after: &WorkerMark,
    filter: &WatchFilter,
    roster: &Roster,
) -> Option<(Rc<[u8]>, WorkerMark)> {
    if filter.prefixes(Section::Workers).is_empty() {
        return None;
    }
    let (mut frame, mut last) = (FrameBuilder::default(), None);
    let passes = |name: &str| filter.passes(Section::Workers, name);
    roster.entries_after(after, passes, filter.rules(), |mark, entry| {
        if frame.overflows(&entry) {
            return false;
        }
        frame.push(Section::Workers, ChangeKind::Added, entry);
        last = Some(mark);
        true
    });
    last.map(|last| (frame.snapshot(), last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::interface::ConnId;
    use crate::engine::registry::board::Provider;
    use crate::engine::registry::entry::EncodedDefinition;
    use crate::engine::rng::Rng;

    /// A board whose every frame has at most two entries.
    struct Fixture {
        board: Board,
        pages: Pages,
    }

    impl Fixture {
        fn new(entries: usize) -> Self {
            let (keys, usage) = (Rng::new([7; 32]).hash_keys(), Usage::default());
            let mut board = Board::new(Section::Functions, keys, &usage);
            for slot in 0..entries {
                let name: Name = format!("f{slot}").into();
                let definition = EncodedDefinition {
                    bytes: vec![slot as u8; 30_000].into(),
                    exclusive: false,
                };
                let provider = Provider::new((1, ConnId::new(0, 0)), 0, definition);
                assert_eq!(board.provide((&name, None), provider), slot);
            }
            let mut fixture = Self {
                board,
                pages: Pages::new(&usage),
            };
            fixture.seal();
            fixture
        }

        fn seal(&mut self) {
            let pages = &mut self.pages;
            self.board
                .seal(&mut Vec::new(), |slot| pages.invalidate(slot));
        }

        fn withdraw(&mut self, slots: &[usize]) {
            for &slot in slots {
                self.board.withdraw(slot, 1);
            }
            self.seal();
        }

        /// The next frame from `slot` on, its entries, and the slot behind it.
        fn next(&mut self, slot: usize) -> (Rc<[u8]>, Vec<usize>, usize) {
            let (frame, next) = self
                .pages
                .chunk_of_slots(slot, &self.board)
                .expect("a frame");
            let has = |slot: &usize| frame.windows(1_000).any(|it| it == [*slot as u8; 1_000]);
            let entries = (0..self.board.slots()).filter(has).collect();
            (frame, entries, next)
        }
    }

    #[test]
    fn those_who_join_share_the_frames() {
        let mut fixture = Fixture::new(4);
        for (slot, entries) in [(0, [0, 1]), (2, [2, 3])] {
            let (first, shown, _) = fixture.next(slot);
            let (second, ..) = fixture.next(slot);
            assert_eq!(shown, entries);
            assert!(Rc::ptr_eq(&first, &second));
        }
        // Also from an empty slot on.
        fixture.withdraw(&[0]);
        let frames = [0, 1].map(|slot| fixture.next(slot).0);
        assert!(Rc::ptr_eq(&frames[0], &frames[1]));
    }

    #[test]
    fn a_page_that_is_divided_anew_in_the_midst_of_a_snapshot_leaves_no_entry_out() {
        let mut fixture = Fixture::new(6);
        let (_, entries, next) = fixture.next(0);
        assert_eq!((entries, next), (vec![0, 1], 2));
        // Now the first frame ends behind slot 2, the second one begins at slot 4, and the slot between is empty.
        fixture.withdraw(&[0, 3]);
        let (_, entries, next) = fixture.next(next);
        assert_eq!((entries, next), (vec![2, 4], 5));
        assert_eq!(fixture.next(next).1, [5]);
    }
}
