//! The send buffer: frames for one connection, back to back. A call's INVOKE or RESULT is encoded in place, and the
//! frames of one turn for one connection are one slice. Knows the stamps and lengths of frames, not their content.

use std::collections::VecDeque;

use crate::engine::memory::{Charge, Usage};
use crate::protocol::HEADER_LEN;

/// The stamp of a frame that may overtake changes: greetings, heartbeats, GOODBYE.
pub(crate) const UNORDERED: u64 = u64::MAX - 1;
/// The stamp of a frame whose turn is not sealed yet.
const UNSEALED: u64 = u64::MAX;

/// Written bytes are removed from the front once they are this many, and half of the buffer. So each byte moves once
/// at most.
const COMPACT_BYTES: usize = 4096;

/// Adjacent frames with the same stamp.
#[derive(Debug)]
struct Run {
    stamp: u64,
    bytes: usize,
    frames: u64,
}

/// Frames for one connection, of which some may be written.
#[derive(Debug)]
pub(super) struct SendBuffer {
    /// The frames. Those before `at` are written.
    buffer: Vec<u8>,
    at: usize,
    /// Bytes at `at` that are left of a partly written frame. They are sent before anything else.
    begun: usize,
    /// The frames after those.
    runs: VecDeque<Run>,
    /// Number of runs that are not sealed.
    unsealed: usize,
    /// Registry requests of this turn: the offsets of their acknowledgements in the buffer, and their ids.
    unacknowledged: Vec<(usize, u64)>,
    /// Its bytes, among those of all outboxes.
    charge: Charge,
}

impl SendBuffer {
    fn new(usage: &Usage) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            begun: 0,
            runs: VecDeque::new(),
            unsealed: 0,
            unacknowledged: Vec::new(),
            charge: usage.charge(0),
        }
    }

    fn update_charge(&mut self) {
        let bytes = self.bytes();
        self.charge.set(bytes);
    }

    /// Bytes that wait, with their overhead.
    pub(super) fn bytes(&self) -> usize {
        self.waiting().len() + self.runs.len() * size_of::<Run>()
    }

    /// The bytes that wait.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Bytes left of a partly written frame.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun == 0 && self.runs.is_empty()
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The stamp and the length of a run; `None` after the last, or if its turn is not sealed yet.
    pub(super) fn run(&self, index: usize) -> Option<(u64, usize)> {
        let run = self.runs.get(index)?;
        (run.stamp != UNSEALED).then_some((run.stamp, run.bytes))
    }

    /// Whether nothing but acknowledgements of this turn's registry requests waits.
    pub(super) fn is_acknowledgements_only(&self) -> bool {
        let frames: u64 = self.runs.iter().map(|run| run.frames).sum();
        self.begun == 0 && frames == self.unacknowledged.len() as u64
    }

    /// Adds a frame that may overtake changes.
    pub(super) fn push_unordered(&mut self, frame: &[u8]) {
        self.buffer.extend_from_slice(frame);
        self.count(UNORDERED, frame.len());
    }

    /// Adds a frame that gets the stamp of this turn.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buffer.len();
        write(&mut self.buffer);
        self.count(UNSEALED, self.buffer.len() - before);
    }

    /// Adds the acknowledgement of a registry request, which names the revision of the seal.
    pub(super) fn push_acknowledgement(&mut self, id: u64) {
        self.unacknowledged.push((self.buffer.len(), id));
        self.count(UNSEALED, 0);
    }

    fn count(&mut self, stamp: u64, bytes: usize) {
        match self.runs.back_mut() {
            Some(run) if run.stamp == stamp => {
                run.bytes += bytes;
                run.frames += 1;
            }
            _ => {
                self.unsealed += usize::from(stamp == UNSEALED);
                let frames = 1;
                self.runs.push_back(Run {
                    stamp,
                    bytes,
                    frames,
                });
            }
        }
        self.update_charge();
    }

    /// The turn is sealed with `revision`.
    pub(super) fn seal(&mut self, revision: u64, acknowledge: impl Fn(u64, &mut Vec<u8>)) {
        if !self.unacknowledged.is_empty() {
            self.insert_acknowledgements(acknowledge);
        }
        let behind = self.runs.iter_mut().rev();
        let behind = behind.filter(|run| run.stamp == UNSEALED);
        for run in behind.take(self.unsealed) {
            run.stamp = revision;
        }
        self.unsealed = 0;
    }

    /// Inserts the acknowledgements at their offsets. Everything after the first one moves.
    fn insert_acknowledgements(&mut self, acknowledge: impl Fn(u64, &mut Vec<u8>)) {
        let mut insertions = std::mem::take(&mut self.unacknowledged);
        let first = insertions[0].0;
        let moved = self.buffer.split_off(first);
        let (mut run, mut from) = (0, 0);
        // The end of the run, before the insertions.
        let mut run_end = self.at + self.begun + self.runs[0].bytes;
        for (place, id) in insertions.drain(..) {
            // An insertion between two runs belongs to the unsealed one.
            while place > run_end || place == run_end && self.runs[run].stamp != UNSEALED {
                run += 1;
                run_end += self.runs[run].bytes;
            }
            self.buffer.extend_from_slice(&moved[from..place - first]);
            from = place - first;
            let before = self.buffer.len();
            acknowledge(id, &mut self.buffer);
            self.runs[run].bytes += self.buffer.len() - before;
        }
        self.buffer.extend_from_slice(&moved[from..]);
        self.unacknowledged = insertions;
        self.update_charge();
    }

    /// Discards everything but the rest of a partly written frame.
    pub(super) fn discard_waiting(&mut self) {
        self.buffer.truncate(self.at + self.begun);
        self.runs.clear();
        self.unacknowledged.clear();
        self.unsealed = 0;
        self.update_charge();
    }

    /// Applies `written` bytes to the partly written frame. Returns how many of them it took.
    pub(super) fn take_begun(&mut self, written: usize) -> usize {
        let taken = written.min(self.begun);
        self.begun -= taken;
        self.skip(taken);
        taken
    }

    /// Applies `written` bytes to the first run. Returns the number of its frames whose first byte was written.
    pub(super) fn take_run(&mut self, written: usize) -> u64 {
        let run = self.runs.pop_front().expect("a run was offered");
        if written >= run.bytes {
            self.skip(run.bytes);
            return run.frames;
        }
        // Find the end of the frame in which the write ended.
        let (mut end, mut frames) = (0, 0);
        while end < written {
            let header = self.buffer[self.at + end..].first_chunk();
            let len = u32::from_be_bytes(*header.expect("whole frames"));
            end += HEADER_LEN + len as usize;
            frames += 1;
        }
        self.begun = end - written;
        if run.frames > frames {
            self.runs.push_front(Run {
                stamp: run.stamp,
                bytes: run.bytes - end,
                frames: run.frames - frames,
            });
        }
        self.skip(written);
        frames
    }

    /// Skips `written` bytes at the front.
    fn skip(&mut self, written: usize) {
        self.at += written;
        if self.at >= COMPACT_BYTES
            && self.at >= self.buffer.len() / 2
            && self.unacknowledged.is_empty()
        {
            self.buffer.drain(..self.at);
            self.at = 0;
            // After a burst, keep no more than twice of what still waits.
            let room = 2 * self.buffer.len().max(ROOM_KEPT);
            if self.buffer.capacity() > 2 * room {
                self.buffer.shrink_to(room);
            }
        }
        self.update_charge();
    }
}

