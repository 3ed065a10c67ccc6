//! What a worker of the simulation works with, beside itself: the network, the time, the dice. Decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::board::SharedHistory;
use crate::call_oracle::CallOracle;
use crate::filter::Filter;
use crate::network::Wire;
use crate::rng::Rng;

/// The world around a worker in one turn.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent traits of a turn"
)]
pub(crate) struct Context<'a> {
    pub wires: &'a mut BTreeMap<u64, Wire>,
    pub oracle: &'a mut CallOracle,
    pub histories: &'a BTreeMap<u64, SharedHistory>,
    /// By wire: behind how many bytes of the engine's a view is by which filter.
    pub filters: &'a BTreeMap<u64, Vec<(u64, Filter)>>,
    pub rng: &'a mut Rng,
    pub now: u64,
    pub start: Instant,
    /// Nothing goes wrong any more.
    pub quiescent: bool,
    /// All that is there is read and written in this turn.
    pub at_once: bool,
    /// Names, entries and metadata are large.
    pub large: bool,
    /// Strangers may say more than the engine can handle.
    pub floods: bool,
    pub engine_is_up: bool,
    /// It was told to stop.
    pub engine_stops: bool,
    pub buffers: &'a [usize],
    pub slowness: &'a [u64],
    pub next_wire: &'a mut u64,
}

impl Context<'_> {
    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    /// A new wire to the engine.
    pub(crate) fn dial(&mut self, not_before: u64) -> u64 {
        let capacity = if self.quiescent {
            1 << 20
        } else {
            self.rng.pick(self.buffers)
        };
        let slowest = if self.quiescent {
            1
        } else {
            self.rng.pick(self.slowness)
        };
        let arrives = self.now + self.rng.between(0..slowest + 1);
        let wire = Wire::new(capacity, (0, slowest), arrives.max(not_before));
        *self.next_wire += 1;
        self.wires.insert(*self.next_wire, wire);
        *self.next_wire
    }
}
