//! Every limit of the engine in one place, with its flag, default and reason. Everything that a peer can make grow
//! is bounded here, and nowhere else.
//!
//! What grows without a limit of its own, and what bounds it:
//!
//! - session keys, timers, queue entries: a constant number per connection;
//! - records of calls with their timers and callers' names: twice `max_calls_total`, and beyond that the calls that
//!   a worker may run (`max_calls` at most) if it held none without a caller until then;
//! - providers' notes about parked calls: one for each function that they provide;
//! - names in maps, of registrations, bindings and parked calls: 255 bytes each;
//! - watches: `max_audiences` of them, each from a HELLO of `max_hello` bytes;
//! - watches restricted by rights: in HELLO, hence `max_hello` for each connection;
//! - what is noted of a worker's change for readers with restricted rights: a few bytes for each rule in the
//!   credentials file, within `log_bytes`;
//! - snapshot pages: the entries of a namespace a second time, `max_namespace_metadata`;
//! - boards, logs, caches and connections of all namespaces together: `max_memory`;
//! - a worker's name and metadata: in HELLO, hence `max_hello` for each connection;
//! - headers, codes, messages, details: in frames, and counted with the payload where they are retained;
//! - change logs of all namespaces: `log_bytes` times `max_namespaces`;
//! - input of a turn: what fits into its work, and a read of 64 KiB; input read but not handled yet, because it makes
//!   much work, counts in `max_partial`;
//! - messages of the engine itself, in frames and in the log: cut to a kilobyte.

use std::time::Duration;

/// A limit as shown on the command line and in the documentation.
#[derive(Debug, Clone, Copy)]
pub struct LimitSpec {
    /// The flag of `callboard serve`, without dashes.
    pub flag: &'static str,
    /// The unit: `bytes`, `ms` (milliseconds), `per second`, or empty for a plain number.
    pub unit: &'static str,
    /// The default value.
    pub default: u64,
    /// What it bounds, and why at this value.
    pub reason: &'static str,
}

macro_rules! limits {
    ($( $field:ident $flag:literal = $default:literal $unit:literal $reason:literal; )*) => {
        /// The limits in force. [`Limits::default`] has the defaults.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $( #[doc = concat!($reason, " (`--", $flag, "`, ", $default, " ", $unit, ")")]
               pub $field: u64, )*
        }

        /// The flag of each limit, for messages and counters.
        #[derive(Debug)]
        #[allow(missing_docs)] // The limits themselves are documented.
        pub struct Flags { $( pub $field: &'static str, )* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl Limits {
            /// Every limit, in the order of the documentation.
            pub const ALL: &'static [LimitSpec] = &[ $( LimitSpec {
                flag: $flag, unit: $unit, default: $default, reason: $reason,
            }, )* ];

            /// The flags by the names of the fields, to say which limit refused.
            pub const FLAGS: Flags = Flags { $( $field: $flag, )* };

            /// The limit with this flag; `None` if the flag is not a limit's.
            pub fn by_flag(&mut self, flag: &str) -> Option<&mut u64> {
                match flag { $( $flag => Some(&mut self.$field), )* _ => None }
            }
        }
    };
}

