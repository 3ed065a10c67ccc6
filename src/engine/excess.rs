//! Who has to go when all connections together hold too much: replies that nobody reads, frames that nobody
//! ends, batches that nobody completes. Each walk over the connections ends one of them at least.

use std::cmp::Reverse;

use super::refusal::Refusal;
use super::{ConnId, Engine, Time, live};
use crate::limits::Limits;
use crate::protocol::Code;

/// How many times as much as may wait for long may wait within a turn, before anybody was asked to read it.
const AT_ONCE: u64 = 2;

impl Engine {
    /// What waits to be read: of those who hold their share or more, the one that has read nothing for longest
    /// goes first. One that reads, however slowly, was blocked a moment ago only. One that was not offered yet
    /// what waits, because all of it came in this turn, can't be blamed: it goes only where it is twice as
    /// much as may be.
    pub(super) fn bound_outbound(&mut self, now: Time) {
        let limit = self.config.limits.max_outbound_total;
        if self.spare.waiting() as u64 <= limit {
            return;
        }
        let share = self.spare.waiting() / self.connected.max(1);
        let holders = self.connections.iter().flatten();
        let holders = holders.filter(|conn| conn.outbox.bytes() >= share);
        let mut holders: Vec<_> = holders
            .map(|conn| {
                let since = conn.blocked_since.unwrap_or(Time(u64::MAX));
                (since, Reverse(conn.outbox.bytes()), conn.id)
            })
            .collect();
        holders.sort_unstable();
        for (since, _, id) in holders {
            let is_blocked = since != Time(u64::MAX);
            let most = if is_blocked {
                limit
            } else {
                limit.saturating_mul(AT_ONCE)
            };
            if self.spare.waiting() as u64 <= most {
                return;
            }
            let Some(conn) = live(&mut self.connections, id) else {
                continue;
            };
            if conn.is_leaving() {
                self.stats.count_limited(Limits::FLAGS.max_outbound_total);
                self.remove(id);
                continue;
            }
            // Or its GOODBYE would wait behind what it does not read.
            conn.outbox.drop_waiting();
            let flag = Limits::FLAGS.max_outbound_total;
            let message = format!("{limit} bytes wait to be read, much of it here");
            let refusal = Refusal::over(flag, Code::TooSlow, &message);
            self.turn_away(id, &refusal, now);
        }
    }

    /// Whether a frame of so many bytes may be added to what waits. If not, whoever it is for could be ended for
    /// what another sends it, before it was offered any of it: the frame is refused instead.
    pub(super) fn fits_outbound(&self, bytes: usize) -> bool {
        let most = self.config.limits.max_outbound_total;
        (self.spare.waiting() + bytes) as u64 <= most.saturating_mul(AT_ONCE)
    }

    /// Unfinished frames: the one that was begun first goes.
    pub(super) fn bound_partial(&mut self, now: Time) {
        let limit = self.config.limits.max_partial;
        while self.partial.total() as u64 > limit {
            let holders = self.connections.iter().flatten();
            let holders = holders.filter(|conn| conn.unhandled() > 0);
            let first = holders.filter_map(|conn| Some((conn.unread.as_ref()?.since, conn.id)));
            let first = first.min();
            let Some((_, id)) = first else { return };
            let message = format!("over {limit} bytes of frames are unfinished; yours for longest");
            let flag = Limits::FLAGS.max_partial;
            let refusal = Refusal::over(flag, Code::FrameTimeout, &message);
            self.turn_away(id, &refusal, now);
        }
    }

    /// Batches of which more is awaited: the one that was begun first fails when its end comes.
    pub(super) fn bound_batches(&mut self) {
        let limit = self.config.limits.max_batches;
        while self.batches.total() as u64 > limit {
            let holders = self.connections.iter().flatten();
            let batches = holders.filter_map(|conn| Some((conn.batch.as_deref()?, conn.id)));
            let batches = batches.filter(|(batch, _)| batch.failure.is_none());
            let first = batches.map(|(batch, id)| (batch.since, id)).min();
            let Some((_, id)) = first else { return };
            self.fail_batch(id, limit);
        }
    }

    fn fail_batch(&mut self, id: ConnId, limit: u64) {
        let conn = live(&mut self.connections, id);
        if let Some(batch) = conn.and_then(|conn| conn.batch.as_deref_mut()) {
            let message =
                format!("over {limit} bytes of batches await their end; yours for longest");
            let flag = Limits::FLAGS.max_batches;
            batch.fail(Refusal::over(flag, Code::Overloaded, &message));
        }
    }
}
