//! Every limit of the engine in one place, each with its flag, its default and its reason. Whatever a
//! peer can make grow is bounded here; nothing is bounded anywhere else.
//!
//! What grows, and what bounds it, where no limit says so by itself:
//!
//! - session keys, timers, places in queues: two keys and one each, per connection;
//! - the record of a call, its timer, its caller's name: `max_calls_total`, twice, and beyond that what each
//!   worker may run (`max_calls` at the most) that held nothing for nobody until then;
//! - what providers note about parked calls: a note per function that they provide;
//! - names in maps: those of registrations, bindings and parked calls, 255 bytes each;
//! - watches: `max_audiences` of them, each from a HELLO of `max_hello` bytes;
//! - watches of which rights leave only a part: in HELLO, hence `max_hello` for each connection;
//! - what is noted of a worker's change for those who may not see everything: a few bytes for each of the rules in
//!   the credentials file, within `log_bytes`;
//! - snapshot pages: the entries of a namespace once more, `max_namespace_metadata`;
//! - a worker's name and metadata: in HELLO, hence `max_hello` for each connection;
//! - headers, codes, messages, details: within frames, and counted with the payload where they are kept;
//! - change logs of all namespaces: `log_bytes` times `max_namespaces`;
//! - what a turn brings: 256 KiB from each connection, which is what the shell reads of one at once; what is read
//!   and not handled yet, because it makes much work, counts in `max_partial`;
//! - messages of the engine itself, in frames and in the log: cut to a kilobyte.

use std::time::Duration;

/// One limit as the command line and the documentation show it.
#[derive(Debug, Clone, Copy)]
pub struct LimitSpec {
    /// The flag of `callboard serve`, without its dashes.
    pub flag: &'static str,
    /// What one unit is: `bytes`, `ms` (milliseconds), `per second`, or empty for a plain number.
    pub unit: &'static str,
    /// The value without the flag.
    pub default: u64,
    /// What it bounds, and why at this height.
    pub reason: &'static str,
}

macro_rules! limits {
    ($( $field:ident $flag:literal = $default:literal $unit:literal $reason:literal; )*) => {
        /// The limits in force. [`Limits::default`] is what the engine runs with unless told otherwise.
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

            /// Which limit refuses: the flags, by the names of the fields.
            pub const FLAGS: Flags = Flags { $( $field: $flag, )* };

            /// The limit behind a flag; `None` for a flag that is no limit's.
            pub fn by_flag(&mut self, flag: &str) -> Option<&mut u64> {
                match flag { $( $flag => Some(&mut self.$field), )* _ => None }
            }
        }
    };
}

