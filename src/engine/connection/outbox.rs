//! The outbox of one connection: its own frames (replies, greetings), each stamped with the revision that it must not
//! overtake, and its position in the stream of its namespace. A slow connection costs a position, not a queue. Never
//! writes; offers what is due and records what was written.

use std::rc::Rc;

use crate::engine::memory::Charge;
use crate::engine::registry::position::Stream;

use super::send_buffer::{BufferPool, SendBuffer};

/// A frame for one connection, or an acknowledgement that becomes one when the turn is sealed.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An encoded frame.
    Frame(Vec<u8>),
    /// The acknowledgement of the registry request with this id. It names the revision of the seal.
    Acknowledgement(u64),
}

/// Bytes to write: a shared frame, or a run of the send buffer.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    /// A frame shared with other connections, and the stream after it.
    Shared { frame: Rc<[u8]>, after: Stream },
    /// The next run of the connection's own frames, with its length in bytes.
    Own(usize),
}

/// The progress of one write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything offered was written.
    pub(crate) all: bool,
    /// Frames whose first byte was written.
    pub(crate) frames: u64,
}

/// A shared frame that was written in part.
#[derive(Debug)]
struct PartialFrame {
    frame: Rc<[u8]>,
    /// Bytes written.
    written: usize,
    /// Its bytes, among those of all outboxes.
    _charge: Charge,
}

