//! Why a measurement could not be made, or ended before its end.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::address::Address;
use crate::protocol::{Failure, Goodbye, Message};

/// See the top of this file.
#[derive(Debug)]
pub enum BenchError {
    /// No connection to any of the addresses; what came of each.
    NoEngine(Vec<(Address, io::Error)>),
    /// Whoever listens there sends what is no frame or no message of this protocol.
    NotAnEngine(String),
    /// Nothing was heard from the engine for so long, although an answer was due.
    Silent(Duration),
    /// The same, while connections wait for WELCOME or for the board.
    Unwelcome {
        /// How many.
        waiting: usize,
        /// For how long nothing was heard.
        time: Duration,
    },
    /// The engine closed a connection without a word.
    Closed,
    /// Reading or writing failed.
    Broken(io::Error),
    /// The engine is about to stop.
    Stopping,
    /// The engine said no, in its own words.
    Refused {
        /// The code.
        code: String,
        /// For people.
        message: String,
    },
    /// So many connections are wanted, and this process may have only so many file descriptors.
    Descriptors {
        /// File descriptors that are needed.
        wanted: u64,
        /// Those that the hard limit allows.
        allowed: u64,
    },
    /// The engine's process is not known, or its memory may not be read.
    NoProcess,
    /// The engine delivered something else than what was caused.
    Miscounted {
        /// What was counted.
        what: &'static str,
        /// How many there should be.
        wanted: u64,
        /// How many there were.
        counted: u64,
    },
    /// The operating system gives no poll, no timer or no chance.
    System(io::Error),
    /// It was stopped before there was anything to report.
    Stopped,
}

impl BenchError {
    /// What a GOODBYE says.
    pub(super) fn goodbye(goodbye: &Goodbye<'_>) -> Self {
        match goodbye.code.0 {
            "shutting_down" => Self::Stopping,
            code => Self::Refused {
                code: code.to_owned(),
                message: goodbye.message.0.to_owned(),
            },
        }
    }

    /// What a FAILURE says.
    pub(super) fn failure(failure: &Failure<'_>) -> Self {
        match failure.code.0 {
            "shutting_down" => Self::Stopping,
            code => Self::Refused {
                code: code.to_owned(),
                message: failure.message.0.to_owned(),
            },
        }
    }

    /// A message that has no place here.
    pub(super) fn unexpected(body: &[u8]) -> Self {
        match Message::decode(body) {
            Ok(Message::Failure(failure)) => Self::failure(&failure),
            Ok(message) => Self::NotAnEngine(format!(
                "it sent {}, which has no place here",
                message.wire_name()
            )),
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
            Self::NotAnEngine(why) => write!(f, "no Callboard engine answers there: {why}"),
            Self::Silent(time) => {
                write!(
                    f,
                    "nothing was heard from the engine for {} ms",
                    time.as_millis()
                )
            }
            Self::Unwelcome { waiting, time } => write!(
                f,
                "nothing was heard for {} ms while {waiting} connections wait to be welcomed: does the engine stand \
                 still, or may it open no more files (`ulimit -n`, LimitNOFILE=)?",
                time.as_millis()
            ),
            Self::Closed => f.write_str("the engine closed a connection without a word"),
            Self::Broken(error) => write!(f, "a connection broke: {error}"),
            Self::Stopping => f.write_str("the engine is about to stop (shutting_down)"),
            Self::Refused { code, message } => {
                write!(f, "the engine refused: {code}: {message}")
            }
            Self::Descriptors { wanted, allowed } => write!(
                f,
                "{wanted} file descriptors are needed, and this process may have {allowed}: raise the hard limit \
                 (`ulimit -Hn`, LimitNOFILE=), or measure with fewer connections"
            ),
            Self::NoProcess => f.write_str(
                "the memory of the engine cannot be read: its process is on another machine, not found, or \
                 another user's; --engine-pid says which it is",
            ),
            Self::Miscounted {
                what,
                wanted,
                counted,
            } => write!(f, "{what}: {counted} were counted, {wanted} should be"),
            Self::System(error) => write!(f, "the system refuses what this needs: {error}"),
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