limits! {
    max_memory "max-memory" = 0 "bytes"
        "All that the engine counts as its own memory. 0: half of the memory of the host, or of the cgroup if \
         that is less, found at the start. Near it, caches go first, then change logs are trimmed, then what \
         would make the boards larger is refused. A small one lowers the limits of calls and of bytes that \
         pass.";
    max_connections "max-connections" = 20_000 ""
        "Open connections, including those without HELLO. A connection costs a file descriptor and about 4 KB \
         of kernel memory.";
    max_connections_per_address "max-connections-per-address" = 16_384 ""
        "Connections from one IPv4 address, one /64 of IPv6 or one user of Unix sockets; 0 lifts it. High, \
         because a whole fleet may share a host; below --max-connections, so that such a host leaves room \
         for others.";
    max_refused "max-refused" = 1024 ""
        "Connections refused by these two limits that are kept open until they have read the reason. Beyond \
         it, they are closed at once.";
    max_greeting "max-greeting" = 10_000 ""
        "Connections without HELLO. Beyond it, the one that has been silent for longest is evicted: a \
         reconnecting fleet sends HELLO at once, and gets in ahead of silent connections.";
    max_frame "max-frame" = 1_114_112 "bytes"
        "Body of one frame. 64 KiB more than a payload, so that a payload slightly over its limit fails its call and not its connection. Below 16 MiB.";
    max_payload "max-payload" = 1_048_576 "bytes"
        "One payload of a call. Larger data does not belong on a connection that others wait behind.";
    max_hello "max-hello" = 16_384 "bytes"
        "Any frame before WELCOME. An unauthenticated peer gets no more memory than this.";
    max_namespaces "max-namespaces" = 64 ""
        "Namespaces of one user in use at once, `default` always among them; all users together have twice as many. Each owns a change log.";
    max_audiences "max-audiences" = 1024 ""
        "Different watches of one user in one namespace; all users together have twice as many. Each costs its own encoding of a change.";
    max_prefixes "max-prefixes" = 16 ""
        "Prefixes in one section of a watch. Each is looked up in every change.";
    max_workers "max-workers" = 20_000 ""
        "Workers of one namespace that provide something.";
    max_functions "max-functions" = 65_536 ""
        "Functions of one worker. Its death must be one revision step of bearable size.";
    max_entry "max-entry" = 32_768 "bytes"
        "Description, schemas and metadata of one function. An entry must fit well into a 64 KiB part of a change.";
    max_metadata "max-metadata" = 16_777_216 "bytes"
        "All entries of one worker, names included.";
    max_namespace_functions "max-namespace-functions" = 1_048_576 ""
        "Functions of one namespace, counted for each worker that provides them: 10,000 workers with a hundred each. One costs about 300 bytes.";
    max_namespace_bindings "max-namespace-bindings" = 262_144 ""
        "Bindings of one namespace, counted for each worker that made them.";
    max_namespace_metadata "max-namespace-metadata" = 536_870_912 "bytes"
        "All entries of all workers of one namespace, names included.";
    max_batches "max-batches" = 268_435_456 "bytes"
        "Incomplete REGISTER batches (flagged `more`) of all connections. Beyond it, the oldest one fails.";
    max_worker_metadata "max-worker-metadata" = 4096 "bytes"
        "The metadata a worker gives about itself in HELLO.";
    max_outbound "max-outbound" = 4_194_304 "bytes"
        "Unread replies of one connection; the buffer that holds them may be twice as large. Beyond it, the \
         engine stops reading from that connection until it has read half of them.";
    max_outbound_total "max-outbound-total" = 1_073_741_824 "bytes"
        "The same, of all connections of one user; all users together have twice as much. Beyond it, casts to \
         that user are dropped, and of its connections that hold more than their share, the one that has \
         read nothing for longest is closed. A call or an answer that would double it at once fails.";
    max_partial "max-partial" = 268_435_456 "bytes"
        "Incomplete frames of all connections. Beyond it, the connection with the oldest incomplete frame is \
         closed: an honest peer completes a frame in milliseconds.";
    max_calls "max-calls" = 16_384 ""
        "Calls in flight that one connection made, and separately those that it runs, whatever capacity it \
         declares.";
    max_calls_total "max-calls-total" = 262_144 ""
        "Calls in flight of one user; all users together have twice as many. One costs about 200 bytes, \
         without its payload. When providers hold as many again that no caller waits for, those providers get no further calls.";
    max_parked "max-parked" = 65_536 ""
        "Calls of one user that are parked until a provider is available; all users together have twice as many.";
    max_retained "max-retained" = 67_108_864 "bytes"
        "Arguments of one user retained for calls that are parked or may be retried; all users together have twice as much.";
    max_retained_each "max-retained-each" = 16_777_216 "bytes"
        "The same, of one connection: a caller that waits for a function that never appears leaves room for \
         others.";
    max_backlog "max-backlog" = 67_108_864 "bytes"
        "Unread answers of one connection. Beyond it, its calls get failures instead of their answers.";
    max_bindings "max-bindings" = 65_536 ""
        "Bindings of one worker.";
    log_bytes "log-bytes" = 16_777_216 "bytes"
        "The change log of one namespace. A watcher or a resume point further behind than this gets a snapshot.";
    max_departures "max-departures" = 4096 ""
        "Workers that left one namespace, remembered with the reason. One costs about 1 KB.";
    cache_bytes "cache-bytes" = 67_108_864 "bytes"
        "Encoded changes that one namespace keeps for further readers with the same watch. Beyond it, the \
         oldest are encoded again for readers that still need them.";
    changes_per_second "changes-per-second" = 1000 "per second"
        "Revision steps that one connection may cause, with a burst of one second's worth; 0 lifts it. Each step costs a write for every watcher.";
    max_share "max-share" = 10 "percent"
        "Share of the engine's time that one connection may use with expensive requests while \
         another user wants the engine: registering, unregistering, binding, events, the engine's own \
         functions; granted or refused. Estimated by entries, deliveries and rows; 0 lifts it. It shares its second with --changes-per-second: half of \
         the second buys half of each.";
    send_buffer "send-buffer" = 262_144 "bytes"
        "SO_SNDBUF of a connection. By default, the kernel would buffer 4 MB for each stalled reader.";
    receive_buffer "receive-buffer" = 262_144 "bytes"
        "SO_RCVBUF of a connection. By default, the kernel would buffer up to 6 MB from each peer that sends \
         faster than the engine reads.";
    log_lines_per_second "log-lines-per-second" = 100 "per second"
        "Log lines about single connections and workers, with a burst of ten seconds' worth; further ones are \
         only counted. 0 lifts it. A peer that connects in a loop must not fill the disk.";
    hello_timeout "hello-timeout" = 2000 "ms"
        "From the accept until HELLO is complete.";
    frame_timeout "frame-timeout" = 5000 "ms"
        "From the first byte of a frame until its last, plus a second for every 64 KiB announced.";
    ping_after "ping-after" = 5000 "ms"
        "Silence before the engine sends PING.";
    silence "silence" = 15000 "ms"
        "Silence before the engine gives the peer up: three PINGs' worth.";
    write_deadline "write-deadline" = 15000 "ms"
        "Time without progress on a connection that has unread output.";
    ready_timeout "ready-timeout" = 2000 "ms"
        "After a takeover: silence of the new connection, before READY, after which functions it has not \
         confirmed leave.";
    linger "linger" = 2000 "ms"
        "How long a closing connection may take to read its GOODBYE.";
    settling "settling" = 3000 "ms"
        "After the engine's start: clients keep entries that have not returned, marked stale. The library's \
         first retry comes well within it.";
    grace "grace" = 10000 "ms"
        "After SIGTERM: time for calls in flight to end.";
}

