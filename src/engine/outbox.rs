//! What one connection is owed: its own frames (replies, greetings), each stamped with the revision that it
//! must not overtake, and its position in what is pushed to all. A connection that lags costs a
//! position, not a queue. Never writes; says what is due and takes note of what was taken.

use std::collections::VecDeque;
use std::rc::Rc;

use super::account::{Account, Share};
use super::audience::Reader;
use super::snapshot::Cursor;

/// The stamp of a frame that may go at any time: greetings, heartbeats, farewells.
pub(super) const ANY_TIME: u64 = u64::MAX - 1;
/// The stamp of a frame whose turn is not sealed yet.
const UNSEALED: u64 = u64::MAX;

/// A frame for this connection alone.
#[derive(Debug)]
struct Own {
    stamp: u64,
    frame: OwnFrame,
}

/// What an own frame takes up beside its bytes: its place in the queue, and the allocator's.
const OWN_OVERHEAD: usize = size_of::<Own>() + 16;

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
    pub(super) within: Option<Within>,
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

/// Bytes of a frame that is being written, wherever they live.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Shared with others.
    Shared { frame: Rc<[u8]>, after: Stream },
    /// The next of the connection's own frames.
    Own,
}

#[derive(Debug)]
enum Begun {
    Shared(Rc<[u8]>),
    Own(Vec<u8>),
}

/// Emptied queues of own frames, for whoever has the next frame: an idle connection owns no buffer, and a busy one
/// does not allocate one for each answer.
#[derive(Debug, Default)]
pub(super) struct Queues(Vec<VecDeque<Own>>);

/// Queues that are kept, and the frames that each has room for, at most: 128 KiB in all.
const QUEUES_MAX: usize = 64;
const QUEUE_ROOM: usize = 64;

impl Queues {
    /// An empty queue.
    fn take(&mut self) -> VecDeque<Own> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps the memory of an empty queue, unless there is enough of it.
    fn keep(&mut self, queue: VecDeque<Own>) {
        if self.0.len() < QUEUES_MAX && queue.capacity() <= QUEUE_ROOM {
            self.0.push(queue);
        }
    }
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Outbox {
    own: VecDeque<Own>,
    unsealed: usize,
    own_bytes: usize,
    /// A frame that was written in part, and how much of it.
    begun: Option<Box<(Begun, usize)>>,
    pub(super) stream: Stream,
    /// What it holds of what all outboxes hold.
    held: Share,
}

impl Outbox {
    pub(super) fn new(all: &Account) -> Self {
        Self {
            held: all.share(),
            own: VecDeque::new(),
            unsealed: 0,
            own_bytes: 0,
            begun: None,
            stream: Stream::Nothing,
        }
    }

    /// Bytes of own frames that wait, with what each takes up beside, and of a begun frame.
    pub(super) fn bytes(&self) -> usize {
        self.own_bytes + self.begun.as_ref().map_or(0, |begun| begun.0.bytes().len())
    }

    /// Whether own frames wait, or one was written in part.
    pub(super) fn owes(&self) -> bool {
        !self.own.is_empty() || self.begun.is_some()
    }

    /// Adds a frame that may go at any time (behind those before it).
    pub(super) fn push_any_time(&mut self, frame: Vec<u8>, queues: &mut Queues) {
        self.own_bytes += frame.len();
        self.add(ANY_TIME, OwnFrame::Ready(frame), queues);
        self.note_held();
    }

    /// Adds a frame that must not overtake this turn's changes.
    pub(super) fn push(&mut self, frame: OwnFrame, queues: &mut Queues) {
        if let OwnFrame::Ready(bytes) = &frame {
            self.own_bytes += bytes.len();
        }
        self.add(UNSEALED, frame, queues);
        self.unsealed += 1;
        self.note_held();
    }

    fn add(&mut self, stamp: u64, frame: OwnFrame, queues: &mut Queues) {
        if self.own.capacity() == 0 {
            self.own = queues.take();
        }
        self.own.push_back(Own { stamp, frame });
        self.own_bytes += OWN_OVERHEAD;
    }

    /// The turn is sealed with `revision`: stamps what was added in it.
    pub(super) fn seal(&mut self, revision: u64, registered: impl Fn(u64) -> Vec<u8>) {
        let behind = self
            .own
            .iter_mut()
            .rev()
            .filter(|own| own.stamp == UNSEALED);
        for own in behind.take(self.unsealed) {
            own.stamp = revision;
            if let OwnFrame::Registered(id) = own.frame {
                let frame = registered(id);
                self.own_bytes += frame.len();
                own.frame = OwnFrame::Ready(frame);
            }
        }
        self.unsealed = 0;
        self.note_held();
    }

    /// Forgets the own frames of which nothing was written.
    pub(super) fn drop_waiting(&mut self) {
        self.own = VecDeque::new();
        (self.own_bytes, self.unsealed) = (0, 0);
        self.note_held();
    }

    fn note_held(&mut self) {
        let bytes = self.bytes();
        self.held.set(bytes);
    }

    /// The stamp of the `index`-th own frame and its length; `None` behind the last, or if its turn is not
    /// sealed yet.
    pub(super) fn own(&self, index: usize) -> Option<(u64, usize)> {
        match self.own.get(index)? {
            Own {
                stamp,
                frame: OwnFrame::Ready(frame),
            } if *stamp != UNSEALED => Some((*stamp, frame.len())),
            _ => None,
        }
    }

