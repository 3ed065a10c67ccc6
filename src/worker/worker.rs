//! The worker as the application holds it: registers, serves, calls, and hands out the board. Each method passes on
//! to the runtime; nothing is decided here.

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

/// A worker: one connection to an engine, which it keeps up by itself. To be used from any thread. Its
/// drop closes it.
pub struct Worker {
    runtime: Arc<Runtime>,
}

impl Worker {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Provides these functions, all or none, as one revision of the board. Waits until the engine
    /// confirms or refuses, through a reconnect if need be. What was confirmed is registered again after
    /// every reconnect, until it is unregistered; what was refused is forgotten. Registering again what
    /// one has replaces its definition.
    ///
    /// ```no_run
    /// # use callboard::worker::{Function, RequestError, Worker};
    /// # fn provide(worker: &Worker) -> Result<(), RequestError> {
    /// worker.register(["stock::count", "stock::reserve"])?;
    /// match worker.register([Function::new("stock::nightly").exclusive()]) {
    ///     Err(error) if error.code() == "exclusive" => println!("somebody else does it: {error}"),
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

    /// Provides a function, and runs `handler` when it is called, on one of the worker's threads
    /// ([`Builder::threads`]). [`Function::handler`] says more; for several functions in one batch, give
    /// [`Worker::register`] functions with handlers.
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

    /// As [`Worker::serve`], over bytes of whatever format.
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

    /// No longer provides these functions, all or none. One that this worker does not provide fails the
    /// batch with `not_registered`.
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

    /// Ties functions to events, all or none; confirmed and kept over reconnects as registrations are.
    /// The functions need not be this worker's. Binding again what one has replaces its config.
    pub fn bind(
        &self,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Result<Registered, RequestError> {
        let bindings = checked_bindings(bindings)?;
        self.runtime.run_operation(|link| link.bind(bindings))
    }

    /// Unties them, all or none: event, function and id count. One that this worker does not bind fails
    /// the batch with `not_registered`.
    pub fn unbind(
        &self,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Result<Registered, RequestError> {
        let bindings = checked_bindings(bindings)?;
        self.runtime.run_operation(|link| link.unbind(bindings))
    }

    /// What calls others; for threads and handlers that shall not own the worker.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.runtime.clone())
    }

    /// Calls a function and waits for its result, 30 s at the most.
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

    /// Calls a function as the options say, and waits for its result.
    pub fn call_with<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
        options: &CallOptions,
    ) -> Result<R, CallError> {
        self.client().call_with(function, arguments, options)
    }

    /// [`Client::call_raw`].
    pub fn call_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<Vec<u8>, CallError> {
        self.client().call_raw(function, payload, options)
    }

    /// [`Client::begin_raw`].
    pub fn begin_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        self.client().begin_raw(function, payload, options)
    }

    /// [`Client::cast`].
    pub fn cast(&self, function: &str, arguments: &impl Serialize) -> Result<(), CallError> {
        self.client().cast(function, arguments)
    }

    /// [`Client::emit`].
    pub fn emit(&self, event: &str, payload: &impl Serialize) -> Result<u64, CallError> {
        self.client().emit(event, payload)
    }

    /// Takes no new calls, leaves the board, and waits until what is in flight is answered; for so long
    /// at the most, then the handlers are told to stop ([`Context::is_cancelled`]). Says whether all was
    /// answered. Calls to others go on; nothing can be registered any more. Closing does this, too. A handler
    /// may do it: its own call is not waited for, and answered as ever.
    #[expect(
        clippy::must_use_candidate,
        reason = "a close follows whatever came of it"
    )]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.runtime.drain(timeout)
    }

    /// What this worker provides or wants to, by name.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        self.runtime.with_link(Link::offers)
    }

    /// The live board.
    #[must_use]
    pub fn board(&self) -> Board {
        Board::new(self.runtime.clone())
    }

    /// The changes of the board and the connection from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.runtime.changes()
    }

    /// The board as it is, and all that changes after that: nothing is missed or told twice.
    #[must_use]
    pub fn board_and_changes(&self) -> (Snapshot, Changes) {
        self.runtime.subscribe()
    }

    /// How the connection stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.runtime.status()
    }

    /// Waits until there is a connection and the board is up to date.
    pub fn wait_synced(&self, timeout: Duration) -> Result<ConnectionInfo, WaitError> {
        self.runtime.wait_until(timeout, || {
            self.runtime.with_link(|link| {
                let connection = link.connection().filter(|_| link.view().is_live());
                connection.cloned()
            })
        })
    }

    /// Drains ([`Worker::drain`], for [`Builder::drain_timeout`] at the most), says goodbye and ends: all
    /// that it provides leaves the board in one step. A drop does the same. Beyond what its handlers need
    /// it takes three seconds at the most, where the engine does not answer. A handler that closes its own
    /// worker gives up its own answer with the connection: that caller gets `provider_gone`.
    pub fn close(self) {
        self.runtime.stop(true);
    }

    /// Ends as a crash would: the connection is dropped without a goodbye.
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

/// What an engine would refuse is refused here, so that it is an error without an engine, too.
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
