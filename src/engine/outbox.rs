//! What one connection is owed: its own frames (replies, greetings), each stamped with the revision that it
//! must not overtake, and its position in what is pushed to all. A connection that lags costs a
//! position, not a queue. Never writes; says what is due and takes note of what was taken.

use std::rc::Rc;

use super::account::Share;
use super::audience::Reader;
use super::own::{Own, Spare};
use super::snapshot::Cursor;

/// A frame for one connection, or what makes one when the turn is sealed.
#[derive(Debug)]
pub(super) enum OwnFrame {
    /// Ready to be sent.
    Ready(Vec<u8>),
    /// The good end of the registry request of this id; its revision is known with the seal.
    Registered(u64),
}

/// Where a connection stands in what is pushed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stream {
    /// Nothing is pushed: not greeted yet, or nothing is watched.
    Nothing,
    /// A snapshot is to be begun, for this reason.
    Begin(&'static str),
    /// A snapshot that began at this revision is being sent.
    Snapshot { start: u64, cursor: Cursor },
    /// Changes are being sent.
    Changes(Position),
}

/// A position in the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// All that concerns the reader up to this revision was sent.
    pub(super) at: u64,
    /// The revision that the reader has been told: its own idea of where it stands.
    pub(super) told: u64,
    /// What the reader has.
    pub(super) reader: Reader,
    /// SYNCED was sent.
    pub(super) synced: bool,
    /// In the midst of a change of several parts.
    pub(super) within: Option<Box<Within>>,
}

/// The next part of a change of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) part: usize,
}

impl Position {
    /// At `revision`, having been told so.
    pub(super) fn new(revision: u64, reader: Reader) -> Self {
        Self {
            at: revision,
            told: revision,
            reader,
            synced: false,
            within: None,
        }
    }
}

/// Bytes that are to be written, wherever they live.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// A frame that is shared with others.
    Shared { frame: Rc<[u8]>, after: Stream },
    /// The next run of the connection's own frames: so many bytes.
    Own(usize),
}

/// What became of what was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// All of it was taken.
    pub(super) all: bool,
    /// Frames of which the first byte was.
    pub(super) frames: u64,
}

