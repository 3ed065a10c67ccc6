//! CALL: checks, routing, and INVOKE. Completes no call but those that are refused.

use crate::engine::access::rights::Verb;
use crate::engine::calls::call::{Arguments, CallId, Caller, Terms};
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::calls::parking::ParkKey;
use crate::engine::calls::routing::{Load, Route, choose_provider};
use crate::engine::connection::Connection;
use crate::engine::connection::session::Sender;
use crate::engine::connection::table::ConnectionTable;
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::entry::Name;
use crate::engine::work;
use crate::engine::{Engine, Timer};
use crate::limits::Limits;
use crate::protocol::{Bin, Call, Code, Invoke, InvokeOptions, Text, check_event_name};

use super::input::Step;

/// The timeout of a call that names none, in milliseconds.
const TIMEOUT_DEFAULT: u64 = 30_000;
/// The longest timeout, in milliseconds: a day.
const TIMEOUT_MAX: u64 = 86_400_000;
/// Bytes of a frame that payload and headers leave to the rest of an INVOKE or a cast, names included.
const INVOKE_OVERHEAD: u64 = 1024;

impl Engine {
    pub(super) fn handle_call(&mut self, from: Sender, call: &Call<'_>, now: Time) -> Step {
        self.input.add(work::CALL, 1);
        let id = from.conn;
        if self.refuse_used_call_id(id, call.id, now) {
            return Step::Done;
        }
        if call.function.starts_with("engine::") {
            return self.handle_builtin(from, call, now);
        }
        if let Err(refusal) = self.place_call(from, call, now) {
            self.refuse_call(id, call.id, &refusal);
        }
        Step::Done
    }

    /// Checks and routes a call, then runs or parks it.
    fn place_call(&mut self, from: Sender, call: &Call<'_>, now: Time) -> Result<(), Refusal> {
        let session = self.session(from);
        if !session.grant().rights.allow(Verb::Call, &call.function) {
            return Err(Refusal::forbidden(Verb::Call, &call.function));
        }
        let caller = Caller {
            conn: from.conn,
            request: call.id,
            worker: from.worker,
            name: session.name().clone(),
        };
        self.check_call(from, call)?;
        let timeout = call
            .ext
            .timeout_ms
            .unwrap_or(TIMEOUT_DEFAULT)
            .min(TIMEOUT_MAX);
        let terms = Terms {
            deadline: now.after(Limits::ms(timeout)),
            wait: call.ext.wait,
            idempotent: call.ext.idempotent,
            worker: call.ext.worker,
        };
        let (payload, headers) = (&*call.payload, &*call.ext.headers);
        let (route, name) = self.route(from.namespace, &call.function, terms.worker, now);
        if let (Route::NoProvider, Err(error)) = (route, check_event_name(&call.function)) {
            // It will never have a provider, and a parked name is bounded as a name is.
            let message = format!("function: {error}");
            return Err(Refusal::new(Code::InvalidName, message));
        }
        let route = match route {
            Route::To(provider) if terms.wait && self.has_parked_before(from, provider, call) => {
                Route::Full
            }
            route => route,
        };
        let is_routed = matches!(route, Route::To(_));
        let parks = terms.wait && !is_routed;
        if parks || terms.idempotent && is_routed {
            self.check_retained(from, parks, payload.len() + headers.len())?;
        }
        if let Route::To(provider) = route {
            self.check_outbound_room(payload, headers)?;
            let name = name.unwrap_or_else(|| call.function.0.into());
            let call_id = self.add_call(from.namespace, name, caller, terms);
            if terms.idempotent {
                self.retain(call_id, payload, headers);
            }
            self.invoke(call_id, provider, payload, headers, now);
        } else if parks {
            let name = name.unwrap_or_else(|| call.function.0.into());
            let call_id = self.add_call(from.namespace, name, caller, terms);
            self.retain(call_id, payload, headers);
            self.park(call_id);
        } else {
            return Err(unroutable(route, call));
        }
        Ok(())
    }

    /// Whether a provider with room is still to be sent parked calls of the caller's user to the same function. They came
    /// before.
    fn has_parked_before(&self, from: Sender, provider: ConnId, call: &Call<'_>) -> bool {
        let provider = self.connections.get(provider);
        if !provider.is_some_and(Connection::is_parked_due) {
            return false;
        }
        let lists = self.calls.parked_in(from.namespace);
        let caller = self.connections.get(from.conn);
        lists.zip(caller).is_some_and(|(lists, caller)| {
            lists.contains(&ParkKey {
                function: call.function.0.into(),
                worker: call.ext.worker,
                user: caller.user(),
            })
        })
    }