/// Empty buffers for reuse: an idle connection owns none, and a busy one does not allocate one for each answer.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    #[allow(clippy::vec_box)] // They move between the pool and the connections without a copy.
    buffers: Vec<Box<SendBuffer>>,
    /// Bytes that wait in all outboxes.
    usage: Usage,
}

/// Buffers in the pool, and the bytes and runs of each, at most: some more than 1 MiB in all.
const POOL_MAX: usize = 64;
const ROOM_KEPT: usize = 16 * 1024;
const RUNS_KEPT: usize = 16;

impl BufferPool {
    /// An empty buffer.
    #[allow(clippy::unnecessary_box_returns)] // Outboxes buffer the box.
    pub(super) fn take(&mut self) -> Box<SendBuffer> {
        let new = || Box::new(SendBuffer::new(&self.usage));
        self.buffers.pop().unwrap_or_else(new)
    }

    /// Bytes that wait in all outboxes.
    pub(crate) fn waiting(&self) -> usize {
        self.usage.total()
    }

    /// A charge among these.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.usage.charge(bytes)
    }

    /// Takes an empty buffer back, unless it is large or the pool is full.
    pub(super) fn put(&mut self, mut buffer: Box<SendBuffer>) {
        debug_assert!(buffer.is_empty() && buffer.unacknowledged.is_empty());
        let small = buffer.buffer.capacity() <= ROOM_KEPT
            && buffer.runs.capacity() <= RUNS_KEPT
            && buffer.unacknowledged.capacity() <= RUNS_KEPT;
        if self.buffers.len() < POOL_MAX && small {
            buffer.buffer.clear();
            buffer.at = 0;
            self.buffers.push(buffer);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }
}

