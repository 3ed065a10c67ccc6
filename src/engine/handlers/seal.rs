//! The seal: the end of a turn's input. The changes of each namespace become one revision, audiences are queued for it,
//! and replies get their stamp.

use crate::engine::Engine;
use crate::engine::interface::Time;
use crate::protocol::Outcome;

impl Engine {
    /// Ends a turn's input: the changes of each namespace become one revision, replies get their stamp.
    pub fn seal(&mut self, now: Time) {
        self.metrics.invalidate_costly();
        self.end_saturation(now);
        self.limit_outbound(now);
        let is_revision = self.seal_namespaces();
        // Calls add nothing that stays.
        if is_revision || self.registry.usage().caches.total() > 0 {
            self.limit_memory();
        }
        self.charge_changers(is_revision, now);
        self.run.settle_changes(is_revision);
        self.stamp_replies();
        self.run.end_turn();
        self.review.end_turn();
    }

    /// Seals all namespaces. Returns whether any has a new revision.
    fn seal_namespaces(&mut self) -> bool {
        let is_idle = self.output.is_idle();
        let mut concerned = self.registry.take_concerned();
        let mut is_revision = false;
        for key in 0..self.registry.keys_end() {
            let Some(namespace) = self.registry.get_mut(key) else {
                continue;
            };
            if is_idle {
                namespace.evict_cached();
            }
            // A draining engine sends no changes: its workers leave, and no view shall empty because of that.
            if !namespace.is_touched() || !self.lifecycle.is_running() {
                continue;
            }
            if namespace.seal(&mut concerned, self.metrics.changes()) {
                is_revision = true;
                self.metrics.count_revision();
            }
            let queue = self.output.queue();
            for audience in concerned.drain(..) {
                queue.push_audience(&mut self.registry, key, audience);
            }
        }
        self.registry.recycle_concerned(concerned);
        is_revision
    }

    /// Charges the connections that changed a board for this turn's revision, if there is one.
    fn charge_changers(&mut self, is_revision: bool, now: Time) {
        let mut changers = self.input.take_changers();
        for id in changers.drain(..) {
            if let Some(conn) = self.connections.get_mut(id) {
                conn.clear_changed_board();
                if is_revision {
                    self.charge_change(id, now);
                }
            }
        }
        self.input.recycle_changers(changers);
    }

    /// Stamps the own frames of this turn, and queues their connections.
    fn stamp_replies(&mut self) {
        let mut unsealed = self.output.take_unsealed();
        for id in unsealed.drain(..) {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            conn.clear_unsealed();
            let session = conn.last_session();
            let revision = session.map_or(0, |it| self.registry[it.namespace()].revision());
            let outbox = conn.outbox_mut();
            let is_acknowledgements_only = outbox.is_acknowledgements_only();
            outbox.seal(revision, |id, out| {
                Outcome::encode_acknowledgement(id, revision, out);
            });
            self.output.push_sealed(conn, is_acknowledgements_only);
            self.check_outbound(id);
        }
        self.output.recycle_unsealed(unsealed);
    }
}