    /// Checks a call by itself, and the limits on calls in flight.
    fn check_call(&self, from: Sender, call: &Call<'_>) -> Result<(), Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        self.check_size(&call.payload, &call.ext.headers)?;
        if !self.lifecycle.is_running() {
            let message = "the engine is shutting down";
            return Err(Refusal::new(Code::Draining, message));
        }
        if self.calls_of(from.conn).map_or(0, ConnectionCalls::made) as u64 >= limits.max_calls {
            let message = format!("{} of your calls are in flight", limits.max_calls);
            return Err(Refusal::over(flags.max_calls, Code::Overloaded, &message));
        }
        if !self.has_quota(from.conn, self.calls_pool(), 1) {
            let message = format!("{} calls are in flight", limits.max_calls_total);
            let flag = flags.max_calls_total;
            return Err(Refusal::over(flag, Code::Overloaded, &message));
        }
        Ok(())
    }

    /// Checks the limits on retained arguments, for `bytes` of a call that `parks` or is idempotent.
    fn check_retained(&self, from: Sender, parks: bool, bytes: usize) -> Result<(), Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        let own = self
            .calls_of(from.conn)
            .map_or(0, ConnectionCalls::retained);
        let (flag, message) = if parks && !self.has_quota(from.conn, self.parked_pool(), 1) {
            (flags.max_parked, "too many calls are parked")
        } else if !self.has_quota(from.conn, self.retained_pool(), bytes) {
            (flags.max_retained, "no room to retain the arguments")
        } else if (own + bytes) as u64 > limits.max_retained_each {
            let message = "no room to retain more of your arguments";
            (flags.max_retained_each, message)
        } else {
            return Ok(());
        };
        Err(Refusal::over(flag, Code::Overloaded, message))
    }

    /// Checks the size of the arguments for a provider.
    pub(super) fn check_size(&self, payload: &[u8], headers: &[u8]) -> Result<(), Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        let (bytes, carried) = (payload.len() as u64, (payload.len() + headers.len()) as u64);
        let (flag, message) = if bytes > limits.max_payload {
            let limit = limits.max_payload;
            let message = format!("a payload of {bytes} bytes, the limit is {limit}");
            (flags.max_payload, message)
        } else if carried > limits.max_frame - INVOKE_OVERHEAD {
            // A frame that its provider had to refuse would cost the provider its connection.
            let message = format!(
                "payload and headers take {carried} bytes, which leaves no room in a frame"
            );
            (flags.max_frame, message)
        } else {
            return Ok(());
        };
        Err(Refusal::over(flag, Code::PayloadTooLarge, &message))
    }

    /// Whether the outboxes have room for an INVOKE or a cast with these arguments.
    pub(super) fn fits_invoke(&self, payload: &[u8], headers: &[u8]) -> bool {
        self.fits_outbound(INVOKE_OVERHEAD as usize + payload.len() + headers.len())
    }

    fn check_outbound_room(&self, payload: &[u8], headers: &[u8]) -> Result<(), Refusal> {
        if self.fits_invoke(payload, headers) {
            return Ok(());
        }
        let flag = Limits::FLAGS.max_outbound_total;
        let message = "the outboxes of all connections are full";
        Err(Refusal::over(flag, Code::Overloaded, message))
    }

    // Routing.

    /// The route of a call, and the name under which the board stores the function, so that it need not be looked up or
    /// stored again. Its provider may provide it by the present credentials.
    pub(super) fn route(
        &mut self,
        namespace: usize,
        function: &str,
        pinned: Option<u64>,
        now: Time,
    ) -> (Route, Option<Name>) {
        loop {
            let routed = self.choose_route(namespace, function, pinned);
            match routed.0 {
                Route::To(provider) if self.judge(provider, now) > 0 => {}
                _ => return routed,
            }
        }
    }

    fn choose_route(
        &mut self,
        namespace: usize,
        function: &str,
        pinned: Option<u64>,
    ) -> (Route, Option<Name>) {
        let congestion = self.congestion();
        let connections = &self.connections;
        match self.registry[namespace].providers(function) {
            Some((name, providers, round_robin)) => {
                let name = name.clone();
                let load_of = |conn| load_of(connections, conn, &congestion);
                let rng = &mut self.rng;
                let route = choose_provider(providers, round_robin, pinned, load_of, rng);
                (route, Some(name))
            }
            None => (Route::NoProvider, None),
        }
    }

    /// The load of the worker on a connection; `None` if there is none.
    pub(super) fn load(&self, id: ConnId) -> Option<Load> {
        load_of(&self.connections, id, &self.congestion())
    }

    fn congestion(&self) -> Congestion {
        Congestion {
            max_outbound: self.config.limits.max_outbound as usize,
            saturated: self.calls.is_saturated(),
        }
    }

    // The table.

    /// The calls of a connection, if it has any.
    pub(super) fn calls_of(&self, id: ConnId) -> Option<&ConnectionCalls> {
        self.connections.get(id).and_then(|conn| conn.calls())
    }

    /// Adds a call to the table, with its deadline.
    fn add_call(
        &mut self,
        namespace: usize,
        function: Name,
        caller: Caller,
        terms: Terms,
    ) -> CallId {
        let (conn, request) = (caller.conn, caller.request);
        let user = self.connections.get(conn).map(Connection::user);
        let caller = (caller, user.expect("its frame is being handled"));
        let call_id = self.calls.insert(namespace, function, caller, terms);
        let timer = self.timers.insert(terms.deadline, Timer::Call(call_id));
        if let Some(call) = self.calls.get_mut(call_id) {
            call.timer = Some(timer);
        }
        if let Some(conn) = self.connections.get_mut(conn) {
            let calls = conn.calls_or_new(self.hash_keys);
            calls.insert_made(request, call_id);
        }
        call_id
    }

    /// Keeps a call's arguments for another try, for as long as its caller waits.
    fn retain(&mut self, call_id: CallId, payload: &[u8], headers: &[u8]) {
        let arguments = Arguments {
            payload: payload.into(),
            headers: headers.into(),
        };
        let Some((caller, bytes)) = self.calls.retain(call_id, arguments) else {
            return;
        };
        if let Some(conn) = self.connections.get_mut(caller) {
            conn.calls_or_new(self.hash_keys).add_retained(bytes);
        }
    }

    /// Drops a call's arguments, while its caller still waits.
    pub(super) fn release(&mut self, call_id: CallId) {
        let Some((caller, bytes)) = self.calls.release(call_id) else {
            return;
        };
        let caller = caller.and_then(|id| self.connections.get_mut(id));
        if let Some(calls) = caller.and_then(|conn| conn.calls_mut()) {
            calls.remove_retained(bytes);
        }
    }

    /// Runs a call on a provider: sends INVOKE.
    fn invoke(
        &mut self,
        call_id: CallId,
        provider: ConnId,
        payload: &[u8],
        headers: &[u8],
        now: Time,
    ) {
        let Some(conn) = self.connections.get_mut(provider) else {
            return;
        };
        let calls = conn.calls_or_new(self.hash_keys);
        self.calls.run(call_id, provider, calls);
        let Some(call) = self.calls.get(call_id) else {
            return;
        };
        let left = call.terms.deadline.0.saturating_sub(now.0);
        let caller = call.caller.as_ref();
        let invoke = Invoke {
            id: call_id.wire(),
            function: Text(&call.function),
            timeout_ms: left.div_ceil(1000),
            payload: Bin(payload),
            ext: InvokeOptions {
                caller: caller.map_or(0, |caller| caller.worker),
                caller_name: Text(caller.map_or("", |caller| &caller.name)),
                headers: Bin(headers),
            },
        };
        self.output.reply_with(conn, |out| invoke.encode_fast(out));
    }

    /// Runs a call whose arguments were retained. They stay retained only if another provider may try again.
    pub(super) fn invoke_retained(&mut self, call_id: CallId, provider: ConnId, now: Time) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let Some(arguments) = call.arguments.take() else {
            return;
        };
        let is_idempotent = call.terms.idempotent;
        let (payload, headers) = (&arguments.payload, &arguments.headers);
        self.invoke(call_id, provider, payload, headers, now);
        if let Some(call) = self.calls.get_mut(call_id) {
            call.arguments = Some(arguments);
        }
        if !is_idempotent {
            self.release(call_id);
        }
    }
}

