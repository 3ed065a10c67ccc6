//! Calls, casts and events from the application's side: typed, blocking. What becomes of a call over
//! the connection is the link's business.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call_error::CallError;
use super::call_options::CallOptions;
use super::call_port::CallPort;
use super::function::{pack, unpack};
use super::outgoing_call::{CallKind, OutgoingCall};
use super::pending::PendingCall;
use crate::protocol::{NameError, check_event_name};

/// A worker's side that calls. Cheap to clone, to be used from any thread and from handlers. It does not
/// keep the worker alive: once that is closed, calls end with [`CallError::Ended`].
#[derive(Clone)]
pub struct Client {
    port: Arc<dyn CallPort>,
}

impl Client {
    pub(super) fn new(port: Arc<dyn CallPort>) -> Self {
        Self { port }
    }

    /// Calls a function and waits for its result, 30 s at the most.
    pub fn call<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> Result<R, CallError> {
        self.call_with(function, arguments, &CallOptions::default())
    }

    /// Calls a function as the options say, and waits for its result.
    pub fn call_with<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
        options: &CallOptions,
    ) -> Result<R, CallError> {
        let arguments = pack(arguments).map_err(CallError::Encode)?;
        let result = self.call_raw(function, arguments, options)?;
        unpack(&result).map_err(CallError::Decode)
    }

    /// Calls a function with bytes of whatever format, and waits for the bytes that it returns.
    pub fn call_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<Vec<u8>, CallError> {
        self.begin_raw(function, payload, options)?.wait()
    }

    /// Makes a call and returns at once; the result is to be waited for. Any number may be under way.
    pub fn begin_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        check(function)?;
        self.begin(CallKind::Function, function, payload.into(), options)
    }

    /// Calls a function without ever hearing of what came of it. An error says that it was not even
    /// sent: without a connection, nothing is.
    pub fn cast(&self, function: &str, arguments: &impl Serialize) -> Result<(), CallError> {
        let arguments = pack(arguments).map_err(CallError::Encode)?;
        self.cast_raw(function, &arguments, &[])
    }

    /// As [`Client::cast`], with bytes of whatever format and with headers.
    pub fn cast_raw(
        &self,
        function: &str,
        payload: &[u8],
        headers: &[u8],
    ) -> Result<(), CallError> {
        check(function)?;
        self.port.cast(function, payload, headers)
    }

    /// Casts an event to all functions that are bound to it, and says how many those are.
    pub fn emit(&self, event: &str, payload: &impl Serialize) -> Result<u64, CallError> {
        let payload = pack(payload).map_err(CallError::Encode)?;
        self.emit_raw(event, payload, &CallOptions::default())
    }

    /// As [`Client::emit`], with bytes of whatever format. Of the options only time and headers count.
    pub fn emit_raw(
        &self,
        event: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<u64, CallError> {
        check(event)?;
        self.begin(CallKind::Event, event, payload.into(), options)?
            .matched()
    }

    fn begin(
        &self,
        kind: CallKind,
        name: &str,
        payload: Vec<u8>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        let call = OutgoingCall {
            kind,
            name: name.into(),
            payload,
            options: options.clone(),
        };
        let (ticket, slot) = self.port.clone().begin(call)?;
        Ok(PendingCall {
            port: self.port.clone(),
            ticket,
            slot,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The engine's own functions may be called, so that only what no name can be is refused.
fn check(name: &str) -> Result<(), CallError> {
    check_event_name(name).map_err(|error: NameError| CallError::InvalidName {
        name: name.into(),
        error,
    })
}
