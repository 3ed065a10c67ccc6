//! Error codes: stable snake_case strings, the same in FAILURE and GOODBYE.

use std::fmt;

use super::wire::{Field, Text};

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $text:literal, $retryable:literal; )*) => {
        /// A stable error code. `docs/PROTOCOL.md` lists what each means and what to do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[$doc])* $variant, )* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// As it stands on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            /// Whether the same request may succeed later without being changed.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $( Self::$variant => $retryable, )* }
            }

            /// The code that the wire names; `None` for one of a newer engine.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $( $text => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

codes! {
    // Of the connection: these close it.

    /// The peer broke the protocol: malformed bytes, a wrong order of frames, a foreign protocol.
    ProtocolError = "protocol_error", false;
    /// A frame was announced that is longer than `--max-frame`.
    FrameTooLarge = "frame_too_large", false;
    /// No version is spoken by both.
    UnsupportedVersion = "unsupported_version", false;
    /// No HELLO within `--hello-timeout`.
    HelloTimeout = "hello_timeout", true;
    /// A frame was begun and not completed in time.
    FrameTimeout = "frame_timeout", true;
    /// Nothing was heard for `--silence`.
    Silent = "silent", true;
    /// Nothing could be written for `--write-deadline`.
    TooSlow = "too_slow", true;
    /// The engine serves `--max-connections` already.
    TooManyConnections = "too_many_connections", true;
    /// There are `--max-namespaces` namespaces in use already.
    TooManyNamespaces = "too_many_namespaces", true;
    /// There are `--max-audiences` different watches in the namespace already.
    TooManyAudiences = "too_many_audiences", true;
    /// A watch has more than `--max-prefixes` prefixes in a section.
    TooManyPrefixes = "too_many_prefixes", false;
    /// No token, or one that opens nothing here; or its namespace is another.
    Unauthorized = "unauthorized", true;
    /// Somebody who may do so sent the worker away.
    Kicked = "kicked", false;
    /// Another connection presented this one's session key and took its place.
    SessionTakenOver = "session_taken_over", false;
    /// The engine stops; come back after `retry_after_ms`.
    ShuttingDown = "shutting_down", true;
    /// The plain end: the peer is done.
    Bye = "bye", true;

    // Of a request.

    /// The engine does not know this kind of request, or not yet.
    Unsupported = "unsupported", false;
    /// A name is not of the grammar.
    InvalidName = "invalid_name", false;
    /// A name under `engine::`.
    ReservedName = "reserved_name", false;
    /// The rights do not allow it, whether what is named exists or not.
    Forbidden = "forbidden", false;
    /// The worker does not provide a function that it wants to unregister.
    NotRegistered = "not_registered", false;
    /// One side insists on being a function's only provider.
    Exclusive = "exclusive", true;
    /// More functions than `--max-functions` allows one worker.
    TooManyFunctions = "too_many_functions", false;
    /// More bindings than `--max-bindings` allows one worker.
    TooManyBindings = "too_many_bindings", false;
    /// The arguments of one of the engine's own functions can't be read.
    InvalidArgument = "invalid_argument", false;
    /// More providing workers than `--max-workers` in the namespace.
    TooManyWorkers = "too_many_workers", true;
    /// Description, schemas and metadata of one function exceed `--max-entry`.
    EntryTooLarge = "entry_too_large", false;
    /// All entries of one worker together exceed `--max-metadata`.
    MetadataTooLarge = "metadata_too_large", false;
    /// A payload exceeds `--max-payload`.
    PayloadTooLarge = "payload_too_large", false;
    /// Nobody provides the function.
    NoSuchFunction = "no_such_function", true;
    /// The provider went before it answered.
    ProviderGone = "provider_gone", true;
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded", true;
    /// The caller cancelled.
    Cancelled = "cancelled", false;
    /// All providers have as many calls in flight as they take.
    Overloaded = "overloaded", true;
    /// The engine or the provider drains.
    Draining = "draining", true;
    /// The connection ended while the request was under way. Libraries say this; the engine never does.
    ConnectionLost = "connection_lost", true;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a failed request may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Executed {
    /// Certainly not: it may be sent again.
    #[default]
    No,
    /// Perhaps: send it again only if it is idempotent.
    Maybe,
}

impl Executed {
    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
        }
    }
}

impl serde::Serialize for Executed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Field<'_> for Executed {}

impl<'de> serde::Deserialize<'de> for Executed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A word of a newer peer is read as the careful one.
        let word = Text::deserialize(deserializer)?;
        Ok(if word.0 == "no" {
            Self::No
        } else {
            Self::Maybe
        })
    }
}