#[cfg(debug_assertions)]
impl SendBuffer {
    /// Recounts what is kept beside the frames. Returns the charge.
    pub(super) fn check_books(&self) -> usize {
        let Self {
            buffer,
            at,
            begun,
            runs,
            unsealed,
            unacknowledged,
            charge,
        } = self;
        let in_runs: usize = runs.iter().map(|run| run.bytes).sum();
        assert_eq!(at + begun + in_runs, buffer.len(), "bytes of runs");
        let awaiting = runs.iter().filter(|run| run.stamp == UNSEALED).count();
        assert_eq!(*unsealed, awaiting, "runs that are not sealed");
        assert!(unacknowledged.is_empty() || *unsealed > 0);
        let mut frames = 0;
        let mut rest = &buffer[at + begun..];
        while let Some((header, behind)) = rest.split_first_chunk() {
            rest = &behind[u32::from_be_bytes(*header) as usize..];
            frames += 1;
        }
        let counted: u64 = runs.iter().map(|run| run.frames).sum();
        let waiting = unacknowledged.len() as u64;
        assert_eq!(counted, frames + waiting, "frames of runs");
        assert_eq!(charge.bytes(), self.bytes(), "charge of a buffer");
        charge.bytes()
    }
}

#[cfg(debug_assertions)]
impl BufferPool {
    /// Checks that no buffer in the pool holds anything.
    pub(super) fn check_books(&self) {
        let Self { buffers, usage: _ } = self;
        assert!(buffers.iter().all(|it| it.check_books() == 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Vec<u8> {
        vec![0, 0, 0, 2, byte, byte]
    }

    #[test]
    fn buffers_of_up_to_16_kib_are_kept_for_reuse() {
        for (room, kept) in [(ROOM_KEPT, 1), (ROOM_KEPT + 1, 0)] {
            let mut pool = BufferPool::default();
            let mut buffer = pool.take();
            buffer.buffer.reserve_exact(room);
            assert_eq!(buffer.buffer.capacity(), room);
            pool.put(buffer);
            assert_eq!(pool.len(), kept);
        }
    }

    /// An acknowledgement whose length depends on its id.
    fn acknowledge(id: u64, out: &mut Vec<u8>) {
        let body = vec![0xee; id as usize];
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&body);
    }

    #[test]
    fn acknowledgements_keep_their_place_among_the_frames() {
        for pattern in 0..3_u32.pow(7) {
            let mut buffer = SendBuffer::new(&Usage::default());
            let mut want = Vec::new();
            // A frame of an earlier turn, partly written.
            buffer.push(|out| out.extend_from_slice(&frame(9)));
            buffer.seal(1, |_, _| unreachable!());
            buffer.take_run(3);
            want.extend_from_slice(&frame(9)[3..]);
            let mut unsealed = 0;
            for place in 0..7 {
                match pattern / 3_u32.pow(place) % 3 {
                    0 => {
                        buffer.push_unordered(&frame(1));
                        want.extend_from_slice(&frame(1));
                    }
                    1 => {
                        buffer.push(|out| out.extend_from_slice(&frame(2)));
                        want.extend_from_slice(&frame(2));
                        unsealed += 6;
                    }
                    _ => {
                        let id = u64::from(place) + 2;
                        buffer.push_acknowledgement(id);
                        let before = want.len();
                        acknowledge(id, &mut want);
                        unsealed += want.len() - before;
                    }
                }
            }
            buffer.seal(2, acknowledge);
            assert_eq!(buffer.waiting(), want, "{pattern}");
            let runs = (0..buffer.runs()).map(|index| buffer.run(index).expect("sealed"));
            let stamped = runs.filter(|(stamp, _)| *stamp == 2);
            assert_eq!(stamped.map(|(_, bytes)| bytes).sum::<usize>(), unsealed);
        }
    }

    #[test]
    fn written_bytes_are_removed_and_a_burst_frees_its_memory() {
        let mut buffer = SendBuffer::new(&Usage::default());
        for _ in 0..100_000 {
            buffer.push_unordered(&frame(1));
        }
        let mut frames = 0;
        while !buffer.is_empty() {
            let taken = buffer.take_begun(1_000);
            if buffer.begun() == 0 && buffer.runs() > 0 {
                frames += buffer.take_run(1_000 - taken);
            }
            assert!(buffer.buffer.len() <= 2 * buffer.waiting().len() + 2 * COMPACT_BYTES);
            assert!(buffer.buffer.capacity() <= 8 * buffer.waiting().len().max(ROOM_KEPT));
        }
        assert_eq!(frames, 100_000);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = BufferPool::default();
        for count in 0..2 * POOL_MAX {
            let mut buffer = Box::new(SendBuffer::new(&Usage::default()));
            for _ in 0..=40 * count {
                buffer.push_unordered(&frame(1));
            }
            let bytes = buffer.waiting().len();
            buffer.take_run(bytes);
            pool.put(buffer);
        }
        assert!(pool.buffers.len() <= POOL_MAX);
        let mut rooms = pool.buffers.iter().map(|buffer| buffer.buffer.capacity());
        assert!(rooms.all(|room| room <= ROOM_KEPT));
    }
}