    /// Own frames that wait.
    pub(super) fn own_count(&self) -> usize {
        self.own.len()
    }

    /// The bytes to offer: the rest of a begun frame, then the pieces.
    pub(super) fn slices<'a>(&'a self, pieces: &'a [Piece]) -> impl Iterator<Item = &'a [u8]> {
        let mut own = self.own.iter();
        let rest = self.begun.iter().map(|begun| &begun.0.bytes()[begun.1..]);
        rest.chain(pieces.iter().map(move |piece| match piece {
            Piece::Shared { frame, .. } => &**frame,
            Piece::Own => match own.next() {
                Some(Own {
                    frame: OwnFrame::Ready(frame),
                    ..
                }) => frame,
                _ => unreachable!("only ready frames are gathered"),
            },
        }))
    }

    /// `written` of the offered bytes were taken. Returns whether all were.
    pub(super) fn advance(
        &mut self,
        pieces: &mut Vec<Piece>,
        written: usize,
        queues: &mut Queues,
    ) -> bool {
        let all = self.take(pieces, written);
        if self.own.is_empty() && self.own.capacity() > 0 {
            queues.keep(std::mem::take(&mut self.own));
        }
        self.note_held();
        all
    }

    fn take(&mut self, pieces: &mut Vec<Piece>, mut written: usize) -> bool {
        if let Some(begun) = &mut self.begun {
            let rest = begun.0.bytes().len() - begun.1;
            if written < rest {
                begun.1 += written;
                pieces.clear();
                return false;
            }
            written -= rest;
            self.begun = None;
        }
        let mut all = true;
        for piece in pieces.drain(..) {
            if written == 0 {
                all = false;
                break;
            }
            let begun = match piece {
                Piece::Shared { frame, after } => {
                    self.stream = after;
                    Begun::Shared(frame)
                }
                Piece::Own => match self.own.pop_front() {
                    Some(Own {
                        frame: OwnFrame::Ready(frame),
                        ..
                    }) => {
                        self.own_bytes -= frame.len() + OWN_OVERHEAD;
                        Begun::Own(frame)
                    }
                    _ => unreachable!("only ready frames are gathered"),
                },
            };
            let len = begun.bytes().len();
            if written < len {
                self.begun = Some(Box::new((begun, written)));
                all = false;
                break;
            }
            written -= len;
        }
        all
    }
}

impl Begun {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(frame) => frame,
            Self::Own(frame) => frame,
        }
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

    #[test]
    fn every_split_of_a_write_sends_the_same_bytes_once() {
        let total = 2 + 3 + 4;
        for first in 0..=total {
            for second in 0..=total - first {
                let mut outbox = Outbox::new(&Account::default());
                let mut queues = Queues::default();
                outbox.push_any_time(vec![1, 2], &mut queues);
                let mut sent = Vec::new();
                let mut at = 0;
                for write in [first, second, total] {
                    let mut pieces = Vec::new();
                    if outbox.own_count() > 0 {
                        pieces.push(Piece::Own);
                    }
                    for (bytes, revision) in [(&[3, 4, 5][..], 1), (&[6, 7, 8, 9][..], 2)] {
                        if at < revision {
                            pieces.push(shared(bytes, revision));
                        }
                    }
                    let offered: Vec<u8> = outbox.slices(&pieces).flatten().copied().collect();
                    let taken = write.min(offered.len());
                    sent.extend_from_slice(&offered[..taken]);
                    outbox.advance(&mut pieces, taken, &mut queues);
                    if let Stream::Changes(position) = &outbox.stream {
                        at = position.at;
                    }
                }
                assert_eq!(sent, [1, 2, 3, 4, 5, 6, 7, 8, 9], "{first} then {second}");
                assert!(!outbox.owes());
                assert_eq!(outbox.bytes(), 0);
            }
        }
    }

    #[test]
    fn an_emptied_outbox_owns_no_buffer_and_the_next_one_gets_it() {
        let mut queues = Queues::default();
        let mut outbox = Outbox::new(&Account::default());
        outbox.push_any_time(vec![1, 2], &mut queues);
        assert!(outbox.advance(&mut vec![Piece::Own], 2, &mut queues));
        assert_eq!(outbox.own.capacity(), 0);
        let mut next = Outbox::new(&Account::default());
        next.push_any_time(vec![3], &mut queues);
        assert!(queues.0.is_empty() && next.own.capacity() > 0);
    }

    #[test]
    fn what_is_kept_of_emptied_outboxes_is_bounded() {
        let mut queues = Queues::default();
        for count in 0..2 * QUEUES_MAX {
            let mut outbox = Outbox::new(&Account::default());
            for _ in 0..=count {
                outbox.push_any_time(vec![1], &mut Queues::default());
            }
            let mut pieces = vec![Piece::Own; count + 1];
            assert!(outbox.advance(&mut pieces, count + 1, &mut queues));
        }
        assert!(queues.0.len() <= QUEUES_MAX);
        assert!(queues.0.iter().all(|queue| queue.capacity() <= QUEUE_ROOM));
    }
}