limits! {
    max_connections "max-connections" = 20_000 ""
        "Connections at once, those without HELLO included. A connection costs a file descriptor and about 4 KB of kernel memory.";
    max_connections_per_address "max-connections-per-address" = 16_384 ""
        "Connections from one IPv4 address, one /64 of IPv6 or one user of Unix sockets; 0 lifts it. High, because a whole fleet may share a host; below all connections, so that such a host leaves room for others.";
    max_refused "max-refused" = 1024 ""
        "Connections beyond these two that are held until they have read why. Beyond it, they are closed without a word.";
    max_greeting "max-greeting" = 10_000 ""
        "Connections that have not said HELLO. Beyond it, the one that has been silent for longest goes: a fleet that comes back says HELLO at once, and gets in past those who don't.";
    max_frame "max-frame" = 1_114_112 "bytes"
        "Body of one frame. 64 KiB more than a payload, so that a payload slightly over its limit fails its call and not its connection. Below 16 MiB.";
    max_payload "max-payload" = 1_048_576 "bytes"
        "One payload of a call. Larger data does not belong on a connection that others wait behind.";
    max_hello "max-hello" = 16_384 "bytes"
        "Any frame before WELCOME. A stranger gets no more memory than this.";
    max_namespaces "max-namespaces" = 64 ""
        "Namespaces in use at once. Each owns a change log.";
    max_audiences "max-audiences" = 1024 ""
        "Different watches in one namespace. Each costs its own encoding of a change.";
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
        "REGISTER batches flagged `more` that await their last part, of all connections. Beyond it, the one that was begun first fails.";
    max_worker_metadata "max-worker-metadata" = 4096 "bytes"
        "The metadata a worker gives about itself in HELLO.";
    max_outbound "max-outbound" = 4_194_304 "bytes"
        "Replies that wait for one connection to read them; the buffer that they wait in may be twice as large. Beyond it, nothing more is read from that connection until it has read half of them.";
    max_outbound_total "max-outbound-total" = 1_073_741_824 "bytes"
        "The same, of all connections. Beyond it, casts are dropped, and of those who hold more than their share the one that has read nothing for longest is closed. What would make it twice as much at once, a call or an answer, fails.";
    max_partial "max-partial" = 268_435_456 "bytes"
        "Unfinished frames of all connections. Beyond it, the connection whose frame was begun first is closed: an honest one is complete in milliseconds.";
    max_calls "max-calls" = 16_384 ""
        "Calls in flight that one connection made, and as many that it runs, whatever capacity it declares.";
    max_calls_total "max-calls-total" = 262_144 ""
        "Calls of all connections that wait for their ending. One costs about 200 bytes, without its payload. When as many again are held by providers though nobody waits for them, those who hold them get no others.";
    max_parked "max-parked" = 65_536 ""
        "Calls that wait for a provider.";
    max_retained "max-retained" = 67_108_864 "bytes"
        "Arguments kept for calls that wait or may be tried again.";
    max_retained_each "max-retained-each" = 16_777_216 "bytes"
        "The same, of one connection: a caller that waits for a function that never comes leaves room for others.";
    max_backlog "max-backlog" = 67_108_864 "bytes"
        "Answers that wait for one connection to read them. A caller that lets more pile up gets failures in their place.";
    max_bindings "max-bindings" = 65_536 ""
        "Bindings of one worker.";
    log_bytes "log-bytes" = 16_777_216 "bytes"
        "The change log of one namespace. A watcher or a resume point further behind than this gets a snapshot.";
    cache_bytes "cache-bytes" = 67_108_864 "bytes"
        "Encoded changes that one namespace keeps for others with the same watch. Beyond it, the oldest are put together again for those who still want them.";
    changes_per_second "changes-per-second" = 1000 "per second"
        "Revision steps that one connection may cause, with a burst of one second's worth; 0 lifts it. Each step costs a write for every watcher.";
    max_share "max-share" = 10 "percent"
        "Of the engine's time that one connection may take with requests that make much work: registering, unregistering, binding, events, the engine's own functions; granted or not. It is estimated, by the entry, the delivery and the row; 0 lifts it. Out of the same second as --changes-per-second: half of it buys half of each.";
    send_buffer "send-buffer" = 262_144 "bytes"
        "SO_SNDBUF of a connection. Left alone, the kernel would buffer 4 MB for each reader that stalls.";
    receive_buffer "receive-buffer" = 262_144 "bytes"
        "SO_RCVBUF of a connection. Left alone, the kernel would buffer up to 6 MB of each that sends faster than it is read.";
    log_lines_per_second "log-lines-per-second" = 100 "per second"
        "Log lines about single connections and workers, with a burst of ten seconds' worth; the others are counted. 0 lifts it. A peer that connects in a loop must not fill the disk.";
    hello_timeout "hello-timeout" = 2000 "ms"
        "From the accept until HELLO is complete.";
    frame_timeout "frame-timeout" = 5000 "ms"
        "From the first byte of a frame until its last, plus a second for every 64 KiB announced.";
    ping_after "ping-after" = 5000 "ms"
        "Silence before the engine asks PING.";
    silence "silence" = 15000 "ms"
        "Silence before the engine takes the peer for gone. Three PINGs' worth.";
    write_deadline "write-deadline" = 15000 "ms"
        "Time without any progress on a connection that has something to read and does not read it.";
    ready_timeout "ready-timeout" = 2000 "ms"
        "After a takeover: silence of the newcomer, short of READY, before what it did not confirm leaves.";
    linger "linger" = 2000 "ms"
        "How long a connection that is being closed may take to read its GOODBYE.";
    settling "settling" = 3000 "ms"
        "After the engine's start: clients keep what has not come back yet, marked stale. The library's first retry falls well into it.";
    grace "grace" = 10000 "ms"
        "After SIGTERM: time for calls in flight to end.";
}

impl Limits {
    /// A limit that is a time.
    #[must_use]
    pub fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Says what is impossible about these limits, if anything is.
    ///
    /// # Errors
    /// A sentence for people, naming the flags.
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
        Ok(())
    }
}

/// Limits that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsError {
    /// The protocol has no frames of 16 MiB.
    FrameOverCeiling,
    /// A payload, a HELLO or a part of a change must fit into a frame.
    FrameTooSmall,
    /// An entry must fit into a part of a change.
    EntryOverPart,
    /// A peer must be asked before it is given up.
    PingAfterSilence,
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
