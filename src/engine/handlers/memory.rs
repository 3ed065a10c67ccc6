//! The ceiling of memory (`--max-memory`), for what stays: boards, logs, caches, connections. Near it caches go first, then
//! logs are trimmed, then what would add to it is refused. What is there stays. Pools of what passes have limits of their
//! own, which the ceiling lowers.

use crate::engine::Engine;
use crate::engine::ceiling::{CALL, CONNECTION};
use crate::engine::metrics::stats::Relief;
use crate::engine::refusal::Refusal;
use crate::limits::Limits;
use crate::protocol::Code;

/// The steps that each log keeps at a seal: its newest, which no reader has yet.
const STEPS_AT_SEAL: usize = 1;

impl Engine {
    /// Bytes of what stays.
    fn standing(&self) -> u64 {
        (self.registry.usage().total() + self.connections.len() * CONNECTION) as u64
    }

    /// All bytes that the engine counts as its own.
    pub(super) fn counted_memory(&self) -> u64 {
        let input = self.input.partial().total() + self.input.batches().total();
        let calls = self.calls.len() * CALL + self.calls.retained();
        self.standing() + (input + self.output.waiting() + calls) as u64
    }

    /// Frees memory if what stays came too near the ceiling.
    pub(super) fn limit_memory(&mut self) {
        self.make_room(0, self.ceiling.near, STEPS_AT_SEAL);
    }

    /// Checks that the boards may grow by so many bytes.
    pub(super) fn check_growth(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes == 0 || self.make_room(bytes, self.ceiling.near, 0) {
            return Ok(());
        }
        self.metrics.count_relief(Relief::GrowthRefused);
        let message = "the engine has no memory for more registrations";
        let flag = Limits::FLAGS.max_memory;
        Err(Refusal::over(flag, Code::Overloaded, message))
    }

    /// Checks that a worker may bring so many bytes with its HELLO.
    pub(super) fn check_newcomer(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.make_room(bytes, self.ceiling.standing, 0) {
            return Ok(());
        }
        self.metrics.count_relief(Relief::ConnectionRefused);
        let message = "the engine has no memory for one more worker";
        let flag = Limits::FLAGS.max_memory;
        Err(Refusal::over(flag, Code::TooManyConnections, message))
    }

    /// Frees memory until what stays leaves room for `more` bytes below `limit`: caches, then logs but for their newest
    /// `steps`. Returns whether there is room.
    fn make_room(&mut self, more: usize, limit: u64, steps: usize) -> bool {
        let excess = |it: &Self| (it.standing() + more as u64).saturating_sub(limit);
        if excess(self) == 0 {
            return true;
        }
        if self.registry.drop_caches() {
            self.metrics.count_relief(Relief::CachesDropped);
        }
        let left = excess(self) as usize;
        let kept = self.ceiling.logs as usize;
        if left > 0 && self.registry.trim_logs(left, kept, steps) {
            self.metrics.count_relief(Relief::LogsTrimmed);
        }
        excess(self) == 0
    }
}
