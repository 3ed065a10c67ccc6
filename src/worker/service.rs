//! A function together with its handler. The pool decides where it runs.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::fault::Fault;
use super::function::{Function, pack, unpack};
use crate::protocol::Code;

/// Runs when a function is called: takes the bytes of the arguments, returns those of the result.
#[derive(Clone)]
pub(super) struct Handler(Arc<Closure>);

type Closure = dyn Fn(&Context, &[u8]) -> Result<Vec<u8>, Fault> + Send + Sync;

impl Handler {
    pub(super) fn run(&self, context: &Context, arguments: &[u8]) -> Result<Vec<u8>, Fault> {
        (self.0)(context, arguments)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

/// A function and its handler, to be registered. A function may be registered without a handler: it is on the
/// board, and calls to it fail with `unsupported`.
#[derive(Clone)]
pub struct Service {
    pub(super) function: Function,
    pub(super) handler: Option<Handler>,
}

impl Function {
    /// Adds a handler. Arguments and result are MessagePack, structs as maps. A call whose arguments are not of the
    /// handler's type fails with `invalid_argument`, a panic with `handler_panicked`.
    ///
    /// ```
    /// use callboard::worker::{Context, Function};
    ///
    /// let double = Function::new("math::double").handler(|_: &Context, n: u64| Ok(2 * n));
    /// # let _ = double;
    /// ```
    #[must_use]
    pub fn handler<T, R, F>(self, handler: F) -> Service
    where
        T: DeserializeOwned,
        R: Serialize,
        F: Fn(&Context, T) -> Result<R, Fault> + Send + Sync + 'static,
    {
        self.raw_handler(move |context, arguments| {
            // A call without arguments means nil.
            let arguments = if arguments.is_empty() {
                &[0xc0]
            } else {
                arguments
            };
            let arguments = unpack(arguments).map_err(|error| {
                Fault::new(Code::InvalidArgument.as_str(), error.to_string()).not_executed()
            })?;
            let result = handler(context, arguments)?;
            pack(&result).map_err(|error| Fault::new("invalid_result", error.to_string()))
        })
    }

    /// Adds a handler for bytes of any format.
    #[must_use]
    pub fn raw_handler<F>(self, handler: F) -> Service
    where
        F: Fn(&Context, &[u8]) -> Result<Vec<u8>, Fault> + Send + Sync + 'static,
    {
        Service {
            function: self,
            handler: Some(Handler(Arc::new(handler))),
        }
    }
}

impl From<Function> for Service {
    fn from(function: Function) -> Self {
        Self {
            function,
            handler: None,
        }
    }
}

impl From<&str> for Service {
    fn from(name: &str) -> Self {
        Function::new(name).into()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("function", &self.function)
            .field("handled", &self.handler.is_some())
            .finish()
    }
}
