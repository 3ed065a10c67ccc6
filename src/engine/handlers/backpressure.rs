//! Backpressure: the budget of changes and work of each connection, and the limits on memory over all connections. Over
//! such a limit the connection at fault is closed, or its batch fails; each walk over the connections ends one at least.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::connection::session::Sender;
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::Refusal;
use crate::engine::user_key::UserKey;
use crate::engine::work::WORK_PER_PERCENT;
use crate::limits::Limits;
use crate::protocol::Code;

use super::quota::has_part;

/// How far a connection may be ahead of its budget, in microseconds: one second's worth.
pub(super) const BUDGET_BURST: u64 = 1_000_000;

/// Outboxes may hold this many times their limit within a turn, before their readers were asked to read.
const OUTBOUND_WITHIN_TURN: u64 = 2;

impl Engine {
    // Budgets.

    /// The sender changed the board: it pays for this turn's revision.
    pub(super) fn mark_changer(&mut self, from: Sender) {
        if let Some(conn) = self.connections.get_mut(from.conn) {
            self.run.note_changer(conn.user());
            self.input.mark_changer(conn);
        }
    }

    /// Charges a connection for a revision.
    pub(super) fn charge_change(&mut self, id: ConnId, now: Time) {
        let rate = self.config.limits.changes_per_second;
        self.charge(id, 1, rate, Limits::FLAGS.changes_per_second, now);
    }

    /// Charges a connection for the work of its frames, whatever came of them: requests that are refused, or undone in
    /// the same turn, keep the others waiting for as long.
    pub(super) fn charge_work(&mut self, id: ConnId, work: u64, now: Time) {
        let share = self.config.limits.max_share;
        let rate = share.saturating_mul(WORK_PER_PERCENT);
        self.charge(id, work, rate, Limits::FLAGS.max_share, now);
    }

