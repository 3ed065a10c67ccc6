//! Reports: the counters and gauges of the engine, and the size of its boards.

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::interface::ConnId;
use crate::engine::metrics::size::Size;
use crate::engine::metrics::stats::Stats;
use crate::engine::metrics::turn_times::Turn;
use crate::engine::refusal::Refusal;
use crate::engine::registry::namespace::DEFAULT_NAMESPACE;
use crate::engine::registry::position::Stream;

impl Engine {
    /// Because of a connection, a limit was met.
    pub(super) fn count_limited(&mut self, id: ConnId, flag: &'static str) {
        self.metrics.count_limited(flag);
        self.count_pressure(id, flag);
    }

    /// Counts the limit that a connection met, if that is why it is refused something.
    pub(super) fn count_refusal(&mut self, id: ConnId, refusal: &Refusal) {
        if let Some(flag) = refusal.limit() {
            self.count_limited(id, flag);
        }
    }

    pub(super) fn count_pressure(&mut self, id: ConnId, flag: &'static str) {
        let user = self.connections.get(id).map(Connection::user);
        if let Some(user) = user {
            self.users.count_limited(user, flag);
        }
    }

    /// The shell finished a turn, whose wait for events does not count.
    pub fn note_turn(&mut self, turn: Turn) {
        self.metrics.record_turn(turn);
    }

    /// The size of the boards. Costs a walk over the namespaces.
    #[must_use]
    pub fn size(&self) -> Size {
        let mut size = Size {
            connections: self.connections.len() as u64,
            ..Size::default()
        };
        for namespace in self.registry.iter() {
            size.functions += namespace.board().len() as u64;
            size.workers += namespace.roster().len() as u64;
        }
        size
    }

    /// The counters and gauges. Costs a walk over all connections, once a turn.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_for(self.registry.find(DEFAULT_NAMESPACE))
    }

    /// As [`Engine::stats`], for an asker in this namespace.
    pub(super) fn stats_for(&self, namespace: Option<usize>) -> Stats {
        let mut stats = self.metrics.counters();
        stats.connections = self.connections.len() as u64;
        stats.greeting = self.admission.greeting();
        stats.namespaces = self.registry.len() as u64;
        stats.revision = namespace.map_or(0, |key| self.registry[key].revision());
        stats.calls = self.calls.len() as u64;
        stats.parked = self.calls.parked() as u64;
        stats.retained_bytes = self.calls.retained() as u64;
        stats.outbound_bytes = self.output.waiting() as u64;
        stats.partial_bytes = self.input.partial().total() as u64;
        stats.limited_by = self.users.pressure().report();
        stats.batch_bytes = self.input.batches().total() as u64;
        stats.memory_bytes = self.counted_memory();
        let costly = self.metrics.costly(|| self.count_behind());
        stats.behind = costly.behind;
        let turns = costly.turns;
        stats.turn_us = turns.turn_us;
        stats.recent_turn_us = turns.recent_turn_us;
        stats.flush_us = turns.flush_us;
        stats.recent_flush_us = turns.recent_flush_us;
        stats.recent_frames_read = turns.recent_frames_read;
        stats.recent_writes = turns.recent_writes;
        stats.recent_write_bytes = turns.recent_write_bytes;
        for namespace in self.registry.iter() {
            let (pages, cached) = (namespace.pages(), namespace.cached_bytes());
            stats.functions += namespace.board().len() as u64;
            stats.workers += namespace.roster().len() as u64;
            stats.bindings += namespace.bindings().len() as u64;
            stats.audiences += namespace.audiences() as u64;
            stats.log_bytes += namespace.log().bytes() as u64;
            stats.cache_bytes += (cached + pages.bytes()) as u64;
            stats.pages_encoded += pages.encoded();
        }
        stats
    }

    /// Connections that have not been sent all changes.
    fn count_behind(&self) -> u64 {
        let is_behind = |conn: &&Connection| {
            let Some((namespace, (audience, _))) = conn.audience() else {
                return false;
            };
            let last = self.registry[namespace].audience(audience).last();
            !matches!(conn.outbox().stream(), Stream::Changes(it) if it.at >= last)
        };
        self.connections.iter().filter(is_behind).count() as u64
    }
}
