//! What the engine counts about itself.

use std::collections::BTreeMap;

use super::Engine;
use super::outbox::Stream;

/// Counters since the start, and gauges of now. Bytes are what the engine itself accounts for, without
/// the allocator's overhead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections now, those that are being closed included.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Functions on all boards now.
    pub functions: u64,
    /// Workers that provide something now.
    pub workers: u64,
    /// Revisions sealed.
    pub revisions: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Frames written, begun ones included.
    pub frames_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Times that changes were encoded for an audience. A change to any number of watchers with the same
    /// watch is encoded once.
    pub encodings: u64,
    /// Snapshot pages encoded.
    pub pages_encoded: u64,
    /// Snapshots begun, by reason.
    pub snapshots: BTreeMap<&'static str, u64>,
    /// Frames of kinds that the engine does not know.
    pub unknown_frames: u64,
    /// Answers nobody waits for, and other frames without effect.
    pub dropped_frames: u64,
    /// Connections ended, by code.
    pub closed: BTreeMap<&'static str, u64>,
    /// Bytes of all change logs now.
    pub log_bytes: u64,
    /// Bytes of encoded frames and snapshot pages kept now.
    pub cache_bytes: u64,
    /// Bytes of frames for single connections that wait to be written now.
    pub outbound_bytes: u64,
    /// Bytes of unfinished frames held now.
    pub partial_bytes: u64,
    /// Connections that have not yet been sent all changes now.
    pub behind: u64,
}

impl Engine {
    /// The counters and gauges of now. Costs a walk over all connections.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.connections = self.connected as u64;
        for (_, namespace) in &self.namespaces {
            stats.functions += namespace.board.len() as u64;
            stats.workers += namespace.roster.len() as u64;
            stats.log_bytes += namespace.log.bytes() as u64;
            stats.cache_bytes += (namespace.encoded_bytes() + namespace.pages.bytes()) as u64;
            stats.pages_encoded += namespace.pages.encoded;
        }
        for conn in self.connections.iter().flatten() {
            stats.outbound_bytes += conn.outbox.bytes() as u64;
            stats.partial_bytes += conn.inbox.held() as u64;
            let Some(identity) = &conn.identity else {
                continue;
            };
            let Some((audience, _)) = identity.audience else {
                continue;
            };
            let last = self.namespaces[identity.namespace].audiences[audience].last;
            let up_to_date = matches!(
                &conn.outbox.stream, Stream::Changes(position) if position.at >= last
            );
            stats.behind += u64::from(!up_to_date);
        }
        stats
    }
}
