//! The frames of one connection alone, back to back in one buffer: a call's INVOKE or RESULT is written where it
//! will be sent from, and what a turn says to one connection goes out as one slice. Knows stamps and lengths of
//! frames, not what they say.

use std::collections::VecDeque;

use super::account::{Account, Share};
use crate::protocol::HEADER_LEN;

/// The stamp of a frame that may go at any time: greetings, heartbeats, farewells.
pub(super) const ANY_TIME: u64 = u64::MAX - 1;
/// The stamp of a frame whose turn is not sealed yet.
const UNSEALED: u64 = u64::MAX;

/// What is written is cut off at the front once it is so much, and half of the buffer: each byte moves once or not
/// at all.
const CUT_OFF: usize = 4096;

/// Frames that follow each other and carry the same stamp.
#[derive(Debug)]
struct Run {
    stamp: u64,
    bytes: usize,
    frames: u64,
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Own {
    /// The frames; what stands before `at` is written.
    buffer: Vec<u8>,
    at: usize,
    /// Bytes at `at` that are left of a frame that was written in part. They go before anything else.
    begun: usize,
    /// The frames behind those.
    runs: VecDeque<Run>,
    /// How many of the runs are not sealed.
    unsealed: usize,
    /// Registry requests of this turn: where in the buffer their good ends belong, and their ids.
    registered: Vec<(usize, u64)>,
    /// What it holds of what all outboxes hold.
    held: Share,
}

impl Own {
    fn new(all: &Account) -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            begun: 0,
            runs: VecDeque::new(),
            unsealed: 0,
            registered: Vec::new(),
            held: all.share(),
        }
    }

    fn note_held(&mut self) {
        let bytes = self.bytes();
        self.held.set(bytes);
    }

    /// Bytes that wait, with what they take up beside.
    pub(super) fn bytes(&self) -> usize {
        self.waiting().len() + self.runs.len() * size_of::<Run>()
    }

    /// The bytes that wait.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Bytes left of a frame that was written in part.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun == 0 && self.runs.is_empty()
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The stamp of a run and its length; `None` behind the last, or if its turn is not sealed yet.
    pub(super) fn run(&self, index: usize) -> Option<(u64, usize)> {
        let run = self.runs.get(index)?;
        (run.stamp != UNSEALED).then_some((run.stamp, run.bytes))
    }

    /// Whether nothing but the good ends of registry requests of this turn waits.
    pub(super) fn is_receipts_only(&self) -> bool {
        let frames: u64 = self.runs.iter().map(|run| run.frames).sum();
        self.begun == 0 && frames == self.registered.len() as u64
    }

    /// Adds a frame that may go at any time.
    pub(super) fn add_any_time(&mut self, frame: &[u8]) {
        self.buffer.extend_from_slice(frame);
        self.count(ANY_TIME, frame.len());
    }

    /// Adds a frame that wants the stamp of this turn.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buffer.len();
        write(&mut self.buffer);
        self.count(UNSEALED, self.buffer.len() - before);
    }

    /// Adds the good end of a registry request, which names the revision of the seal.
    pub(super) fn add_registered(&mut self, id: u64) {
        self.registered.push((self.buffer.len(), id));
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
        self.note_held();
    }

    /// The turn is sealed with `revision`.
    pub(super) fn seal(&mut self, revision: u64, registered: impl Fn(u64, &mut Vec<u8>)) {
        if !self.registered.is_empty() {
            self.put_in(registered);
        }
        let behind = self.runs.iter_mut().rev();
        let behind = behind.filter(|run| run.stamp == UNSEALED);
        for run in behind.take(self.unsealed) {
            run.stamp = revision;
        }
        self.unsealed = 0;
    }

    /// Puts the ends of registry requests where they belong: all that stands behind the first is laid anew.
    fn put_in(&mut self, registered: impl Fn(u64, &mut Vec<u8>)) {
        let mut ends = std::mem::take(&mut self.registered);
        let first = ends[0].0;
        let laid = self.buffer.split_off(first);
        let (mut run, mut from) = (0, 0);
        // Where the runs end, before anything is put in.
        let mut run_end = self.at + self.begun + self.runs[0].bytes;
        for (place, id) in ends.drain(..) {
            // An end that stands between two runs belongs to the unsealed one of them.
            while place > run_end || place == run_end && self.runs[run].stamp != UNSEALED {
                run += 1;
                run_end += self.runs[run].bytes;
            }
            self.buffer.extend_from_slice(&laid[from..place - first]);
            from = place - first;
            let before = self.buffer.len();
            registered(id, &mut self.buffer);
            self.runs[run].bytes += self.buffer.len() - before;
        }
        self.buffer.extend_from_slice(&laid[from..]);
        self.registered = ends;
        self.note_held();
    }

    /// Forgets all but the rest of a frame that was begun.
    pub(super) fn drop_waiting(&mut self) {
        self.buffer.truncate(self.at + self.begun);
        self.runs.clear();
        self.registered.clear();
        self.unsealed = 0;
        self.note_held();
    }

    /// Of `written` bytes, those that complete the begun frame. Returns how many that are.
    pub(super) fn take_begun(&mut self, written: usize) -> usize {
        let taken = written.min(self.begun);
        self.begun -= taken;
        self.step(taken);
        taken
    }

    /// `written` bytes were taken, of the first run and perhaps of what follows it. Returns of how many frames of
    /// this run the first byte was among them.
    pub(super) fn take_run(&mut self, written: usize) -> u64 {
        let run = self.runs.pop_front().expect("a run was offered");
        if written >= run.bytes {
            self.step(run.bytes);
            return run.frames;
        }
        // Up to the end of the frame in which the write ended.
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
        self.step(written);
        frames
    }

    /// So many bytes at the front are written.
    fn step(&mut self, written: usize) {
        self.at += written;
        if self.at >= CUT_OFF && self.at >= self.buffer.len() / 2 && self.registered.is_empty() {
            self.buffer.drain(..self.at);
            self.at = 0;
            // A burst leaves no more than twice of what still waits behind.
            let room = 2 * self.buffer.len().max(ROOM_KEPT);
            if self.buffer.capacity() > 2 * room {
                self.buffer.shrink_to(room);
            }
        }
        self.note_held();
    }
}