/// A shared frame that was written in part.
#[derive(Debug)]
struct Begun {
    frame: Rc<[u8]>,
    /// How much of it was.
    written: usize,
    /// What it holds of what all outboxes hold.
    _held: Share,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Outbox {
    /// None if there are no own frames: an idle connection owns no buffer.
    own: Option<Box<Own>>,
    begun: Option<Box<Begun>>,
    pub(super) stream: Stream,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            own: None,
            begun: None,
            stream: Stream::Nothing,
        }
    }

    /// Bytes of own frames that wait, with what they take up beside, and of a begun frame.
    pub(super) fn bytes(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.bytes())
            + self.begun.as_ref().map_or(0, |begun| begun.frame.len())
    }

    /// Whether own frames wait, or a frame was written in part.
    pub(super) fn owes(&self) -> bool {
        self.own.is_some() || self.begun.is_some()
    }

    /// Whether all that is owed are the good ends of registry requests of this turn.
    pub(super) fn owes_receipts_only(&self) -> bool {
        let own = self.own.as_ref();
        self.begun.is_none() && own.is_some_and(|own| own.is_receipts_only())
    }

    /// Adds a frame that may go at any time (behind those before it).
    pub(super) fn push_any_time(&mut self, frame: &[u8], spare: &mut Spare) {
        self.own_or(spare).add_any_time(frame);
    }

    /// Adds a frame that must not overtake this turn's changes.
    pub(super) fn push(&mut self, frame: OwnFrame, spare: &mut Spare) {
        match frame {
            OwnFrame::Ready(frame) => self.push_with(spare, |out| out.extend_from_slice(&frame)),
            OwnFrame::Registered(id) => self.own_or(spare).add_registered(id),
        }
    }

    /// The same, of a frame that `write` appends to what is there.
    pub(super) fn push_with(&mut self, spare: &mut Spare, write: impl FnOnce(&mut Vec<u8>)) {
        self.own_or(spare).add(write);
    }

    fn own_or(&mut self, spare: &mut Spare) -> &mut Own {
        self.own.get_or_insert_with(|| spare.take())
    }

    /// The turn is sealed with `revision`: stamps what was added in it. `registered` appends the good end of a
    /// registry request of this id.
    pub(super) fn seal(&mut self, revision: u64, registered: impl Fn(u64, &mut Vec<u8>)) {
        if let Some(own) = &mut self.own {
            own.seal(revision, registered);
        }
    }

    /// Forgets the own frames of which nothing was written.
    pub(super) fn drop_waiting(&mut self) {
        if let Some(own) = &mut self.own {
            own.drop_waiting();
        }
        self.own.take_if(|own| own.is_empty());
    }

    /// The stamp of the `index`-th run of own frames and its length; `None` behind the last, or if its turn is not
    /// sealed yet.
    pub(super) fn own(&self, index: usize) -> Option<(u64, usize)> {
        self.own.as_ref()?.run(index)
    }

    /// Runs of own frames that wait.
    pub(super) fn own_count(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.runs())
    }

    /// The bytes to offer: the rest of a begun frame, then the pieces. Own frames that follow each other are one.
    pub(super) fn slices<'a>(&'a self, pieces: &'a [Piece]) -> impl Iterator<Item = &'a [u8]> {
        let mut own = self.own.as_ref().map_or(&[][..], |own| own.waiting());
        let begun = self.own.as_ref().map_or(0, |own| own.begun());
        let rest = self.begun.iter();
        let rest = rest.map(|begun| &begun.frame[begun.written..]);
        let mut pieces = pieces.iter().peekable();
        let mut next_own = move |bytes: usize| {
            let (next, rest) = own.split_at(bytes);
            own = rest;
            next
        };
        let mut first = begun;
        rest.chain(std::iter::from_fn(move || {
            let mut bytes = std::mem::take(&mut first);
            while let Some(Piece::Own(more)) = pieces.peek() {
                bytes += more;
                pieces.next();
            }
            if bytes > 0 {
                return Some(next_own(bytes));
            }
            match pieces.next()? {
                Piece::Shared { frame, .. } => Some(&**frame),
                Piece::Own(_) => unreachable!("taken above"),
            }
        }))
    }

    /// `written` of the offered bytes were taken.
    pub(super) fn advance(
        &mut self,
        pieces: &mut Vec<Piece>,
        written: usize,
        spare: &mut Spare,
    ) -> Taken {
        let taken = self.take(pieces, written, spare);
        if let Some(own) = self.own.take_if(|own| own.is_empty()) {
            spare.keep(own);
        }
        taken
    }

    fn take(&mut self, pieces: &mut Vec<Piece>, mut written: usize, spare: &Spare) -> Taken {
        let mut taken = Taken {
            all: false,
            frames: 0,
        };
        if let Some(begun) = &mut self.begun {
            let rest = begun.frame.len() - begun.written;
            if written < rest {
                begun.written += written;
                pieces.clear();
                return taken;
            }
            written -= rest;
            self.begun = None;
        }
        if let Some(own) = &mut self.own {
            written -= own.take_begun(written);
            if own.begun() > 0 {
                pieces.clear();
                return taken;
            }
        }
        for piece in pieces.drain(..) {
            if written == 0 {
                return taken;
            }
            match piece {
                Piece::Shared { frame, after } => {
                    self.stream = after;
                    taken.frames += 1;
                    if written < frame.len() {
                        self.begun = Some(Box::new(Begun {
                            _held: spare.share(frame.len()),
                            frame,
                            written,
                        }));
                        return taken;
                    }
                    written -= frame.len();
                }
                Piece::Own(bytes) => {
                    let own = self.own.as_mut().expect("own frames were gathered");
                    taken.frames += own.take_run(written);
                    if written < bytes {
                        return taken;
                    }
                    written -= bytes;
                }
            }
        }
        taken.all = true;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(bytes: &[u8], at: u64) -> Piece {
        Piece::Shared {
            frame: bytes.into(),
            after: Stream::Changes(Position::new(at, Reader::Exact)),
        }
    }

    /// A frame of four bytes and a body.
    fn frame(body: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, body.len() as u8], body].concat()
    }

    /// What is to be offered: all runs of own frames, then the shared frames behind `at`.
    fn pieces(outbox: &Outbox, frames: &[(&[u8], u64)], at: u64) -> Vec<Piece> {
        let own = (0..outbox.own_count()).map(|index| Piece::Own(outbox.own(index).unwrap().1));
        let waiting = frames.iter().filter(|(_, revision)| at < *revision);
        own.chain(waiting.map(|(bytes, revision)| shared(bytes, *revision)))
            .collect()
    }

    #[test]
    fn every_split_of_a_write_sends_the_same_bytes_once() {
        let own = [frame(&[1, 2]), frame(&[3]), frame(&[4, 5, 6])];
        let frames = [(&[7, 8, 9][..], 1), (&[10, 11, 12, 13][..], 2)];
        let all: Vec<u8> = [&own.concat()[..], frames[0].0, frames[1].0].concat();
        for first in 0..=all.len() {
            for second in 0..=all.len() - first {
                let mut outbox = Outbox::new();
                let mut spare = Spare::default();
                outbox.push_any_time(&own[0], &mut spare);
                outbox.push_any_time(&own[1], &mut spare);
                outbox.push(OwnFrame::Ready(own[2].clone()), &mut spare);
                outbox.seal(0, |_, _| unreachable!("nothing was registered"));
                let (mut sent, mut at, mut counted) = (Vec::new(), 0, 0);
                for write in [first, second, all.len()] {
                    let mut pieces = pieces(&outbox, &frames, at);
                    let offered: Vec<u8> = outbox.slices(&pieces).flatten().copied().collect();
                    let taken = write.min(offered.len());
                    sent.extend_from_slice(&offered[..taken]);
                    let taken = outbox.advance(&mut pieces, taken, &mut spare);
                    counted += taken.frames;
                    if let Stream::Changes(position) = &outbox.stream {
                        at = position.at;
                    }
                }
                assert_eq!(sent, all, "{first} then {second}");
                assert_eq!(counted, 5, "{first} then {second}");
                assert!(!outbox.owes());
                assert_eq!((outbox.bytes(), spare.waiting()), (0, 0));
            }
        }
    }

    #[test]
    fn own_frames_that_follow_each_other_are_one_slice() {
        let mut outbox = Outbox::new();
        let mut spare = Spare::default();
        outbox.push_any_time(&frame(&[1]), &mut spare);
        outbox.push(OwnFrame::Ready(frame(&[2])), &mut spare);
        outbox.seal(3, |_, _| unreachable!("nothing was registered"));
        let pieces = pieces(&outbox, &[(&[3], 1)], 0);
        let slices: Vec<Vec<u8>> = outbox.slices(&pieces).map(<[u8]>::to_vec).collect();
        assert_eq!(slices, [[frame(&[1]), frame(&[2])].concat(), vec![3]]);
    }

    #[test]
    fn an_emptied_outbox_owns_no_buffer_and_the_next_one_gets_it() {
        let mut spare = Spare::default();
        let mut outbox = Outbox::new();
        outbox.push_any_time(&frame(&[1]), &mut spare);
        assert!(outbox.advance(&mut vec![Piece::Own(5)], 5, &mut spare).all);
        assert!(outbox.own.is_none());
        assert_eq!(spare.len(), 1);
        outbox.push_any_time(&frame(&[2]), &mut spare);
        assert_eq!(spare.len(), 0);
    }

    #[test]
    fn what_waits_is_dropped_and_what_was_begun_is_not() {
        let mut spare = Spare::default();
        let mut outbox = Outbox::new();
        let frames = [frame(&[1, 2]), frame(&[3, 4]), frame(&[5, 6])];
        for frame in &frames {
            outbox.push_any_time(frame, &mut spare);
        }
        // The first is written, and a part of the second.
        assert!(!outbox.advance(&mut vec![Piece::Own(18)], 7, &mut spare).all);
        outbox.drop_waiting();
        let rest: Vec<u8> = outbox.slices(&[]).flatten().copied().collect();
        assert_eq!(rest, frames[1][1..]);
        assert!(outbox.advance(&mut Vec::new(), 5, &mut spare).all);
        assert!(!outbox.owes());
    }
}