/// The frames that one connection is owed, and its position in the stream of its namespace.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// `None` without own frames: an idle connection owns no buffer.
    own: Option<Box<SendBuffer>>,
    partial: Option<Box<PartialFrame>>,
    stream: Stream,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            own: None,
            partial: None,
            stream: Stream::Idle,
        }
    }

    /// The stream of the connection's namespace, up to what was written.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn set_stream(&mut self, stream: Stream) {
        self.stream = stream;
    }

    /// Bytes of own frames that wait, with their overhead, and of a partly written frame.
    pub(crate) fn bytes(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.bytes())
            + self.partial.as_ref().map_or(0, |it| it.frame.len())
    }

    /// Whether own frames or the rest of a frame wait.
    pub(crate) fn is_pending(&self) -> bool {
        self.own.is_some() || self.partial.is_some()
    }

    /// Whether nothing but acknowledgements of this turn's registry requests waits.
    pub(crate) fn is_acknowledgements_only(&self) -> bool {
        let own = self.own.as_ref();
        self.partial.is_none() && own.is_some_and(|own| own.is_acknowledgements_only())
    }

    /// Adds a frame that may overtake changes (but no own frame).
    pub(super) fn push_unordered(&mut self, frame: &[u8], pool: &mut BufferPool) {
        self.buffer(pool).push_unordered(frame);
    }

    /// Adds a frame that must not overtake this turn's changes.
    pub(super) fn push(&mut self, reply: Reply, pool: &mut BufferPool) {
        match reply {
            Reply::Frame(frame) => self.push_with(pool, |out| out.extend_from_slice(&frame)),
            Reply::Acknowledgement(id) => self.buffer(pool).push_acknowledgement(id),
        }
    }

    /// As [`Outbox::push`], for a frame that `write` appends to the buffer.
    pub(super) fn push_with(&mut self, pool: &mut BufferPool, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffer(pool).push(write);
    }

    fn buffer(&mut self, pool: &mut BufferPool) -> &mut SendBuffer {
        self.own.get_or_insert_with(|| pool.take())
    }

    /// The turn is sealed with `revision`: stamps the frames that were added in it. `acknowledge` appends the
    /// acknowledgement of a registry request.
    pub(crate) fn seal(&mut self, revision: u64, acknowledge: impl Fn(u64, &mut Vec<u8>)) {
        if let Some(own) = &mut self.own {
            own.seal(revision, acknowledge);
        }
    }

    /// Discards the own frames of which nothing was written.
    pub(crate) fn discard_waiting(&mut self) {
        if let Some(own) = &mut self.own {
            own.discard_waiting();
        }
        self.own.take_if(|own| own.is_empty());
    }

    /// The stamp and the length of the `index`-th run of own frames; `None` after the last, or if its turn is not sealed
    /// yet.
    pub(crate) fn own_run(&self, index: usize) -> Option<(u64, usize)> {
        self.own.as_ref()?.run(index)
    }

    /// Number of runs of own frames that wait.
    pub(crate) fn own_runs(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.runs())
    }

    /// The bytes to offer: the rest of a partly written frame, then the segments. Adjacent own frames are one slice.
    pub(crate) fn slices<'a>(&'a self, segments: &'a [Segment]) -> impl Iterator<Item = &'a [u8]> {
        let mut own = self.own.as_ref().map_or(&[][..], |own| own.waiting());
        let begun = self.own.as_ref().map_or(0, |own| own.begun());
        let rest = self.partial.iter();
        let rest = rest.map(|partial| &partial.frame[partial.written..]);
        let mut segments = segments.iter().peekable();
        let mut next_own = move |bytes: usize| {
            let (next, rest) = own.split_at(bytes);
            own = rest;
            next
        };
        let mut first = begun;
        rest.chain(std::iter::from_fn(move || {
            let mut bytes = std::mem::take(&mut first);
            while let Some(Segment::Own(more)) = segments.peek() {
                bytes += more;
                segments.next();
            }
            if bytes > 0 {
                return Some(next_own(bytes));
            }
            match segments.next()? {
                Segment::Shared { frame, .. } => Some(&**frame),
                Segment::Own(_) => unreachable!("taken above"),
            }
        }))
    }

    /// `written` of the offered bytes were written.
    pub(crate) fn advance(
        &mut self,
        segments: &mut Vec<Segment>,
        written: usize,
        pool: &mut BufferPool,
    ) -> Progress {
        let progress = self.take(segments, written, pool);
        if let Some(own) = self.own.take_if(|own| own.is_empty()) {
            pool.put(own);
        }
        progress
    }

    fn take(
        &mut self,
        segments: &mut Vec<Segment>,
        mut written: usize,
        pool: &BufferPool,
    ) -> Progress {
        let mut progress = Progress {
            all: false,
            frames: 0,
        };
        if let Some(partial) = &mut self.partial {
            let rest = partial.frame.len() - partial.written;
            if written < rest {
                partial.written += written;
                segments.clear();
                return progress;
            }
            written -= rest;
            self.partial = None;
        }
        if let Some(own) = &mut self.own {
            written -= own.take_begun(written);
            if own.begun() > 0 {
                segments.clear();
                return progress;
            }
        }
        for segment in segments.drain(..) {
            if written == 0 {
                return progress;
            }
            match segment {
                Segment::Shared { frame, after } => {
                    self.stream = after;
                    progress.frames += 1;
                    if written < frame.len() {
                        self.partial = Some(Box::new(PartialFrame {
                            _charge: pool.charge(frame.len()),
                            frame,
                            written,
                        }));
                        return progress;
                    }
                    written -= frame.len();
                }
                Segment::Own(bytes) => {
                    let own = self.own.as_mut().expect("own frames were gathered");
                    progress.frames += own.take_run(written);
                    if written < bytes {
                        return progress;
                    }
                    written -= bytes;
                }
            }
        }
        progress.all = true;
        progress
    }
}