/// Emptied buffers, for whoever has the next frame: an idle connection owns none, and a busy one does not allocate
/// one for each answer.
#[derive(Debug, Default)]
pub(super) struct Spare {
    #[allow(clippy::vec_box)] // They move between here and the connections as they are.
    kept: Vec<Box<Own>>,
    /// What all connections together are owed.
    account: Account,
}

/// Buffers that are kept, and the bytes and runs that each has room for, at most: 1 MiB in all, and some.
const SPARE_MAX: usize = 64;
const ROOM_KEPT: usize = 16 * 1024;
const RUNS_KEPT: usize = 16;

impl Spare {
    /// An empty buffer.
    #[allow(clippy::unnecessary_box_returns)] // As it is kept, and as it is owned.
    pub(super) fn take(&mut self) -> Box<Own> {
        let new = || Box::new(Own::new(&self.account));
        self.kept.pop().unwrap_or_else(new)
    }

    /// Bytes that wait to be read by all connections.
    pub(super) fn waiting(&self) -> usize {
        self.account.total()
    }

    /// A part of these, for so many bytes.
    pub(super) fn share(&self, bytes: usize) -> Share {
        let mut share = self.account.share();
        share.set(bytes);
        share
    }

    /// Keeps the memory of a buffer that holds nothing, unless there is enough of it.
    pub(super) fn keep(&mut self, mut own: Box<Own>) {
        debug_assert!(own.is_empty() && own.registered.is_empty());
        let small = own.buffer.capacity() <= ROOM_KEPT
            && own.runs.capacity() <= RUNS_KEPT
            && own.registered.capacity() <= RUNS_KEPT;
        if self.kept.len() < SPARE_MAX && small {
            own.buffer.clear();
            own.at = 0;
            self.kept.push(own);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Vec<u8> {
        vec![0, 0, 0, 2, byte, byte]
    }

    /// The good end of a request, of a length of its own.
    fn end(id: u64, out: &mut Vec<u8>) {
        let body = vec![0xee; id as usize];
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&body);
    }

    #[test]
    fn the_ends_of_requests_stand_where_they_were_said() {
        for pattern in 0..3_u32.pow(7) {
            let mut own = Own::new(&Account::default());
            let mut want = Vec::new();
            // What an earlier turn left, of which some is written.
            own.add(|out| out.extend_from_slice(&frame(9)));
            own.seal(1, |_, _| unreachable!());
            own.take_run(3);
            want.extend_from_slice(&frame(9)[3..]);
            let mut unsealed = 0;
            for place in 0..7 {
                match pattern / 3_u32.pow(place) % 3 {
                    0 => {
                        own.add_any_time(&frame(1));
                        want.extend_from_slice(&frame(1));
                    }
                    1 => {
                        own.add(|out| out.extend_from_slice(&frame(2)));
                        want.extend_from_slice(&frame(2));
                        unsealed += 6;
                    }
                    _ => {
                        let id = u64::from(place) + 2;
                        own.add_registered(id);
                        let before = want.len();
                        end(id, &mut want);
                        unsealed += want.len() - before;
                    }
                }
            }
            own.seal(2, end);
            assert_eq!(own.waiting(), want, "{pattern}");
            let runs = (0..own.runs()).map(|index| own.run(index).expect("sealed"));
            let stamped = runs.filter(|(stamp, _)| *stamp == 2);
            assert_eq!(stamped.map(|(_, bytes)| bytes).sum::<usize>(), unsealed);
        }
    }

    #[test]
    fn what_was_written_is_cut_off_and_a_burst_gives_its_memory_back() {
        let mut own = Own::new(&Account::default());
        for _ in 0..100_000 {
            own.add_any_time(&frame(1));
        }
        let mut frames = 0;
        while !own.is_empty() {
            let taken = own.take_begun(1_000);
            if own.begun() == 0 && own.runs() > 0 {
                frames += own.take_run(1_000 - taken);
            }
            assert!(own.buffer.len() <= 2 * own.waiting().len() + 2 * CUT_OFF);
            assert!(own.buffer.capacity() <= 8 * own.waiting().len().max(ROOM_KEPT));
        }
        assert_eq!(frames, 100_000);
    }

    #[test]
    fn what_is_kept_of_emptied_buffers_is_bounded() {
        let mut spare = Spare::default();
        for count in 0..2 * SPARE_MAX {
            let mut own = Box::new(Own::new(&Account::default()));
            for _ in 0..=40 * count {
                own.add_any_time(&frame(1));
            }
            let bytes = own.waiting().len();
            own.take_run(bytes);
            spare.keep(own);
        }
        assert!(spare.kept.len() <= SPARE_MAX);
        let mut rooms = spare.kept.iter().map(|own| own.buffer.capacity());
        assert!(rooms.all(|room| room <= ROOM_KEPT));
    }
}
