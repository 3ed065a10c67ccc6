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

            /// Its form on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            /// Whether the same request may succeed later unchanged.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $( Self::$variant => $retryable, )* }
            }

            /// Parses a code; `None` for one of a newer engine.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $( $text => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

codes! {
    // Codes that close the connection.

    /// The peer violated the protocol: malformed bytes, frames in a wrong order, or another protocol.
    ProtocolError = "protocol_error", false;
    /// A frame longer than `--max-frame` was announced.
    FrameTooLarge = "frame_too_large", false;
    /// The two sides have no protocol version in common.
    UnsupportedVersion = "unsupported_version", false;
    /// No HELLO within `--hello-timeout`.
    HelloTimeout = "hello_timeout", true;
    /// A frame was not completed in time.
    FrameTimeout = "frame_timeout", true;
    /// The peer was silent for `--silence`.
    Silent = "silent", true;
    /// Nothing could be written for `--write-deadline`.
    TooSlow = "too_slow", true;
    /// The engine already serves `--max-connections`.
    TooManyConnections = "too_many_connections", true;
    /// The engine already has `--max-namespaces` namespaces in use.
    TooManyNamespaces = "too_many_namespaces", true;
    /// The namespace already has `--max-audiences` different watches.
    TooManyAudiences = "too_many_audiences", true;
    /// A watch has more than `--max-prefixes` prefixes in a section.
    TooManyPrefixes = "too_many_prefixes", false;
    /// The token is missing, unknown, or for another namespace.
    Unauthorized = "unauthorized", true;
    /// An authorised caller kicked the worker.
    Kicked = "kicked", false;
    /// Another connection presented this session key and took over the session.
    SessionTakenOver = "session_taken_over", false;
    /// The engine is stopping; reconnect after `retry_after_ms`.
    ShuttingDown = "shutting_down", true;
    /// A normal end: the peer is done.
    Bye = "bye", true;

    // Codes of a failed request.

    /// The engine does not support this kind of request.
    Unsupported = "unsupported", false;
    /// A name violates the grammar.
    InvalidName = "invalid_name", false;
    /// The name is under `engine::`.
    ReservedName = "reserved_name", false;
    /// The rights do not allow it, whether or not the named thing exists.
    Forbidden = "forbidden", false;
    /// The worker does not have what it wants to unregister or unbind.
    NotRegistered = "not_registered", false;
    /// A provider requires to be the function's only one.
    Exclusive = "exclusive", true;
    /// More functions than `--max-functions` allows one worker.
    TooManyFunctions = "too_many_functions", false;
    /// More bindings than `--max-bindings` allows one worker.
    TooManyBindings = "too_many_bindings", false;
    /// The arguments of one of the engine's functions are invalid.
    InvalidArgument = "invalid_argument", false;
    /// More providing workers than `--max-workers` in the namespace.
    TooManyWorkers = "too_many_workers", true;
    /// Description, schemas and metadata of one function exceed `--max-entry`.
    EntryTooLarge = "entry_too_large", false;
    /// All entries of one worker together exceed `--max-metadata`.
    MetadataTooLarge = "metadata_too_large", false;
    /// A payload exceeds `--max-payload`.
    PayloadTooLarge = "payload_too_large", false;
    /// No worker provides the function.
    NoSuchFunction = "no_such_function", true;
    /// The provider left before it answered.
    ProviderGone = "provider_gone", true;
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded", true;
    /// The caller cancelled.
    Cancelled = "cancelled", false;
    /// All providers are at capacity.
    Overloaded = "overloaded", true;
    /// The engine or the provider is draining.
    Draining = "draining", true;
    /// The connection was lost during the request. Used by libraries, never by the engine.
    ConnectionLost = "connection_lost", true;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a failed request may have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Executed {
    /// It had none: it may be sent again.
    #[default]
    No,
    /// It may have had one: send it again only if it is idempotent.
    Maybe,
}

impl Executed {
    /// Its form on the wire.
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
        // An unknown value of a newer peer is read as the cautious one.
        let word = Text::deserialize(deserializer)?;
        Ok(if word.0 == "no" {
            Self::No
        } else {
            Self::Maybe
        })
    }
}