impl Limits {
    /// A limit that is a duration.
    #[must_use]
    pub fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// The smallest `max_memory`: a sixteenth of it is for incomplete frames, and must hold one.
    #[must_use]
    pub fn least_memory(&self) -> u64 {
        self.max_frame.saturating_mul(16)
    }

    /// Checks that the limits do not contradict each other.
    ///
    /// # Errors
    /// The contradiction, with the flags concerned.
    pub fn check(&self) -> Result<(), LimitsError> {
        let ceiling = crate::protocol::MAX_FRAME_CEILING as u64;
        if self.max_frame >= ceiling {
            return Err(LimitsError::FrameOverCeiling);
        }
        if self.max_payload + 1024 > self.max_frame
            || self.max_hello > self.max_frame
            || self.max_frame < 128 * 1024
        {
            return Err(LimitsError::FrameTooSmall);
        }
        if self.max_entry + 1024 > 64 * 1024 {
            return Err(LimitsError::EntryOverPart);
        }
        if self.ping_after >= self.silence {
            return Err(LimitsError::PingAfterSilence);
        }
        if self.max_memory != 0 && self.max_memory < self.least_memory() {
            return Err(LimitsError::FrameOverMemory);
        }
        Ok(())
    }
}

/// Limits that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsError {
    /// Frames of 16 MiB or more do not exist in the protocol.
    FrameOverCeiling,
    /// A payload, a HELLO or a part of a change must fit into a frame.
    FrameTooSmall,
    /// An entry must fit into a part of a change.
    EntryOverPart,
    /// The engine must send PING before it gives a peer up.
    PingAfterSilence,
    /// A frame must fit into the part of the memory that is for incomplete frames.
    FrameOverMemory,
}

impl std::fmt::Display for LimitsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FrameOverCeiling => "--max-frame must be below 16 MiB (16777216)",
            Self::FrameTooSmall => {
                "--max-frame must be at least 1 KiB above --max-payload, not below --max-hello, and \
                 at least 131072"
            }
            Self::EntryOverPart => {
                "--max-entry must leave 1 KiB of a 64 KiB part of a change"
            }
            Self::PingAfterSilence => "--ping-after must be below --silence",
            Self::FrameOverMemory => {
                "--max-memory must be 0 or at least 16 times --max-frame"
            }
        })
    }
}

impl std::error::Error for LimitsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_do_not_contradict_each_other() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn every_flag_reaches_its_limit() {
        let mut limits = Limits::default();
        for spec in Limits::ALL {
            let value = limits.by_flag(spec.flag).unwrap();
            assert_eq!(*value, spec.default, "{}", spec.flag);
        }
        assert!(limits.by_flag("no-such").is_none());
    }
}