/// The refusal of a call that no provider can run and that may not be parked.
fn unroutable(route: Route, call: &Call<'_>) -> Refusal {
    let name = shown(&call.function);
    if route == Route::Full {
        let message = format!("all providers of `{name}` are at capacity");
        return Refusal::new(Code::Overloaded, message);
    }
    let message = match call.ext.worker {
        Some(worker) => format!("worker {worker} does not provide `{name}`"),
        None => format!("`{name}` has no provider"),
    };
    Refusal::new(Code::NoSuchFunction, message)
}

/// What makes a provider take no further calls, whatever its capacity.
struct Congestion {
    /// Bytes that may wait for its connection.
    max_outbound: usize,
    /// The engine holds as many calls without a caller as it may: a provider that holds some of them gets no other. So
    /// callers that call and cancel, and providers that never answer, take nothing from the rest.
    saturated: bool,
}

/// The load of the worker on a connection.
fn load_of(connections: &ConnectionTable, id: ConnId, congestion: &Congestion) -> Option<Load> {
    let conn = connections.get(id)?;
    // A peer that has ended answers nothing any more, also if what it had sent before is still to be handled.
    let session = conn.session().filter(|_| !conn.is_eof_deferred())?;
    let is_full = conn.outbox().bytes() > congestion.max_outbound;
    if let Some(calls) = conn.calls() {
        let holds_abandoned = congestion.saturated && calls.has_abandoned();
        return Some(calls.load(is_full || holds_abandoned));
    }
    Some(Load {
        in_flight: 0,
        capacity: session.capacity(),
        overdue: false,
        congested: is_full,
    })
}
