//! Calls: from CALL over INVOKE to exactly one ending, whatever happens in between. The caller's ending and
//! the provider's slot are two things: a caller may have long gone its way while the provider still runs.

use crate::protocol::{
    Bin, Call, Cancel, Code, Executed, Failure, FailureOptions, Invoke, InvokeOptions,
    NoExtensions, Outcome, Text,
};

use super::call::{Arguments, CallId, Caller, Place, Wishes};
use super::outbox::OwnFrame;
use super::routing::{Choice, choose};
use super::traffic::{Park, Traffic};
use super::{ConnId, Engine, Shutdown, Time, Timer, live};
use crate::limits::Limits;

/// The deadline of a call that names none, in milliseconds.
const TIMEOUT_DEFAULT: u64 = 30_000;
/// The longest deadline, in milliseconds: a day.
const TIMEOUT_MAX: u64 = 86_400_000;

/// How a call ends for its caller.
pub(super) enum Ending<'a> {
    /// The function's result.
    Result(&'a [u8]),
    /// The function's own error, or what its worker says in its stead.
    Failure(&'a Failure<'a>),
    /// An error of the engine.
    Engine {
        code: Code,
        message: &'a str,
        executed: Executed,
    },
}

impl Ending<'_> {
    fn frame(&self, request: u64) -> Vec<u8> {
        match self {
            Ending::Result(payload) => Outcome {
                id: request,
                payload: Bin(payload),
                ..Outcome::default()
            }
            .to_frame(),
            Ending::Failure(failure) => {
                let details = failure.ext.details;
                let ext = FailureOptions {
                    from_function: true,
                    details,
                };
                Failure {
                    id: request,
                    ext,
                    ..(*failure).clone()
                }
                .to_frame()
            }
            Ending::Engine {
                code,
                message,
                executed,
            } => Failure {
                id: request,
                code: Text(code.as_str()),
                message: Text(message),
                retryable: code.retryable(),
                executed: *executed,
                ..Failure::default()
            }
            .to_frame(),
        }
    }
}

