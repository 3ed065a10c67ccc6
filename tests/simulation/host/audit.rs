//! What the engine counts, held against the model and the limits: in every turn, at rest, and when all have gone.

use callboard::engine::Stats;

use super::Host;
use crate::journal::hold;

impl Host {
    /// The model knows why each connection ended.
    pub(super) fn assert_ends_known(&self, stats: &Stats) {
        if self.engine_model.stopping {
            return;
        }
        let counted = stats.closed.iter().map(|(code, count)| (*code, *count));
        let known = self
            .engine_model
            .closed
            .iter()
            .map(|(code, count)| (&**code, *count));
        hold!(
            counted.clone().eq(known.clone()),
            "nobody is sent away without a reason",
            "{:?} instead of {:?}",
            counted.collect::<Vec<_>>(),
            known.collect::<Vec<_>>()
        );
    }

    /// What the engine accounts for stays within its limits.
    pub(super) fn assert_within_limits(&mut self, stats: &Stats) {
        let limits = &self.engine_model.limits;
        for board in self.engine_model.namespaces.values() {
            let largest = board.history.borrow().last_weight();
            self.largest_step = self.largest_step.max(largest);
        }
        let namespaces = self.engine_model.namespaces.len() as u64;
        let conns = self.conns.len() as u64;
        let places: usize = self.engine_model.peers.values().map(|it| it.capacity).sum();
        let places = places as u64;
        // A connection is not read any more beyond its limit; one read may bring so much.
        let outbound = limits.max_outbound.max(limits.max_backlog.min(4 << 20)) + (1 << 18);
        for (what, have, most) in [
            (
                "log_bytes",
                stats.log_bytes,
                namespaces * (limits.log_bytes + self.largest_step as u64),
            ),
            // Of a pool one user gets as much as the limit, and all together twice that.
            ("parked", stats.parked, 2 * limits.max_parked),
            (
                "retained_bytes",
                stats.retained_bytes,
                2 * limits.max_retained,
            ),
            // Those that wait for their ending, the abandoned ones, and what each worker may hold that held none before.
            ("calls", stats.calls, 3 * limits.max_calls_total + places),
            (
                "connections",
                stats.connections,
                limits.max_connections + conns,
            ),
            ("outbound_bytes", stats.outbound_bytes, conns * outbound),
            (
                "partial_bytes",
                stats.partial_bytes,
                conns * (limits.max_frame + 4),
            ),
        ] {
            hold!(
                have <= most,
                "memory stays within the limits",
                "{what}: {have} of {most}"
            );
        }
    }

    /// The engine named each connection that may be read again, also one that leaves: what it sent is discarded.
    pub(super) fn assert_resumed(&self) {
        for (token, conn) in &self.conns {
            hold!(
                !conn.held_back || conn.ended || !self.engine.wants_read(conn.id),
                "a connection that was not read is resumed",
                "connection {token:x} may be read, and the engine does not say so: {conn:?}"
            );
        }
    }

    /// When the network has come to rest: no connection is behind, and nothing is left over.
    pub(crate) fn assert_at_rest(&self) {
        let stats = self.engine.stats();
        let left = (
            (stats.calls, stats.parked, stats.retained_bytes),
            (stats.behind, stats.outbound_bytes, stats.partial_bytes),
        );
        hold!(
            left == ((0, 0, 0), (0, 0, 0)),
            "nothing is left over",
            "{stats:?} {:?} {:?} {:?}",
            self.conns,
            self.checkers,
            self.engine_model.peers
        );
        for (token, peer) in &self.engine_model.peers {
            hold!(
                peer.owed.is_empty() && peer.invoked.is_empty() && peer.untold == 0,
                "every request is answered exactly once, and who has other rights is told so",
                "connection {token:x} still waits: {peer:?}"
            );
        }
    }

    /// When all connections are closed: not even a timer.
    pub(crate) fn assert_empty(&self) {
        let stats = self.engine.stats();
        let left = [
            stats.connections,
            stats.functions,
            stats.workers,
            stats.bindings,
            stats.calls,
        ];
        hold!(left == [0; 5], "nothing is left over", "{stats:?}");
        let deadline = self.engine.next_deadline();
        hold!(
            deadline.is_none(),
            "nothing is left over",
            "a timer is: {deadline:?}"
        );
    }
}
