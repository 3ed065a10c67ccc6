//! The handle that an application has of its worker: registers, serves, calls, and gives access to the board. Each
//! method delegates to the runtime; nothing is decided here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::board::Board;
use super::call_error::CallError;
use super::call_options::CallOptions;
use super::changes::Changes;
use super::client::Client;
use super::context::Context;
use super::entry::Binding;
use super::error::{RequestError, WaitError};
use super::fault::Fault;
use super::function::Function;
use super::link::Link;
use super::pending::PendingCall;
use super::runtime::Runtime;
use super::service::Service;
use super::snapshot::Snapshot;
use super::status::{ConnectionInfo, Offer, Registered, Status};
use crate::protocol::{NameError, check_event_name, check_function_name};

/// A worker: one connection to an engine, kept up by itself. Usable from any thread. Dropping it closes it.
pub struct Worker {
    runtime: Arc<Runtime>,
}

impl Worker {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Registers these functions, all or none, as one revision of the board. Waits until the engine confirms or
    /// refuses, across a reconnect if necessary. Confirmed functions are registered again after every reconnect
    /// until they are unregistered; refused ones are forgotten. Registering a function again replaces its
    /// definition.
    ///
    /// ```no_run
    /// # use callboard::worker::{Function, RequestError, Worker};
    /// # fn provide(worker: &Worker) -> Result<(), RequestError> {
    /// worker.register(["stock::count", "stock::reserve"])?;
    /// match worker.register([Function::new("stock::nightly").exclusive()]) {
    ///     Err(error) if error.code() == "exclusive" => println!("another worker does it: {error}"),
    ///     other => drop(other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn register<F: Into<Service>>(
        &self,
        functions: impl IntoIterator<Item = F>,
    ) -> Result<Registered, RequestError> {
        let services: Vec<Service> = functions.into_iter().map(Into::into).collect();
        for service in &services {
            check(service.function.name())?;
        }
        self.runtime.register(services)
    }

    /// Registers a function and runs `handler` for each call, on one of the worker's threads
    /// ([`Builder::threads`](super::Builder::threads)). [`Function::handler`] has the details. For several
    /// functions in one batch, give [`Worker::register`] functions with handlers.
    ///
    /// ```no_run
    /// # use callboard::worker::{Context, Fault, Function, RequestError, Worker};
    /// # fn provide(worker: &Worker) -> Result<(), RequestError> {
    /// worker.serve("math::half", |_: &Context, n: u64| {
    ///     if n % 2 == 1 {
    ///         return Err(Fault::new("odd", format!("{n} has no half")));
    ///     }
    ///     Ok(n / 2)
    /// })?;
    /// worker.register([
    ///     Function::new("math::double").handler(|_: &Context, n: u64| Ok(2 * n)),
    ///     Function::new("math::sum").handler(|_: &Context, n: Vec<u64>| Ok(n.iter().sum::<u64>())),
    /// ])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve<T, R, F>(
        &self,
        function: impl Into<Function>,
        handler: F,
    ) -> Result<Registered, RequestError>
    where
        T: DeserializeOwned,
        R: Serialize,
        F: Fn(&Context, T) -> Result<R, Fault> + Send + Sync + 'static,
    {
        self.register([function.into().handler(handler)])
    }

    /// Like [`Worker::serve`], for bytes of any format.
    pub fn serve_raw<F>(
        &self,
        function: impl Into<Function>,
        handler: F,
    ) -> Result<Registered, RequestError>
    where
        F: Fn(&Context, &[u8]) -> Result<Vec<u8>, Fault> + Send + Sync + 'static,
    {
        self.register([function.into().raw_handler(handler)])
    }

    /// Unregisters these functions, all or none. A function that this worker does not provide fails the batch with
    /// `not_registered`.
    pub fn unregister<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Registered, RequestError> {
        let names: Vec<Arc<str>> = names.into_iter().map(|name| name.as_ref().into()).collect();
        for name in &names {
            check(name)?;
        }
        self.runtime.unregister(&names)
    }

    /// Binds functions to events, all or none; confirmed and kept across reconnects like registrations. The
    /// functions may be any worker's. Binding again replaces the configuration.
    pub fn bind(
        &self,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Result<Registered, RequestError> {
        let bindings = checked_bindings(bindings)?;
        self.runtime.run_operation(|link| link.bind(bindings))
    }

    /// Unbinds, all or none; event, function and id identify a binding. A binding that this worker does not have
    /// fails the batch with `not_registered`.
    pub fn unbind(
        &self,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Result<Registered, RequestError> {
        let bindings = checked_bindings(bindings)?;
        self.runtime.run_operation(|link| link.unbind(bindings))
    }

    /// A client for threads and handlers that must not own the worker.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.runtime.clone())
    }

    /// Calls a function and waits for its result, at most 30 s.
    ///
    /// ```no_run
    /// # use callboard::worker::{CallError, CallOptions, Worker};
    /// # fn calls(worker: &Worker) -> Result<(), CallError> {
    /// let n: u64 = worker.call("math::double", &21)?;
    /// let patient = CallOptions::new().wait().idempotent();
    /// match worker.call_with::<u64>("math::half", &n, &patient) {
    ///     Ok(half) => println!("{half}"),
    ///     Err(CallError::Function(fault)) => println!("it cannot: {fault}"),
    ///     Err(error) if error.retryable() => println!("later: {error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> Result<R, CallError> {
        self.client().call(function, arguments)
    }

    /// Calls a function with options, and waits for its result.
    pub fn call_with<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
        options: &CallOptions,
    ) -> Result<R, CallError> {
        self.client().call_with(function, arguments, options)
    }

    /// See [`Client::call_raw`].
    pub fn call_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<Vec<u8>, CallError> {
        self.client().call_raw(function, payload, options)
    }

    /// See [`Client::begin_raw`].
    pub fn begin_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        self.client().begin_raw(function, payload, options)
    }

    /// See [`Client::cast`].
    pub fn cast(&self, function: &str, arguments: &impl Serialize) -> Result<(), CallError> {
        self.client().cast(function, arguments)
    }

    /// See [`Client::emit`].
    pub fn emit(&self, event: &str, payload: &impl Serialize) -> Result<u64, CallError> {
        self.client().emit(event, payload)
    }

    /// Leaves the board, accepts no new calls, and waits until those in flight are answered. When the timeout
    /// passes, handlers are cancelled ([`Context::is_cancelled`]). Returns whether all were answered. Calls to
    /// others continue; registration is no longer possible. Closing drains too. A handler may drain its own worker:
    /// its own call is not waited for, and is answered as usual.
    #[expect(
        clippy::must_use_candidate,
        reason = "a close follows whatever came of it"
    )]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.runtime.drain(timeout)
    }

    /// The functions that this worker provides or wants to provide, by name.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        self.runtime.with_link(Link::offers)
    }

    /// The live board.
    #[must_use]
    pub fn board(&self) -> Board {
        Board::new(self.runtime.clone())
    }

    /// Notices about the board and the connection from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.runtime.changes()
    }

    /// The current board, and all notices after it: none is missing or repeated.
    #[must_use]
    pub fn board_and_changes(&self) -> (Snapshot, Changes) {
        self.runtime.subscribe()
    }

    /// The status of the connection.
    #[must_use]
    pub fn status(&self) -> Status {
        self.runtime.status()
    }

    /// Waits until there is a connection and the board is synced.
    pub fn wait_synced(&self, timeout: Duration) -> Result<ConnectionInfo, WaitError> {
        self.runtime.wait_until(timeout, || {
            self.runtime.with_link(|link| {
                let connection = link.connection().filter(|_| link.view().is_live());
                connection.cloned()
            })
        })
    }

    /// Drains ([`Worker::drain`], for at most [`Builder::drain_timeout`](super::Builder::drain_timeout)), says
    /// GOODBYE and ends: its functions leave the board in one step. Dropping the worker does the same. Apart from
    /// its handlers it takes at most three seconds, if the engine does not answer. A handler that closes its own
    /// worker loses its connection before it can answer: its caller gets `provider_gone`.
    pub fn close(self) {
        self.runtime.stop(true);
    }

    /// Ends like a crash: the connection is dropped without GOODBYE.
    pub fn abort(self) {
        self.runtime.stop(false);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.runtime.stop(true);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Names that an engine would refuse are refused here, so that the error does not depend on an engine.
fn check(name: &str) -> Result<(), RequestError> {
    check_function_name(name).map_err(|error: NameError| RequestError::InvalidName {
        name: name.into(),
        error,
    })
}

fn checked_bindings(
    bindings: impl IntoIterator<Item = Binding>,
) -> Result<Vec<Binding>, RequestError> {
    let bindings: Vec<Binding> = bindings.into_iter().collect();
    bindings.iter().try_for_each(check_binding)?;
    Ok(bindings)
}

fn check_binding(binding: &Binding) -> Result<(), RequestError> {
    let invalid = |name: &str| {
        let name = name.into();
        |error| RequestError::InvalidName { name, error }
    };
    check_event_name(binding.event()).map_err(invalid(binding.event()))?;
    if !binding.id().is_empty() {
        check_event_name(binding.id()).map_err(invalid(binding.id()))?;
    }
    check(binding.function())
}