impl Engine {
    pub(super) fn handle_call(&mut self, id: ConnId, call: &Call<'_>, now: Time) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        let Some(identity) = conn.identity.as_deref() else {
            return;
        };
        let made = conn
            .traffic
            .as_ref()
            .map_or(0, |traffic| traffic.made.len());
        if conn
            .traffic
            .as_ref()
            .is_some_and(|traffic| traffic.made.contains_key(&call.id))
        {
            let message = format!("call id {} is still in flight", call.id);
            return self.refuse(id, Code::ProtocolError, &message, now);
        }
        if call.function.starts_with("engine::") {
            return self.handle_builtin(id, call);
        }
        let caller = Caller {
            conn: id,
            request: call.id,
            worker: identity.worker,
            name: identity.name.clone(),
        };
        let namespace = identity.namespace;
        let limits = &self.config.limits;
        let refusal = if call.payload.len() as u64 > limits.max_payload {
            let limit = limits.max_payload;
            let bytes = call.payload.len();
            let message =
                format!("a payload of {bytes} bytes, the limit is {limit} (--max-payload)");
            Some((Code::PayloadTooLarge, message))
        } else if self.shutdown != Shutdown::No {
            Some((Code::Draining, "the engine is about to stop".to_owned()))
        } else if made as u64 >= limits.max_calls {
            let limit = limits.max_calls;
            Some((
                Code::Overloaded,
                format!("{limit} calls of yours are in flight (--max-calls)"),
            ))
        } else if self.calls.len() as u64 >= limits.max_calls_total {
            let limit = limits.max_calls_total;
            Some((
                Code::Overloaded,
                format!("{limit} calls are in flight (--max-calls-total)"),
            ))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            return self.fail(id, call.id, code, &message);
        }
        let timeout = call
            .ext
            .timeout_ms
            .unwrap_or(TIMEOUT_DEFAULT)
            .min(TIMEOUT_MAX);
        let wishes = Wishes {
            deadline: now.after(Limits::ms(timeout)),
            wait: call.ext.wait,
            idempotent: call.ext.idempotent,
            worker: call.ext.worker,
        };
        match self.route(namespace, &call.function, wishes.worker) {
            Choice::To(provider) => {
                let call_id = self.make(namespace, &call.function, caller, wishes);
                if wishes.idempotent && !self.retain(call_id, &call.payload, &call.ext.headers) {
                    return self.end_early(call_id, Code::Overloaded, RETAINED);
                }
                self.start(call_id, provider, &call.payload, &call.ext.headers, now);
            }
            Choice::Full | Choice::Nobody if wishes.wait => {
                if self.parked as u64 >= self.config.limits.max_parked {
                    let message = "too many calls wait for a provider (--max-parked)";
                    return self.fail(id, call.id, Code::Overloaded, message);
                }
                let call_id = self.make(namespace, &call.function, caller, wishes);
                if !self.retain(call_id, &call.payload, &call.ext.headers) {
                    return self.end_early(call_id, Code::Overloaded, RETAINED);
                }
                self.park(call_id);
            }
            Choice::Full => {
                let name = call.function.escape_debug();
                let message = format!("all providers of `{name}` have as many calls as they take");
                self.fail(id, call.id, Code::Overloaded, &message);
            }
            Choice::Nobody => {
                let name = call.function.escape_debug();
                let message = match wishes.worker {
                    Some(worker) => format!("worker {worker} does not provide `{name}`"),
                    None => format!("nobody provides `{name}`"),
                };
                self.fail(id, call.id, Code::NoSuchFunction, &message);
            }
        }
    }

    /// A worker's answer to an INVOKE. One that is not owed is dropped and counted.
    pub(super) fn handle_answer(&mut self, id: ConnId, wire: u64, ending: &Ending<'_>, now: Time) {
        let call_id = CallId::from_wire(wire);
        let owed = self
            .calls
            .get_mut(call_id)
            .is_some_and(|call| call.place == Place::Running(id));
        if !owed {
            self.stats.dropped_frames += 1;
            return;
        }
        let limit = self.config.limits.max_payload;
        match ending {
            Ending::Result(payload) if payload.len() as u64 > limit => {
                let bytes = payload.len();
                let message =
                    format!("a result of {bytes} bytes, the limit is {limit} (--max-payload)");
                self.end(
                    call_id,
                    &Ending::Engine {
                        code: Code::PayloadTooLarge,
                        message: &message,
                        executed: Executed::Maybe,
                    },
                );
            }
            ending => self.end(call_id, ending),
        }
        self.forget(call_id);
        self.serve(id, now);
        self.stop_if_idle(now);
    }

    /// The caller's CANCEL: the call ends at once; the provider is told and keeps its slot until it answers.
    pub(super) fn handle_cancel(&mut self, id: ConnId, request: u64, now: Time) {
        let traffic = self.get(id).and_then(|conn| conn.traffic.as_ref());
        let Some(&call_id) = traffic.and_then(|traffic| traffic.made.get(&request)) else {
            self.stats.dropped_frames += 1;
            return;
        };
        self.end_early(call_id, Code::Cancelled, "the caller cancelled");
        self.stop_if_idle(now);
    }

    /// A call's deadline has passed.
    pub(super) fn expire_call(&mut self, call_id: CallId, now: Time) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        call.timer = None;
        if let Place::Running(provider) = call.place {
            call.overdue = true;
            let traffic = live(&mut self.connections, provider).and_then(|it| it.traffic.as_mut());
            if let Some(traffic) = traffic {
                traffic.overdue += 1;
            }
        }
        self.end_early(call_id, Code::DeadlineExceeded, "the deadline passed");
        self.stop_if_idle(now);
    }

    /// Ends a call for its caller while the provider may still run it.
    fn end_early(&mut self, call_id: CallId, code: Code, message: &str) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let (place, waits) = (call.place, call.caller.is_some());
        let executed = call.executed();
        self.end(
            call_id,
            &Ending::Engine {
                code,
                message,
                executed,
            },
        );
        match place {
            Place::Running(provider) if waits => {
                let cancel = Cancel {
                    id: call_id.wire(),
                    ext: NoExtensions {},
                };
                self.reply(provider, OwnFrame::Ready(cancel.to_frame()));
            }
            Place::Running(_) => {}
            Place::Parked | Place::Nowhere => self.forget(call_id),
        }
    }

    /// All calls that a connection made are of no use any more.
    pub(super) fn cancel_made(&mut self, id: ConnId) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        let Some(traffic) = conn.traffic.as_deref_mut() else {
            return;
        };
        let mut made: Vec<CallId> = traffic.made.drain().map(|(_, call)| call).collect();
        // The order of a hash map is nobody's business.
        made.sort_unstable_by_key(|call| call.wire());
        for call_id in made {
            let Some(call) = self.calls.get_mut(call_id) else {
                continue;
            };
            call.caller = None;
            self.waiting -= 1;
            self.stats.count_ending("caller_gone");
            match call.place {
                Place::Running(provider) => {
                    let cancel = Cancel {
                        id: call_id.wire(),
                        ext: NoExtensions {},
                    };
                    self.reply(provider, OwnFrame::Ready(cancel.to_frame()));
                }
                Place::Parked | Place::Nowhere => self.forget(call_id),
            }
        }
    }

    /// The worker on a connection runs nothing any more. Its functions have left the board before: what is
    /// tried again goes to others.
    pub(super) fn end_running(&mut self, id: ConnId, now: Time) {
        loop {
            let Some(conn) = live(&mut self.connections, id) else {
                return;
            };
            let Some(traffic) = conn.traffic.as_deref_mut() else {
                return;
            };
            let Some(call_id) = self.calls.first(&traffic.running) else {
                return;
            };
            self.detach(call_id);
            let Some(call) = self.calls.get_mut(call_id) else {
                continue;
            };
            call.tried = true;
            if call.caller.is_none() {
                self.forget(call_id);
                continue;
            }
            let (namespace, wishes) = (call.namespace, call.wishes);
            let (function, again) = (call.function.clone(), call.arguments.take());
            let Some(again) = again.filter(|_| wishes.idempotent && self.shutdown == Shutdown::No)
            else {
                self.end_early(call_id, Code::ProviderGone, GONE);
                continue;
            };
            let choice = self.route(namespace, &function, wishes.worker);
            if let Some(call) = self.calls.get_mut(call_id) {
                call.arguments = Some(again);
            }
            match choice {
                Choice::To(provider) => self.start_again(call_id, provider, now),
                Choice::Full | Choice::Nobody if wishes.wait => self.park(call_id),
                Choice::Full | Choice::Nobody => self.end_early(call_id, Code::ProviderGone, GONE),
            }
        }
    }

    /// Gives a worker that has room the calls that wait for one.
    pub(super) fn serve(&mut self, id: ConnId, now: Time) {
        loop {
            let Some(load) = self.load(id) else { return };
            let Some(conn) = live(&mut self.connections, id) else {
                return;
            };
            let (Some(identity), Some(traffic)) =
                (conn.identity.as_deref(), conn.traffic.as_deref_mut())
            else {
                return;
            };
            if !load.has_room() || identity.draining {
                return;
            }
            let Some(park) = traffic.next_park() else {
                return;
            };
            let namespace = &mut self.namespaces[identity.namespace];
            let Some(list) = namespace.parked.get(&park) else {
                continue;
            };
            let roster = namespace.roster.get(identity.worker);
            if roster.is_none_or(|worker| worker.get(&park.function).is_none()) {
                continue;
            }
            let Some(call_id) = self.calls.first(list) else {
                continue;
            };
            self.detach(call_id);
            self.start_again(call_id, id, now);
            let namespace = self.get(id).and_then(|conn| conn.identity.as_deref());
            let namespace = namespace.map(|identity| &self.namespaces[identity.namespace]);
            if namespace.is_some_and(|namespace| namespace.parked.contains_key(&park)) {
                let conn = live(&mut self.connections, id);
                if let Some(traffic) = conn.and_then(|conn| conn.traffic.as_deref_mut()) {
                    traffic.ask_for(park);
                }
            }
        }
    }

    /// The load of the worker on a connection; `None` if there is none.
    pub(super) fn load(&self, id: ConnId) -> Option<super::routing::Load> {
        load_of(
            &self.connections,
            id,
            self.config.limits.max_outbound as usize,
        )
    }

    pub(super) fn route(
        &mut self,
        namespace: usize,
        function: &str,
        pinned: Option<u64>,
    ) -> Choice {
        let limit = self.config.limits.max_outbound as usize;
        let connections = &self.connections;
        match self.namespaces[namespace].board.providers(function) {
            Some((_, providers, turn)) => choose(
                providers,
                turn,
                pinned,
                |conn| load_of(connections, conn, limit),
                &mut self.chance,
            ),
            None => Choice::Nobody,
        }
    }

    /// Writes a call down, with its deadline.
    fn make(&mut self, namespace: usize, function: &str, caller: Caller, wishes: Wishes) -> CallId {
        let name = self.namespaces[namespace].board.known_name(function);
        let name = name.unwrap_or_else(|| function.into());
        let (conn, request) = (caller.conn, caller.request);
        let call_id = self.calls.insert(namespace, name, caller, wishes);
        let timer = self.wheel.insert(wishes.deadline, Timer::Call(call_id));
        if let Some(call) = self.calls.get_mut(call_id) {
            call.timer = Some(timer);
        }
        self.traffic(conn).made.insert(request, call_id);
        self.waiting += 1;
        call_id
    }

    /// The traffic of a connection; made if there is none.
    pub(super) fn traffic(&mut self, id: ConnId) -> &mut Traffic {
        let keys = self.hash_keys;
        let conn = live(&mut self.connections, id).expect("a connection in service");
        let capacity = conn
            .identity
            .as_ref()
            .map_or(0, |identity| identity.capacity);
        conn.traffic
            .get_or_insert_with(|| Box::new(Traffic::new(capacity, keys)))
    }

    /// Keeps a call's arguments for another try. False if there is no room for them.
    fn retain(&mut self, call_id: CallId, payload: &[u8], headers: &[u8]) -> bool {
        let bytes = payload.len() + headers.len();
        if (self.retained + bytes) as u64 > self.config.limits.max_retained {
            return false;
        }
        let Some(call) = self.calls.get_mut(call_id) else {
            return false;
        };
        let (payload, headers) = (payload.into(), headers.into());
        call.arguments = Some(Box::new(Arguments { payload, headers }));
        self.retained += bytes;
        true
    }

    /// Gives a call to a provider.
    fn start(
        &mut self,
        call_id: CallId,
        provider: ConnId,
        payload: &[u8],
        headers: &[u8],
        now: Time,
    ) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        call.place = Place::Running(provider);
        let caller = call.caller.as_ref();
        let invoke = Invoke {
            id: call_id.wire(),
            function: Text(&call.function),
            timeout_ms: call.wishes.deadline.0.saturating_sub(now.0).div_ceil(1000),
            payload: Bin(payload),
            ext: InvokeOptions {
                caller: caller.map_or(0, |caller| caller.worker),
                caller_name: Text(caller.map_or("", |caller| &caller.name)),
                headers: Bin(headers),
            },
        };
        let frame = invoke.to_frame();
        let traffic = self.traffic(provider);
        traffic.in_flight += 1;
        let mut running = traffic.running;
        self.calls.push_back(&mut running, call_id);
        self.traffic(provider).running = running;
        self.reply(provider, OwnFrame::Ready(frame));
    }

    /// Gives a call whose arguments were kept to a provider. They are kept on only for another try.
    fn start_again(&mut self, call_id: CallId, provider: ConnId, now: Time) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let Some(arguments) = call.arguments.take() else {
            return;
        };
        let keep = call.wishes.idempotent;
        self.start(
            call_id,
            provider,
            &arguments.payload,
            &arguments.headers,
            now,
        );
        if keep {
            if let Some(call) = self.calls.get_mut(call_id) {
                call.arguments = Some(arguments);
            }
        } else {
            self.retained -= arguments.bytes();
        }
    }

    /// Has a call wait for a provider.
    fn park(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        call.place = Place::Parked;
        let park = Park {
            function: call.function.clone(),
            worker: call.wishes.worker,
        };
        let namespace = &mut self.namespaces[call.namespace];
        let list = namespace.parked.entry(park.clone()).or_default();
        let is_first = list.is_empty();
        self.calls.push_back(list, call_id);
        self.parked += 1;
        if !is_first {
            return;
        }
        // Whoever could run it shall ask for it.
        let Some((_, providers, _)) = namespace.board.providers(&park.function) else {
            return;
        };
        let able = providers
            .iter()
            .filter(|it| park.worker.is_none_or(|worker| worker == it.worker));
        let able: Vec<ConnId> = able.map(|provider| provider.conn).collect();
        for conn in able {
            self.traffic(conn).ask_for(park.clone());
        }
    }

    /// Takes a call out of the list in which it stands.
    fn detach(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let (place, overdue) = (call.place, std::mem::take(&mut call.overdue));
        call.place = Place::Nowhere;
        match place {
            Place::Nowhere => {}
            Place::Parked => {
                let park = Park {
                    function: call.function.clone(),
                    worker: call.wishes.worker,
                };
                let parked = &mut self.namespaces[call.namespace].parked;
                if let Some(list) = parked.get_mut(&park) {
                    self.calls.unlink(list, call_id);
                    if list.is_empty() {
                        parked.remove(&park);
                    }
                }
                self.parked -= 1;
            }
            Place::Running(provider) => {
                let conn = live(&mut self.connections, provider);
                let Some(traffic) = conn.and_then(|conn| conn.traffic.as_deref_mut()) else {
                    return;
                };
                self.calls.unlink(&mut traffic.running, call_id);
                traffic.in_flight -= 1;
                traffic.overdue -= u32::from(overdue);
            }
        }
    }

    /// Tells the caller how its call ended, if it still waits for that.
    fn end(&mut self, call_id: CallId, ending: &Ending<'_>) {
        let Some(caller) = self
            .calls
            .get_mut(call_id)
            .and_then(|call| call.caller.take())
        else {
            return;
        };
        self.waiting -= 1;
        self.stats.count_ending(match ending {
            Ending::Result(_) => "result",
            Ending::Failure(_) => "failure",
            Ending::Engine { code, .. } => code.as_str(),
        });
        let limit = self.config.limits.max_backlog as usize;
        let Some(conn) = live(&mut self.connections, caller.conn) else {
            return;
        };
        if let Some(traffic) = conn.traffic.as_deref_mut() {
            traffic.made.remove(&caller.request);
        }
        let frame = ending.frame(caller.request);
        let frame = if conn.outbox.bytes() + frame.len() > limit {
            let message = "the caller does not read its answers (--max-backlog)";
            let executed = Executed::Maybe;
            Ending::Engine {
                code: Code::Overloaded,
                message,
                executed,
            }
            .frame(caller.request)
        } else {
            frame
        };
        self.reply(caller.conn, OwnFrame::Ready(frame));
    }

    /// Forgets a call wherever it stands.
    fn forget(&mut self, call_id: CallId) {
        self.detach(call_id);
        let call = self.calls.remove(call_id);
        if let Some(timer) = call.timer {
            self.wheel.remove(timer);
        }
        self.retained -= call.arguments.map_or(0, |arguments| arguments.bytes());
    }

    /// While draining: no call will be parked until a provider comes.
    pub(super) fn fail_parked(&mut self) {
        let parked = self.calls.all().filter(|call| call.place == Place::Parked);
        let parked: Vec<CallId> = parked.map(|call| call.id).collect();
        for call_id in parked {
            self.end_early(call_id, Code::Draining, "the engine is about to stop");
        }
    }

    /// The engine stops: whoever still waits is told that it waits in vain.
    pub(super) fn fail_all(&mut self) {
        let all: Vec<CallId> = self.calls.all().map(|call| call.id).collect();
        for call_id in all {
            self.end_early(
                call_id,
                Code::Draining,
                "the engine stopped before the answer came",
            );
        }
    }
}

const GONE: &str = "the provider went before it answered";
const RETAINED: &str = "no room to keep the arguments (--max-retained)";

/// What the worker on a connection carries.
fn load_of(
    connections: &[Option<Box<super::connection::Connection>>],
    id: ConnId,
    max_outbound: usize,
) -> Option<super::routing::Load> {
    let conn = connections
        .get(id.key())?
        .as_deref()
        .filter(|conn| conn.id == id)?;
    let choked = conn.outbox.bytes() > max_outbound;
    match &conn.traffic {
        Some(traffic) => Some(traffic.load(choked)),
        None => {
            let capacity = conn.identity.as_ref()?.capacity;
            Some(super::routing::Load {
                in_flight: 0,
                capacity,
                overdue: false,
                choked,
            })
        }
    }
}