#[cfg(debug_assertions)]
impl Outbox {
    /// Compares the charges with what waits. Returns their sum.
    pub(super) fn check_books(&self) -> usize {
        let Self {
            own,
            partial,
            stream: _,
        } = self;
        let own = own.as_ref().map_or(0, |own| {
            assert!(!own.is_empty(), "an empty buffer was kept");
            own.check_books()
        });
        let partial = partial.as_ref().map_or(0, |partial| {
            #[expect(
                clippy::used_underscore_binding,
                reason = "otherwise it is only dropped"
            )]
            let (len, charge) = (partial.frame.len(), partial._charge.bytes());
            assert!(partial.written < len, "a frame that is written");
            assert_eq!(charge, len, "charge of a frame");
            charge
        });
        assert_eq!(own + partial, self.bytes(), "bytes of an outbox");
        own + partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::registry::position::{Position, Reader};

    fn shared(bytes: &[u8], at: u64) -> Segment {
        Segment::Shared {
            frame: bytes.into(),
            after: Stream::Changes(Position::new(at, Reader::Exact)),
        }
    }

    /// A frame of four bytes and a body.
    fn frame(body: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, body.len() as u8], body].concat()
    }

    /// The segments to offer: all runs of own frames, then the shared frames after `at`.
    fn segments(outbox: &Outbox, frames: &[(&[u8], u64)], at: u64) -> Vec<Segment> {
        let own =
            (0..outbox.own_runs()).map(|index| Segment::Own(outbox.own_run(index).unwrap().1));
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
                let mut pool = BufferPool::default();
                outbox.push_unordered(&own[0], &mut pool);
                outbox.push_unordered(&own[1], &mut pool);
                outbox.push(Reply::Frame(own[2].clone()), &mut pool);
                outbox.seal(0, |_, _| unreachable!("nothing was registered"));
                let (mut sent, mut at, mut counted) = (Vec::new(), 0, 0);
                for write in [first, second, all.len()] {
                    let mut segments = segments(&outbox, &frames, at);
                    let offered: Vec<u8> = outbox.slices(&segments).flatten().copied().collect();
                    let taken = write.min(offered.len());
                    sent.extend_from_slice(&offered[..taken]);
                    let progress = outbox.advance(&mut segments, taken, &mut pool);
                    counted += progress.frames;
                    if let Stream::Changes(position) = &outbox.stream {
                        at = position.at;
                    }
                }
                assert_eq!(sent, all, "{first} then {second}");
                assert_eq!(counted, 5, "{first} then {second}");
                assert!(!outbox.is_pending());
                assert_eq!((outbox.bytes(), pool.waiting()), (0, 0));
            }
        }
    }

    #[test]
    fn adjacent_own_frames_are_one_slice() {
        let mut outbox = Outbox::new();
        let mut pool = BufferPool::default();
        outbox.push_unordered(&frame(&[1]), &mut pool);
        outbox.push(Reply::Frame(frame(&[2])), &mut pool);
        outbox.seal(3, |_, _| unreachable!("nothing was registered"));
        let segments = segments(&outbox, &[(&[3], 1)], 0);
        let slices: Vec<Vec<u8>> = outbox.slices(&segments).map(<[u8]>::to_vec).collect();
        assert_eq!(slices, [[frame(&[1]), frame(&[2])].concat(), vec![3]]);
    }

    #[test]
    fn an_empty_outbox_returns_its_buffer_to_the_pool() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new();
        outbox.push_unordered(&frame(&[1]), &mut pool);
        assert!(outbox.advance(&mut vec![Segment::Own(5)], 5, &mut pool).all);
        assert!(outbox.own.is_none());
        assert_eq!(pool.len(), 1);
        outbox.push_unordered(&frame(&[2]), &mut pool);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn waiting_frames_are_discarded_and_a_partly_written_one_is_not() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::new();
        let frames = [frame(&[1, 2]), frame(&[3, 4]), frame(&[5, 6])];
        for frame in &frames {
            outbox.push_unordered(frame, &mut pool);
        }
        // The first is written, and a part of the second.
        assert!(
            !outbox
                .advance(&mut vec![Segment::Own(18)], 7, &mut pool)
                .all
        );
        outbox.discard_waiting();
        let rest: Vec<u8> = outbox.slices(&[]).flatten().copied().collect();
        assert_eq!(rest, frames[1][1..]);
        assert!(outbox.advance(&mut Vec::new(), 5, &mut pool).all);
        assert!(!outbox.is_pending());
    }
}
