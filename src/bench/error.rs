//! Why a measurement could not be made, or ended early.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::address::Address;
use crate::protocol::{Failure, Goodbye, Message};

/// An error of a measurement.
#[derive(Debug)]
pub enum BenchError {
    /// No address could be connected; the error of each.
    NoEngine(Vec<(Address, io::Error)>),
    /// The listener sent something that is no frame or no message of this protocol.
    NotAnEngine(String),
    /// The engine was silent for this long although an answer was due.
    Silent(Duration),
    /// The engine was silent while connections waited for WELCOME or the board.
    Unwelcome {
        /// Number of waiting connections.
        waiting: usize,
        /// Duration of the silence.
        time: Duration,
    },
    /// The engine closed a connection without GOODBYE.
    Closed,
    /// Reading or writing failed.
    Broken(io::Error),
    /// The engine is about to stop.
    Stopping,
    /// The engine refused; its code and message.
    Refused {
        /// The code.
        code: String,
        /// A message for people.
        message: String,
    },
    /// The connections need more file descriptors than this process may have.
    Descriptors {
        /// Descriptors needed.
        wanted: u64,
        /// Descriptors that the hard limit allows.
        allowed: u64,
    },
    /// The engine's process is unknown, or its memory may not be read.
    NoProcess,
    /// The engine delivered something other than expected.
    Miscounted {
        /// The kind of what was counted.
        what: &'static str,
        /// The expected number.
        wanted: u64,
        /// The actual number.
        counted: u64,
    },
    /// The operating system gave no poll, no timer or no random bytes.
    System(io::Error),
    /// Stopped before there was anything to report.
    Stopped,
}

impl BenchError {
    /// The error of a GOODBYE.
    pub(super) fn goodbye(goodbye: &Goodbye<'_>) -> Self {
        match goodbye.code.0 {
            "shutting_down" => Self::Stopping,
            code => Self::Refused {
                code: code.to_owned(),
                message: goodbye.message.0.to_owned(),
            },
        }
    }

    /// The error of a FAILURE.
    pub(super) fn failure(failure: &Failure<'_>) -> Self {
        match failure.code.0 {
            "shutting_down" => Self::Stopping,
            code => Self::Refused {
                code: code.to_owned(),
                message: failure.message.0.to_owned(),
            },
        }
    }

    /// The error of an unexpected message.
    pub(super) fn unexpected(body: &[u8]) -> Self {
        match Message::decode(body) {
            Ok(Message::Failure(failure)) => Self::failure(&failure),
            Ok(message) => {
                Self::NotAnEngine(format!("it sent an unexpected {}", message.wire_name()))
            }
            Err(error) => Self::NotAnEngine(error.to_string()),
        }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEngine(attempts) => {
                for (i, (address, error)) in attempts.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{address}: ")?;
                    match error.kind() {
                        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                            f.write_str("nothing listens there; is the engine running?")?;
                        }
                        _ => write!(f, "unreachable: {error}")?,
                    }
                }
                Ok(())
            }
            Self::NotAnEngine(why) => write!(f, "this is not a Callboard engine: {why}"),
            Self::Silent(time) => {
                write!(
                    f,
                    "the engine was silent for {} ms",
                    time.as_millis()
                )
            }
            Self::Unwelcome { waiting, time } => write!(
                f,
                "the engine was silent for {} ms while {waiting} connections were joining: is it stuck, or out \
                 of file descriptors (`ulimit -n`, LimitNOFILE=)?",
                time.as_millis()
            ),
            Self::Closed => f.write_str("the engine closed a connection without GOODBYE"),
            Self::Broken(error) => write!(f, "a connection broke: {error}"),
            Self::Stopping => f.write_str("the engine is about to stop (shutting_down)"),
            Self::Refused { code, message } => {
                write!(f, "the engine refused: {code}: {message}")
            }
            Self::Descriptors { wanted, allowed } => write!(
                f,
                "{wanted} file descriptors are needed, but this process may open only {allowed}: raise the \
                 hard limit (`ulimit -Hn`, LimitNOFILE=), or measure with fewer connections"
            ),
            Self::NoProcess => f.write_str(
                "the memory of the engine cannot be read: its process is on another machine, not found, or \
                 another user's; --engine-pid names it",
            ),
            Self::Miscounted {
                what,
                wanted,
                counted,
            } => write!(f, "{what}: expected {wanted}, counted {counted}"),
            Self::System(error) => write!(f, "the system refused a required resource: {error}"),
            Self::Stopped => f.write_str("stopped before there was anything to report"),
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) | Self::System(error) => Some(error),
            _ => None,
        }
    }
}
