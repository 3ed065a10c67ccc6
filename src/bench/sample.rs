//! The engine's counters and its use of the machine at one moment. Two samples make a
//! [`ResourceUse`](super::ResourceUse).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The counters of `engine::stats` that measurements use; a missing one is 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Revisions sealed, of all namespaces.
    pub revisions: u64,
    /// Times that changes were encoded.
    pub encodings: u64,
    /// Snapshot pages encoded.
    pub pages_encoded: u64,
    /// Frames read.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Snapshots begun, by reason.
    pub resyncs: BTreeMap<String, u64>,
    /// How often each limit was met.
    pub limited: BTreeMap<String, u64>,
}

/// The engine's counters and its use of the machine at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// `None` if the engine does not tell this connection.
    pub counters: Option<Counters>,
    /// Processor time of this program so far.
    pub load_cpu: Option<Duration>,
    /// Processor time of the engine; `None` if its process is unknown.
    pub cpu: Option<Duration>,
    /// Memory of the engine in bytes; `None` if its process is unknown.
    pub memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_gives_is_read_whatever_else_it_counts() {
        let stats = stats_of_an_engine();
        let counters: Counters = rmp_serde::from_slice(&stats).unwrap();
        assert_eq!((counters.revisions, counters.encodings), (5, 3));
        assert_eq!(counters.limited["changes-per-second"], 2);
        let empty: Counters = rmp_serde::from_slice(b"\x80").unwrap();
        assert_eq!(empty, Counters::default());
    }

    /// Statistics as an engine encodes them, with a counter that this version does not know.
    fn stats_of_an_engine() -> Vec<u8> {
        rmp_serde::to_vec_named(&serde_json::json!({
            "connections": 1, "revisions": 5, "encodings": 3, "changes": {"added": 2},
            "limited": {"changes-per-second": 2}, "newer": [1, {"a": null}],
        }))
        .unwrap()
    }
}
