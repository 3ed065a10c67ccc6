//! What can go wrong between a worker and its engine: one enum each for a failed connect, a lost connection, the
//! end of a worker, and a failed request.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::protocol::{DecodeError, Executed, Failure, FrameError, NameError};

/// A refusal by the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code; [`crate::protocol::Code::parse`] knows those of this version.
    pub code: Arc<str>,
    /// A message for people.
    pub message: Arc<str>,
    /// Whether the same request may succeed later unchanged.
    pub retryable: bool,
    /// Whether the request may have had an effect.
    pub executed: Executed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<&Failure<'_>> for Refusal {
    fn from(failure: &Failure<'_>) -> Self {
        Self {
            code: failure.code.0.into(),
            message: failure.message.0.into(),
            retryable: failure.retryable,
            executed: failure.executed,
        }
    }
}

/// An error of the operating system that can be cloned and compared. Two are equal if their kinds are.
#[derive(Debug, Clone)]
pub struct OsError(Arc<io::Error>);

impl OsError {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl From<io::Error> for OsError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for OsError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why [`Builder::connect`](super::Builder::connect) failed.
#[derive(Debug, Clone)]
pub enum ConnectError {
    /// The list of addresses is empty.
    NoAddress,
    /// The name of the worker or the namespace is invalid.
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// The reason why it is invalid.
        error: NameError,
    },
    /// HELLO would exceed the 16 KiB that an engine reads: too much metadata or too many prefixes.
    HelloTooLarge {
        /// Size of the frame's body.
        bytes: usize,
    },
    /// Every address was tried and failed.
    Failed(Vec<Attempt>),
    /// The timeout passed before the board was synced. Lists the attempts until then.
    Timeout(Vec<Attempt>),
    /// The engine ended the session for good before the board was synced.
    Ended(End),
    /// The operating system gave no thread or no random bytes.
    System(OsError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = match self {
            Self::NoAddress => return f.write_str("no engine address was given"),
            Self::InvalidName { name, error } => {
                return write!(f, "`{}`: {error}", name.escape_default());
            }
            Self::HelloTooLarge { bytes } => {
                return write!(
                    f,
                    "metadata and watch make a HELLO of {bytes} bytes; an engine reads at most 16384"
                );
            }
            Self::Ended(end) => return end.fmt(f),
            Self::System(error) => return error.fmt(f),
            Self::Failed(attempts) => attempts,
            Self::Timeout(attempts) => {
                f.write_str("timed out")?;
                if !attempts.is_empty() {
                    f.write_str("; ")?;
                }
                attempts
            }
        };
        for (i, attempt) in attempts.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            attempt.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

/// A failed attempt to connect to an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The address.
    pub address: Address,
    /// Why it failed.
    pub loss: Loss,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.loss)
    }
}

/// Why there is no connection: it could not be made, or it was lost.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// The host name cannot be resolved.
    Resolve(OsError),
    /// No process listens there: the connection was refused, or the socket's file does not exist.
    NobodyListens,
    /// The host did not answer in time.
    Unreachable(OsError),
    /// The connection was accepted, but WELCOME did not arrive in time.
    NoWelcome,
    /// The listener does not speak this protocol: it sent no valid frames.
    NotAnEngine(FrameError),
    /// The listener does not speak this protocol: it closed before WELCOME without a reason.
    ClosedBeforeWelcome,
    /// The engine sent a message that cannot be decoded.
    Garbled(DecodeError),
    /// The engine sent a message of this kind, which is not allowed at this point.
    Unexpected(&'static str),
    /// The engine said GOODBYE.
    Goodbye {
        /// The code and message.
        refusal: Refusal,
        /// When the worker should come back.
        retry_after: Option<Duration>,
        /// It answered HELLO.
        before_welcome: bool,
    },
    /// The connection was closed without GOODBYE: the engine died.
    Closed,
    /// Reading or writing failed.
    Broken(OsError),
    /// The token file cannot be read.
    Token(OsError),
    /// The engine was silent for this long.
    Silent(Duration),
    /// What the engine sent contradicts what it sent before.
    Inconsistent(ViewError),
    /// A preferred engine is back: the worker moves there.
    Moved,
}

impl From<ViewError> for Loss {
    fn from(error: ViewError) -> Self {
        Self::Inconsistent(error)
    }
}

impl Loss {
    /// The engine's code, if it sent one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Goodbye { refusal, .. } => Some(&refusal.code),
            _ => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "cannot resolve the host: {error}"),
            Self::NobodyListens => f.write_str("nothing listens there; is the engine running?"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::NoWelcome => f.write_str("connected, but HELLO was not answered in time"),
            Self::NotAnEngine(error) => write!(f, "this is not a Callboard engine: {error}"),
            Self::ClosedBeforeWelcome => {
                f.write_str("the connection was closed before WELCOME; is this a Callboard engine?")
            }
            Self::Garbled(error) => write!(f, "the engine sent an invalid message: {error}"),
            Self::Unexpected(kind) => write!(f, "the engine sent an unexpected {kind}"),
            Self::Goodbye {
                refusal,
                before_welcome: true,
                ..
            } => write!(f, "the engine refused: {refusal}"),
            Self::Goodbye { refusal, .. } => write!(f, "the engine said GOODBYE: {refusal}"),
            Self::Closed => f.write_str("the engine closed the connection without GOODBYE"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Token(error) => write!(f, "cannot read the token: {error}"),
            Self::Silent(time) => write!(f, "the engine was silent for {} ms", time.as_millis()),
            Self::Inconsistent(error) => error.fmt(f),
            Self::Moved => f.write_str("moving to a preferred engine"),
        }
    }
}