    /// Spends `count` units of a connection's budget, at `rate` units a second. If that overdraws it, the connection is
    /// not read, nor are its deferred bytes handled, until half of the burst has refilled.
    fn charge(&mut self, id: ConnId, count: u64, rate: u64, flag: &'static str, now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.budget_mut().spend(count, rate, BUDGET_BURST, now) {
            if !std::mem::replace(&mut conn.pause_mut().budget, true) {
                self.count_limited(id, flag);
            }
            self.arm(id, now);
        }
    }

    // Memory of all connections.

    /// Closes connections while the outboxes hold too much: of the users that hold more than their part, the one that has
    /// been blocked for longest first, if it has its share or more. A slow reader was blocked a moment ago only. A
    /// connection that was not offered its bytes yet, since all of them came in this turn, is closed only if the outboxes
    /// hold twice as much as they may.
    pub(super) fn limit_outbound(&mut self, now: Time) {
        let limit = self.config.limits.max_outbound_total;
        if self.output.waiting() as u64 <= limit {
            return;
        }
        let mut of_users: BTreeMap<UserKey, usize> = BTreeMap::new();
        for conn in self.connections.iter() {
            *of_users.entry(conn.user()).or_default() += conn.outbox().bytes();
        }
        let share = self.output.waiting() / self.connections.len().max(1);
        let holders = self.connections.iter();
        let holders = holders.filter(|conn| conn.outbox().bytes() >= share);
        let mut holders: Vec<_> = holders
            .map(|conn| {
                let since = conn.blocked_since().unwrap_or(Time(u64::MAX));
                let bytes = Reverse(conn.outbox().bytes());
                (since, bytes, conn.id(), conn.user())
            })
            .collect();
        holders.sort_unstable();
        for (since, Reverse(bytes), id, user) in holders {
            let is_blocked = since != Time(u64::MAX);
            let most = if is_blocked {
                limit
            } else {
                limit.saturating_mul(OUTBOUND_WITHIN_TURN)
            };
            let used = self.output.waiting() as u64;
            if used <= most {
                return;
            }
            let own = of_users.entry(user).or_default();
            if has_part(limit, used, *own as u64, 0) {
                continue;
            }
            *own = own.saturating_sub(bytes);
            self.drop_outbox(id, now);
        }
    }

    /// Closes a connection whose outbox takes too much.
    fn drop_outbox(&mut self, id: ConnId, now: Time) {
        let (flag, limit) = (
            Limits::FLAGS.max_outbound_total,
            self.config.limits.max_outbound_total,
        );
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.is_leaving() {
            self.count_limited(id, flag);
            self.remove(id);
            return;
        }
        // Its GOODBYE would wait behind what it does not read.
        conn.outbox_mut().discard_waiting();
        let message = format!(
            "the outboxes hold more than {limit} bytes, and this one has its share or more"
        );
        let refusal = Refusal::over(flag, Code::TooSlow, &message);
        self.close_refused(id, &refusal, now);
    }

    /// Whether the outboxes of the user of a connection hold no more than its part.
    pub(super) fn has_outbound_part(&self, id: ConnId) -> bool {
        let (used, limit) = (
            self.output.waiting() as u64,
            self.config.limits.max_outbound_total,
        );
        if used <= limit {
            return true;
        }
        let own: usize = self.siblings(id).map(|conn| conn.outbox().bytes()).sum();
        has_part(limit, used, own as u64, 0)
    }

    /// Whether `bytes` more may be added to the outboxes. If not, the frame is refused: else its receiver could be
    /// closed for what another connection sends it, before it was offered any of it.
    pub(super) fn fits_outbound(&self, bytes: usize) -> bool {
        let limit = self.config.limits.max_outbound_total;
        (self.output.waiting() + bytes) as u64 <= limit.saturating_mul(OUTBOUND_WITHIN_TURN)
    }

    /// Closes connections while incomplete frames take too much: of the user who holds the most, the one whose frame began
    /// first.
    pub(super) fn limit_partial(&mut self, now: Time) {
        let limit = self.config.limits.max_partial;
        while self.input.partial().total() as u64 > limit {
            let first = self.first_of_heaviest(|conn| {
                let unread = conn.unread().filter(|it| it.bytes() > 0)?;
                Some((unread.since(), unread.bytes()))
            });
            let Some(id) = first else { return };
            let message = format!(
                "incomplete frames take more than {limit} bytes; yours is the oldest of the user who holds the most"
            );
            let flag = Limits::FLAGS.max_partial;
            let refusal = Refusal::over(flag, Code::FrameTimeout, &message);
            self.close_refused(id, &refusal, now);
        }
    }

    /// Fails batches while incomplete ones take too much: of the user who holds the most, the one that began first.
    pub(super) fn limit_batches(&mut self) {
        let limit = self.config.limits.max_batches;
        while self.input.batches().total() as u64 > limit {
            let first = self.first_of_heaviest(|conn| {
                let batch = conn.batch().filter(|it| !it.has_failed())?;
                Some((batch.since(), batch.held()))
            });
            let Some(id) = first else { return };
            self.fail_batch(id, limit);
        }
    }

    /// Of the user whose connections hold the most of something, the connection that has held some for longest. `held`
    /// says since when, and how many bytes.
    fn first_of_heaviest(
        &self,
        held: impl Fn(&Connection) -> Option<(Time, usize)>,
    ) -> Option<ConnId> {
        let mut of_users: BTreeMap<UserKey, (usize, Option<(Time, ConnId)>)> = BTreeMap::new();
        for conn in self.connections.iter() {
            let Some((since, bytes)) = held(conn) else {
                continue;
            };
            let (total, first) = of_users.entry(conn.user()).or_default();
            *total += bytes;
            *first = (*first).into_iter().chain([(since, conn.id())]).min();
        }
        let heaviest = of_users.into_values().max_by_key(|(total, _)| *total);
        heaviest.and_then(|(_, first)| first).map(|(_, id)| id)
    }

    fn fail_batch(&mut self, id: ConnId, limit: u64) {
        let conn = self.connections.get_mut(id);
        if let Some(batch) = conn.and_then(Connection::batch_mut) {
            let message = format!(
                "incomplete batches take more than {limit} bytes; yours is the oldest of the user who holds the most"
            );
            let flag = Limits::FLAGS.max_batches;
            batch.fail(Refusal::over(flag, Code::Overloaded, &message));
        }
    }
}
