//! Calls, casts and events for the application: typed and blocking. The link decides what becomes of a call.

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

/// Makes calls for a worker. Cheap to clone, usable from any thread and in handlers. Does not keep the worker
/// alive: once the worker is closed, calls end with [`CallError::Ended`].
#[derive(Clone)]
pub struct Client {
    port: Arc<dyn CallPort>,
}

impl Client {
    pub(super) fn new(port: Arc<dyn CallPort>) -> Self {
        Self { port }
    }

    /// Calls a function and waits for its result, at most 30 s.
    pub fn call<R: DeserializeOwned>(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> Result<R, CallError> {
        self.call_with(function, arguments, &CallOptions::default())
    }

    /// Calls a function with options, and waits for its result.
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

    /// Calls a function with bytes of any format, and waits for the bytes of its result.
    pub fn call_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<Vec<u8>, CallError> {
        self.begin_raw(function, payload, options)?.wait()
    }

    /// Starts a call and returns at once; wait for the result later. Any number of calls may be in flight.
    pub fn begin_raw(
        &self,
        function: &str,
        payload: impl Into<Vec<u8>>,
        options: &CallOptions,
    ) -> Result<PendingCall, CallError> {
        check(function)?;
        self.begin(CallKind::Function, function, payload.into(), options)
    }

    /// Calls a function without a result or confirmation. An error means that nothing was sent: a cast requires a
    /// connection.
    pub fn cast(&self, function: &str, arguments: &impl Serialize) -> Result<(), CallError> {
        let arguments = pack(arguments).map_err(CallError::Encode)?;
        self.cast_raw(function, &arguments, &[])
    }

    /// Like [`Client::cast`], with bytes of any format and with headers.
    pub fn cast_raw(
        &self,
        function: &str,
        payload: &[u8],
        headers: &[u8],
    ) -> Result<(), CallError> {
        check(function)?;
        self.port.cast(function, payload, headers)
    }

    /// Casts an event to all functions bound to it, and returns their number.
    pub fn emit(&self, event: &str, payload: &impl Serialize) -> Result<u64, CallError> {
        let payload = pack(payload).map_err(CallError::Encode)?;
        self.emit_raw(event, payload, &CallOptions::default())
    }

    /// Like [`Client::emit`], with bytes of any format. Of the options, only the timeout and the headers apply.
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

/// Functions of the engine itself may be called, so only names that cannot exist are refused.
fn check(name: &str) -> Result<(), CallError> {
    check_event_name(name).map_err(|error: NameError| CallError::InvalidName {
        name: name.into(),
        error,
    })
}
