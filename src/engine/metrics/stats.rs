//! The counters and gauges of an engine, as `engine::stats` reports them. Values; counts nothing by itself.

use std::collections::BTreeMap;

use crate::engine::registry::change::Changes;

use super::turn_times::Percentiles;

/// Counters since the start, and gauges of now, as `engine::stats` gives them; `docs/PROTOCOL.md` lists the
/// keys, `docs/COUNTERS.md` what to do about them. Bytes are what the engine itself accounts for, without
/// the allocator's overhead.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Stats {
    /// Connections now, including those that are being closed.
    pub connections: u64,
    /// Connections now that have not said HELLO.
    pub greeting: u64,
    /// Namespaces now, including those without connections.
    pub namespaces: u64,
    /// Functions on all boards now.
    pub functions: u64,
    /// Workers that provide or bind something now.
    pub workers: u64,
    /// Bindings now.
    pub bindings: u64,
    /// Audiences of all namespaces now.
    pub audiences: u64,
    /// The revision of the asker's namespace; of `default` when the process itself asks.
    pub revision: u64,
    /// Connections that have not yet been sent all changes now.
    pub behind: u64,
    /// Calls in flight now, including those that a provider still holds after their ending.
    pub calls: u64,
    /// Parked calls now.
    pub parked: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Failed authentications: no token, an unknown one, or one of another namespace.
    pub failed_logins: u64,
    /// Connections ended, by code.
    pub closed: BTreeMap<&'static str, u64>,
    /// Frames read.
    pub frames_in: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Frames written, including partly written ones.
    pub frames_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Revisions sealed, of all namespaces.
    pub revisions: u64,
    /// Entries that they changed.
    pub changes: Changes,
    /// Times that changes were encoded for an audience. A change to any number of watchers with the same
    /// watch is encoded once.
    pub encodings: u64,
    /// Snapshot pages encoded.
    pub pages_encoded: u64,
    /// Snapshots started, by the reason that RESYNC gives.
    pub resyncs: BTreeMap<&'static str, u64>,
    /// Calls ended, by outcome: `result`, `failure` (the function's own), `caller_gone`, or an error code.
    pub endings: BTreeMap<&'static str, u64>,
    /// Casts delivered to a provider.
    pub casts: u64,
    /// Inputs dropped without an answer, by reason: see [`Dropped`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Requests other than calls that failed, by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// How often each limit was met, by its flag. Limits that merely set a pace (`ping-after`, `settling`,
    /// buffers of the kernel) are not counted.
    pub limited: BTreeMap<&'static str, u64>,
    /// The same by user: `principal` and its name, an address, a network of IPv6, or `uid` and its number. At most 256
    /// users; further ones count together as `others`. A user that is gone stays.
    pub limited_by: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Turns of the loop.
    pub turns: u64,
    /// Their duration since the start, in microseconds.
    pub turn_us: Percentiles,
    /// Their duration in the last one to two minutes.
    pub recent_turn_us: Percentiles,
    /// The duration of the writes in them since the start.
    pub flush_us: Percentiles,
    /// The duration of the writes in the last one to two minutes.
    pub recent_flush_us: Percentiles,
    /// Frames read in one turn, over turns that read any, in the last one to two minutes.
    pub recent_frames_read: Percentiles,
    /// Write calls in one turn, over turns that wrote, in the last one to two minutes.
    pub recent_writes: Percentiles,
    /// Mean bytes per write call in one turn, over turns that wrote, in the last one to two minutes.
    pub recent_write_bytes: Percentiles,
    /// Bytes of all change logs now.
    pub log_bytes: u64,
    /// Bytes of cached frames and snapshot pages now.
    pub cache_bytes: u64,
    /// Bytes of frames for single connections that wait to be written now.
    pub outbound_bytes: u64,
    /// Bytes of incomplete frames now.
    pub partial_bytes: u64,
    /// Bytes of incomplete batches now.
    pub batch_bytes: u64,
    /// Bytes of arguments retained for another try now.
    pub retained_bytes: u64,
    /// All memory that counts against `--max-memory` now.
    pub memory_bytes: u64,
    /// What was done near `--max-memory`, by measure: see [`Relief`].
    pub relieved: BTreeMap<&'static str, u64>,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident; $( $variant:ident = $word:literal $reason:literal; )*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( #[doc = $reason] $variant, )*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// As it stands in [`Stats`].
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            /// In a sentence.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $( Self::$variant => $reason, )* }
            }
        }
    };
}

words! {
    /// A measure near the ceiling of memory.
    Relief;
    CachesDropped = "caches_dropped"
        "All caches were emptied.";
    LogsTrimmed = "logs_trimmed"
        "Change logs were trimmed, or namespaces without connections removed.";
    GrowthRefused = "growth_refused"
        "A REGISTER or BIND was refused.";
    ConnectionRefused = "connection_refused"
        "A HELLO was refused.";
}

words! {
    /// The reason why an input was dropped without an answer.
    Dropped;
    UnknownKind = "unknown_kind"
        "A frame of a kind from 64 on that the engine does not know.";
    UnknownAnswer = "unknown_answer"
        "An answer to no INVOKE that is open: doubled, or never asked for.";
    ForeignAnswer = "foreign_answer"
        "An answer to an INVOKE that went to another connection.";
    LateAnswer = "late_answer"
        "The answer to an INVOKE whose caller had its ending already. It freed the place.";
    LateCancel = "late_cancel"
        "A CANCEL for no call of its connection: it crossed the ending, or there never was one.";
    CastNobody = "cast_nobody"
        "A CAST to a function without a provider.";
    CastFull = "cast_full"
        "A CAST to a function none of whose providers has room.";
    CastTooLarge = "cast_too_large"
        "A CAST over `--max-payload`, or whose headers leave no room in a frame.";
    CastForbidden = "cast_forbidden"
        "A CAST to a function that the sender may not call.";
    CastDraining = "cast_draining"
        "A CAST while the engine is about to stop.";
    EventNobody = "event_nobody"
        "An event for a bound function without a provider.";
    EventFull = "event_full"
        "An event for a bound function none of whose providers has room; with `deliver_all`, for each provider that does not read.";
    EventInvalid = "event_invalid"
        "An EMIT with id 0 whose event is no name.";
    EventTooLarge = "event_too_large"
        "An EMIT with id 0 over `--max-payload`, or whose headers leave no room in a frame.";
    EventForbidden = "event_forbidden"
        "An EMIT with id 0 of an event that the sender may not emit.";
    EventDraining = "event_draining"
        "An EMIT with id 0 while the engine is about to stop.";
    EventUnfinished = "event_unfinished"
        "An event whose emitter left before it was cast to all that are bound to it.";
}
