//! Why a call, a cast or an event failed: errors of the engine, of the function and of the library.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::{End, Refusal};
use super::fault::Fault;
use super::function::FunctionError;
use crate::protocol::{Code, Executed, Failure, NameError};

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The name is invalid. Nothing was sent.
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// The reason why it is invalid.
        error: NameError,
    },
    /// The arguments cannot be encoded as MessagePack. Nothing was sent.
    Encode(FunctionError),
    /// The payload exceeds the engine's `--max-payload`. Nothing was sent.
    PayloadTooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The engine's limit.
        limit: usize,
    },
    /// The engine failed the call: `no_such_function`, `provider_gone`, `deadline_exceeded`,
    /// `overloaded`, `cancelled` and the like ([`Code`]).
    Engine(Refusal),
    /// The function itself failed.
    Function(Fault),
    /// Neither a result nor the engine's `deadline_exceeded` arrived in time, or there was no connection.
    Timeout {
        /// The timeout of the call.
        after: Duration,
        /// Whether the call may have had an effect.
        executed: Executed,
    },
    /// The connection was lost before the result arrived, and the call may not be repeated.
    ConnectionLost {
        /// Whether the call may have had an effect.
        executed: Executed,
    },
    /// The result is not of the expected type.
    Decode(FunctionError),
    /// The worker has ended.
    Ended {
        /// Why it ended.
        end: End,
        /// Whether the call may have had an effect.
        executed: Executed,
    },
}

impl CallError {
    /// A stable code: the engine's, the function's, or `invalid_name`, `invalid_argument`,
    /// `payload_too_large`, `deadline_exceeded`, `connection_lost`, `invalid_result`,
    /// `session_taken_over`, `closed`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidName {
                error: NameError::Reserved,
                ..
            } => Code::ReservedName.as_str(),
            Self::InvalidName { .. } => Code::InvalidName.as_str(),
            Self::Encode(_) => Code::InvalidArgument.as_str(),
            Self::PayloadTooLarge { .. } => Code::PayloadTooLarge.as_str(),
            Self::Engine(refusal) => &refusal.code,
            Self::Function(fault) => fault.code(),
            Self::Timeout { .. } => Code::DeadlineExceeded.as_str(),
            Self::ConnectionLost { .. } => Code::ConnectionLost.as_str(),
            Self::Decode(_) => "invalid_result",
            Self::Ended {
                end: End::TakenOver,
                ..
            } => Code::SessionTakenOver.as_str(),
            Self::Ended { .. } => "closed",
        }
    }

    /// Whether the same call may succeed later unchanged.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Engine(refusal) => refusal.retryable,
            Self::Function(fault) => fault.retryable(),
            Self::Timeout { .. } | Self::ConnectionLost { .. } => true,
            Self::InvalidName { .. }
            | Self::Encode(_)
            | Self::PayloadTooLarge { .. }
            | Self::Decode(_)
            | Self::Ended { .. } => false,
        }
    }

    /// Whether the call may have had an effect.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::InvalidName { .. } | Self::Encode(_) | Self::PayloadTooLarge { .. } => {
                Executed::No
            }
            Self::Engine(refusal) => refusal.executed,
            Self::Function(fault) => fault.executed(),
            Self::Timeout { executed, .. }
            | Self::ConnectionLost { executed }
            | Self::Ended { executed, .. } => *executed,
            Self::Decode(_) => Executed::Maybe,
        }
    }

    /// Whether the function itself failed, not the engine or the library.
    #[must_use]
    pub fn is_from_function(&self) -> bool {
        matches!(self, Self::Function(_))
    }
}

impl From<&Failure<'_>> for CallError {
    fn from(failure: &Failure<'_>) -> Self {
        if !failure.ext.from_function {
            return Self::Engine(failure.into());
        }
        Self::Function(Fault {
            code: failure.code.0.into(),
            message: failure.message.0.into(),
            retryable: failure.retryable,
            executed: failure.executed,
            details: failure.ext.details.0.into(),
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name, error } => {
                write!(f, "{}: `{}`: {error}", self.code(), name.escape_default())
            }
            Self::Encode(error) | Self::Decode(error) => write!(f, "{}: {error}", self.code()),
            Self::PayloadTooLarge { bytes, limit } => write!(
                f,
                "payload_too_large: a payload of {bytes} bytes, the engine's limit is {limit} \
                 (--max-payload)"
            ),
            Self::Engine(refusal) => refusal.fmt(f),
            Self::Function(fault) => fault.fmt(f),
            Self::Timeout { after, .. } => write!(
                f,
                "deadline_exceeded: no answer within {} ms",
                after.as_millis()
            ),
            Self::ConnectionLost { .. } => {
                f.write_str("connection_lost: the connection was lost before the answer")
            }
            Self::Ended { end, .. } => end.fmt(f),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) | Self::Decode(error) => Some(error),
            Self::Ended { end, .. } => Some(end),
            _ => None,
        }
    }
}
