//! Errors of the demo. Decides nothing.

use std::fmt;
use std::io;

use callboard::worker::CallError;

use crate::cli::failure::Failure;

/// What went wrong in the demo.
#[derive(Debug)]
pub(super) enum DemoError {
    /// A worker was not notified in time.
    Silence {
        worker: &'static str,
        awaited: &'static str,
    },
    /// A worker was notified of something else than what happened.
    OtherNews {
        worker: &'static str,
        wanted: String,
        told: String,
    },
    /// A call failed that should have succeeded.
    Call(CallError),
    /// A call was answered by the wrong provider.
    OtherAnswer { wanted: String, answered: String },
    /// A worker's board at the end differs from that of a new worker.
    WrongBoard { worker: &'static str },
    /// The worker's process, the proxy or a thread could not be started.
    System(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { worker, awaited } => {
                write!(f, "{worker} was not notified of {awaited} in time")
            }
            Self::OtherNews {
                worker,
                wanted,
                told,
            } => write!(
                f,
                "{worker} should have been notified of `{wanted}`, but was notified of `{told}`"
            ),
            Self::Call(error) => write!(f, "a call failed: {error}"),
            Self::OtherAnswer { wanted, answered } => {
                write!(f, "`{wanted}` should have answered, but `{answered}` did")
            }
            Self::WrongBoard { worker } => {
                write!(f, "the board of {worker} differs from that of a new worker")
            }
            Self::System(error) => write!(
                f,
                "the system refused a resource that the demo needs: {error}"
            ),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Call(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        Self::Command(Box::new(error))
    }
}
