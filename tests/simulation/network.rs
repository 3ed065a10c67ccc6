//! The virtual network: a wire for each connection, with a pipe in either direction. A pipe splits what is
//! written, delays it, holds only so much, may lose everything from some byte on, and may end with a word or
//! without one. It never looks into what it carries.

use std::collections::VecDeque;

/// How a pipe ends for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind the last byte.
    Closed,
    /// Broken: by a reset.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    /// When they arrive, and what.
    parcels: VecDeque<(u64, Vec<u8>)>,
    /// Bytes in it.
    held: usize,
    /// Bytes that it takes.
    pub capacity: usize,
    /// When the last parcel arrives.
    last: u64,
    end: Option<(u64, End)>,
    /// Bytes written from now on are lost, and the writer may not know.
    lost: bool,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self {
            parcels: VecDeque::new(),
            held: 0,
            capacity,
            last: 0,
            end: None,
            lost: false,
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.held)
    }

    pub(crate) fn write(&mut self, bytes: &[u8], arrives: u64) {
        self.held += bytes.len();
        if self.lost || bytes.is_empty() {
            return;
        }
        self.last = self.last.max(arrives);
        self.parcels.push_back((self.last, bytes.to_vec()));
    }

    /// Bytes that have arrived.
    pub(crate) fn arrived(&self, now: u64) -> usize {
        let there = self.parcels.iter().take_while(|(at, _)| *at <= now);
        there.map(|(_, bytes)| bytes.len()).sum()
    }

    /// Takes up to `most` bytes out that have arrived.
    pub(crate) fn read(&mut self, now: u64, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some((at, bytes)) = self.parcels.front_mut() {
            if *at > now || taken.len() == most {
                break;
            }
            let n = bytes.len().min(most - taken.len());
            taken.extend(bytes.drain(..n));
            if bytes.is_empty() {
                self.parcels.pop_front();
            }
        }
        self.held -= taken.len();
        taken
    }

    /// Whether the reader has come to the end, and which.
    pub(crate) fn ended(&self, now: u64) -> Option<End> {
        let (at, end) = self.end?;
        (at <= now && self.arrived(now) == 0).then_some(end)
    }

    /// The reader can know that it ends: behind what has arrived, or at once.
    pub(crate) fn is_ending(&self, now: u64) -> bool {
        self.end.is_some_and(|(at, _)| at <= now)
    }

    /// The writer closes it.
    pub(crate) fn close(&mut self, arrives: u64) {
        if self.end.is_none() && !self.lost {
            self.last = self.last.max(arrives);
            self.end = Some((self.last, End::Closed));
        }
    }

    /// Of what is under way only `keep` bytes arrive, and nothing after them. The reader is told `when`, or
    /// never.
    pub(crate) fn cut(&mut self, keep: usize, when: Option<u64>) {
        self.lost = true;
        let mut left = keep;
        for (_, bytes) in &mut self.parcels {
            bytes.truncate(left);
            left -= bytes.len();
        }
        self.parcels.retain(|(_, bytes)| !bytes.is_empty());
        let last = self.parcels.back().map_or(0, |(at, _)| *at);
        self.end = when.map(|at| (at.max(last), End::Broken));
    }

    /// Bytes under way.
    pub(crate) fn under_way(&self) -> usize {
        self.parcels.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// When something arrives next that has not yet.
    pub(crate) fn next(&self, now: u64) -> Option<u64> {
        let parcels = self.parcels.iter().map(|(at, _)| *at);
        let times = parcels.chain(self.end.map(|(at, _)| at));
        times.filter(|at| *at > now).min()
    }
}

/// The engine's end of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// It arrives then.
    Dialling(u64),
    /// The engine knows it under this token.
    Taken(u64),
    /// The engine dropped it.
    Gone,
}

/// A connection as the network has it.
#[derive(Debug)]
pub(crate) struct Wire {
    /// To the engine.
    pub up: Pipe,
    /// From the engine.
    pub down: Pipe,
    pub far: Far,
    /// Microseconds that a parcel takes, at least and at most.
    pub delay: (u64, u64),
    /// The cable is pulled: both directions end somewhere, and an end may not be told.
    pub is_cut: bool,
    /// The worker's end is no more.
    pub near_gone: bool,
}

impl Wire {
    pub(crate) fn new(capacity: usize, delay: (u64, u64), arrives: u64) -> Self {
        Self {
            up: Pipe::new(capacity),
            down: Pipe::new(capacity),
            far: Far::Dialling(arrives),
            delay,
            is_cut: false,
            near_gone: false,
        }
    }
}