/// Why a worker has ended. It does not recover by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// [`Worker::close`](super::Worker::close), [`Worker::abort`](super::Worker::abort) or a drop.
    Closed,
    /// Another connection presented this worker's session key, most likely a clone of this process. Two workers
    /// would take the session from each other for ever, so the older one stays away.
    TakenOver,
    /// An authorised caller kicked this worker; the reason. It may come back if it is started again.
    Kicked(Refusal),
    /// Every address refused this worker for a reason that does not change with time.
    Refused(Refusal),
    /// [`Builder::connect`](super::Builder::connect) tried each address once and gave up.
    Unconnected,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the worker is closed"),
            Self::TakenOver => f.write_str(
                "another worker took over this session (session_taken_over); is the same process running twice?",
            ),
            Self::Kicked(refusal) => write!(f, "the worker was kicked: {refusal}"),
            Self::Refused(refusal) => write!(f, "the engine refused this worker permanently: {refusal}"),
            Self::Unconnected => f.write_str("no engine could be reached"),
        }
    }
}

impl std::error::Error for End {}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestError {
    /// A name is invalid. Nothing was sent.
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// The reason why it is invalid.
        error: NameError,
    },
    /// The engine refused, or the library did because a limit of WELCOME would be exceeded; the codes are the same.
    Refused(Refusal),
    /// No answer in time. The registration stays wanted and the library keeps trying; unregister to withdraw it.
    Timeout(Duration),
    /// The connection was lost during the request, and the request may not be repeated.
    ConnectionLost,
    /// The worker has ended.
    Ended(End),
}

impl RequestError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidName {
                error: NameError::Reserved,
                ..
            } => "reserved_name",
            Self::InvalidName { .. } => "invalid_name",
            Self::Refused(refusal) => &refusal.code,
            Self::Timeout(_) => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Ended(End::TakenOver) => "session_taken_over",
            Self::Ended(End::Kicked(_)) => "kicked",
            Self::Ended(_) => "closed",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.retryable,
            Self::Timeout(_) | Self::ConnectionLost => true,
            Self::InvalidName { .. } | Self::Ended(_) => false,
        }
    }

    /// Whether the request may have had an effect.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::Refused(refusal) => refusal.executed,
            Self::InvalidName { .. } => Executed::No,
            Self::Timeout(_) | Self::ConnectionLost | Self::Ended(_) => Executed::Maybe,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name, error } => {
                write!(f, "{}: `{}`: {error}", self.code(), name.escape_default())
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Timeout(time) => write!(f, "no answer within {} ms", time.as_millis()),
            Self::ConnectionLost => {
                f.write_str("connection_lost: the connection was lost during the request")
            }
            Self::Ended(end) => end.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why [`Board::wait_for`](super::Board::wait_for) and similar waits failed.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitError {
    /// It did not happen in time.
    Timeout(Duration),
    /// The worker has ended: it will not happen.
    Ended(End),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(time) => {
                write!(f, "timed out after {} ms", time.as_millis())
            }
            Self::Ended(end) => end.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}

/// The engine's stream of changes contradicts itself. The library reports it, reconnects, and requests a full
/// snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewError {
    /// A change begins after the view's revision: a change is missing.
    Gap {
        /// Revision of the view.
        mine: u64,
        /// Revision at which the change begins.
        from: u64,
        /// Revision at which it ends.
        to: u64,
    },
    /// Another step began before the last part of this one arrived.
    Torn {
        /// Revision of the unfinished step.
        unfinished: u64,
    },
    /// A change adds an existing entry, or removes or updates a missing one.
    Mismatch {
        /// Name of the entry.
        name: String,
        /// Revision of the change.
        revision: u64,
    },
    /// A snapshot, the end of one, or a change arrived unannounced.
    Unannounced,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { mine, from, to } => write!(
                f,
                "the board is at revision {mine}, the next change goes from {from} to {to}: a change is missing"
            ),
            Self::Torn { unfinished } => write!(
                f,
                "another step began before the step to revision {unfinished} was complete"
            ),
            Self::Mismatch { name, revision } => write!(
                f,
                "revision {revision} changes `{}` in a way that does not fit the board",
                name.escape_default()
            ),
            Self::Unannounced => f.write_str("a snapshot or a change arrived unannounced"),
        }
    }
}

impl std::error::Error for ViewError {}
