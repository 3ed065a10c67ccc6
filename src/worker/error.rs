//! What can go wrong between a worker and its engine, one enum per question: why could nobody be
//! reached, why did a connection end, why is the worker over, why did a request fail.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::protocol::{DecodeError, Executed, Failure, FrameError, NameError};

/// The engine said no, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code; [`crate::protocol::Code::parse`] knows those of this version.
    pub code: Arc<str>,
    /// For people.
    pub message: Arc<str>,
    /// The same may succeed later without being changed.
    pub retryable: bool,
    /// Whether it may have had its effect.
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

/// An error of the operating system, to be cloned and compared. Two are equal if they are of one kind.
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

/// Why [`Builder::connect`](super::Builder::connect) gave up.
#[derive(Debug, Clone)]
pub enum ConnectError {
    /// The list of addresses is empty.
    NoAddress,
    /// The worker's name or its namespace is against the grammar.
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// What is wrong about it.
        error: NameError,
    },
    /// HELLO would have more than the 16 KiB that an engine reads from a stranger: too much metadata
    /// or too many prefixes.
    HelloTooLarge {
        /// Bytes of the frame's body.
        bytes: usize,
    },
    /// Each address was tried, and each failed.
    Failed(Vec<Attempt>),
    /// The time was over before the board was there. What was tried until then is listed.
    Timeout(Vec<Attempt>),
    /// The engine ended the session for good while the board was still on its way.
    Ended(End),
    /// The operating system gives no thread or no randomness.
    System(OsError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = match self {
            Self::NoAddress => return f.write_str("no address of an engine was given"),
            Self::InvalidName { name, error } => {
                return write!(f, "`{}`: {error}", name.escape_default());
            }
            Self::HelloTooLarge { bytes } => {
                return write!(
                    f,
                    "metadata and watch make a HELLO of {bytes} bytes, an engine reads 16384"
                );
            }
            Self::Ended(end) => return end.fmt(f),
            Self::System(error) => return error.fmt(f),
            Self::Failed(attempts) => attempts,
            Self::Timeout(attempts) => {
                f.write_str("the time is over")?;
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

/// What came of trying one address.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The address.
    pub address: Address,
    /// Why it was nothing.
    pub loss: Loss,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.loss)
    }
}

/// Why there is no connection: it could not be made, or it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// The host's name means nothing.
    Resolve(OsError),
    /// Nobody listens there: the connection was refused, or the socket's file does not exist.
    NobodyListens,
    /// The host did not answer in time.
    Unreachable(OsError),
    /// Somebody accepted the connection and did not say WELCOME in time.
    NoWelcome,
    /// Whoever listens there does not speak this protocol: these are no frames.
    NotAnEngine(FrameError),
    /// Whoever listens there does not speak this protocol: it closed before WELCOME, without a reason.
    ClosedBeforeWelcome,
    /// The engine sent a message that cannot be read, or that makes no sense at this point.
    Garbled(DecodeError),
    /// The engine sent a message of this kind that makes no sense at this point.
    Unexpected(&'static str),
    /// The engine said GOODBYE.
    Goodbye {
        /// What it said.
        refusal: Refusal,
        /// When it wants to see us again.
        retry_after: Option<Duration>,
        /// It was the answer to HELLO.
        before_welcome: bool,
    },
    /// The connection was closed without a word: the engine died.
    Closed,
    /// Reading or writing failed.
    Broken(OsError),
    /// The file that has the token cannot be read.
    Token(OsError),
    /// Nothing was heard from the engine for this long.
    Silent(Duration),
    /// What the engine sent contradicts what it sent before.
    Inconsistent(ViewError),
    /// An engine that comes earlier in the list of addresses is back: the worker moves there.
    Moved,
}

impl From<ViewError> for Loss {
    fn from(error: ViewError) -> Self {
        Self::Inconsistent(error)
    }
}

