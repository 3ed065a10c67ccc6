//! A failure of a function: the error that a handler returns and that a caller receives. Does not know the wire.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::function::FunctionError;
use super::function::{pack, unpack_optional};
use crate::protocol::Executed;

/// A failure of a function. `?` converts any error into one, with the code `failed`.
///
/// ```
/// use callboard::worker::Fault;
///
/// fn parse(text: &str) -> Result<u32, Fault> {
///     if text.is_empty() {
///         return Err(Fault::new("empty_order", "an order has at least one line").not_executed());
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("").unwrap_err().code(), "empty_order");
/// assert_eq!(parse("x").unwrap_err().code(), "failed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) code: Box<str>,
    pub(super) message: Box<str>,
    pub(super) retryable: bool,
    pub(super) executed: Executed,
    pub(super) details: Box<[u8]>,
}

impl Fault {
    /// A failure with a code, by convention `snake_case`, and a message for people. By default not retryable, and
    /// perhaps executed.
    #[must_use]
    pub fn new(code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            executed: Executed::Maybe,
            details: Box::default(),
        }
    }

    /// The same call may succeed later.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The call had no effect.
    #[must_use]
    pub fn not_executed(mut self) -> Self {
        self.executed = Executed::No;
        self
    }

    /// Details for programs, sent as MessagePack.
    pub fn with_details(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.with_details_bytes(pack(value)?))
    }

    /// Details as bytes of any format.
    #[must_use]
    pub fn with_details_bytes(mut self, bytes: impl Into<Box<[u8]>>) -> Self {
        self.details = bytes.into();
        self
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Its message, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.retryable
    }

    /// Whether the call may have had an effect.
    #[must_use]
    pub fn executed(&self) -> Executed {
        self.executed
    }

    /// The details as bytes; empty if there are none.
    #[must_use]
    pub fn raw_details(&self) -> &[u8] {
        &self.details
    }

    /// The details, decoded as MessagePack; `None` if there are none.
    pub fn details<T: DeserializeOwned>(&self) -> Result<Option<T>, FunctionError> {
        unpack_optional(&self.details)
    }
}

// Not an `Error` itself: otherwise the conversion from any error would be ambiguous.
impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::new("failed", error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