impl Loss {
    /// The engine's code, if the engine spoke.
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
            Self::Resolve(error) => write!(f, "this host is not known: {error}"),
            Self::NobodyListens => f.write_str("nobody listens there; is the engine running?"),
            Self::Unreachable(error) => write!(f, "no way there: {error}"),
            Self::NoWelcome => {
                f.write_str("somebody listens there, but did not answer HELLO in time")
            }
            Self::NotAnEngine(error) => write!(f, "no Callboard engine listens there: {error}"),
            Self::ClosedBeforeWelcome => f.write_str(
                "whoever listens there closed without WELCOME; is it a Callboard engine?",
            ),
            Self::Garbled(error) => write!(f, "the engine sent what cannot be read: {error}"),
            Self::Unexpected(kind) => write!(f, "the engine sent {kind}, which has no place here"),
            Self::Goodbye {
                refusal,
                before_welcome: true,
                ..
            } => write!(f, "the engine refused: {refusal}"),
            Self::Goodbye { refusal, .. } => write!(f, "the engine said goodbye: {refusal}"),
            Self::Closed => f.write_str("the engine closed the connection without a word"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Token(error) => write!(f, "the token cannot be read: {error}"),
            Self::Silent(time) => write!(f, "nothing was heard for {} ms", time.as_millis()),
            Self::Inconsistent(error) => error.fmt(f),
            Self::Moved => f.write_str("moving to an engine that comes first"),
        }
    }
}

/// Why a worker is over. It does not come back from this by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// [`Worker::close`](super::Worker::close), [`Worker::abort`](super::Worker::abort) or a drop.
    Closed,
    /// Another connection presented this worker's session key: a clone of this process, most likely.
    /// Two that take the session from each other would go on for ever, so the older one stays away.
    TakenOver,
    /// Somebody who may do so sent this worker away, in these words. Started again, it may come back.
    Kicked(Refusal),
    /// Every address refused this worker for a reason that does not change by waiting.
    Refused(Refusal),
    /// [`Builder::connect`](super::Builder::connect) tried each address once, and gave up.
    Unconnected,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the worker is closed"),
            Self::TakenOver => f.write_str(
                "another worker took this session over (session_taken_over): is the same process \
                 running twice?",
            ),
            Self::Kicked(refusal) => write!(f, "the worker was sent away: {refusal}"),
            Self::Refused(refusal) => write!(f, "the engine refused for good: {refusal}"),
            Self::Unconnected => f.write_str("no engine could be reached"),
        }
    }
}

impl std::error::Error for End {}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestError {
    /// A name is against the grammar. Nothing was sent.
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// What is wrong about it.
        error: NameError,
    },
    /// The engine refused, or the library did in its place because a limit that WELCOME told would be
    /// exceeded; the codes are the same.
    Refused(Refusal),
    /// No answer in time. What was to be registered stays wanted: the library goes on trying.
    /// Unregister it to give it up.
    Timeout(Duration),
    /// The connection ended while the request was under way, and it is not one that may be repeated.
    ConnectionLost,
    /// The worker is over.
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

    /// Whether it may have had its effect.
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
            Self::ConnectionLost => f.write_str("connection_lost: the connection ended meanwhile"),
            Self::Ended(end) => end.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why [`Board::wait_for`](super::Board::wait_for) and its like gave up.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitError {
    /// It did not come about in time.
    Timeout(Duration),
    /// The worker is over: it will not come about any more.
    Ended(End),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(time) => {
                write!(f, "it did not come about within {} ms", time.as_millis())
            }
            Self::Ended(end) => end.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {}

/// The engine's stream of changes contradicts itself. The library reports it, reconnects, and asks for
/// a whole board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewError {
    /// A change begins after the revision that the view stands at: something is missing between.
    Gap {
        /// Where the view stands.
        mine: u64,
        /// Where the change begins.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// A step's parts do not belong together: another step began before its last part came.
    Torn {
        /// Where the unfinished step ends.
        unfinished: u64,
    },
    /// Something is added that is there, or removed or updated that is not.
    Mismatch {
        /// Its name.
        name: String,
        /// The revision that says so.
        revision: u64,
    },
    /// A snapshot, or the end of one, that nothing announced.
    Unannounced,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { mine, from, to } => write!(
                f,
                "the board stands at revision {mine}, the next change goes from {from} to {to}: \
                 something is missing between"
            ),
            Self::Torn { unfinished } => write!(
                f,
                "the step to revision {unfinished} was not finished before another began"
            ),
            Self::Mismatch { name, revision } => write!(
                f,
                "revision {revision} changes `{}` in a way that does not fit this board",
                name.escape_default()
            ),
            Self::Unannounced => f.write_str("a snapshot came that nothing announced"),
        }
    }
}

impl std::error::Error for ViewError {}
