//! Calls on their way in: from CALL to INVOKE, at once or after a wait for a provider that has room. Ends
//! none but those that never begin.

use crate::protocol::{Bin, Call, Code, Invoke, InvokeOptions, Text, check_event_name};

use super::board::Name;
use super::call::{Arguments, CallId, Caller, Place, Wishes};
use super::refusal::{Refusal, shown};
use super::rights::Verb;
use super::routing::{Choice, choose};
use super::traffic::{Park, Traffic};
use super::{ConnId, Engine, Shutdown, Time, Timer, live};
use crate::limits::Limits;

/// The deadline of a call that names none, in milliseconds.
const TIMEOUT_DEFAULT: u64 = 30_000;
/// The longest deadline, in milliseconds: a day.
const TIMEOUT_MAX: u64 = 86_400_000;
/// Bytes of a frame that payload and headers leave to the rest of an INVOKE or a cast, names included.
const INVOKE_REST: u64 = 1024;

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
            return self.say_goodbye(id, Code::ProtocolError, &message, now);
        }
        if call.function.starts_with("engine::") {
            return self.handle_builtin(id, call, now);
        }
        if !identity.grant.rights.allow(Verb::Call, &call.function) {
            let refusal = Refusal::forbidden(Verb::Call, &call.function);
            return self.refuse_call(id, call.id, &refusal);
        }
        let caller = Caller {
            conn: id,
            request: call.id,
            worker: identity.worker,
            name: identity.name.clone(),
        };
        let namespace = identity.namespace;
        let refusal = self.check_call(call, made as u64);
        if let Some(refusal) = refusal {
            return self.refuse_call(id, call.id, &refusal);
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
        let (choice, name) = self.route_by_name(namespace, &call.function, wishes.worker);
        if let (Choice::Nobody, Err(error)) = (choice, check_event_name(&call.function)) {
            // Nobody will ever provide it, and what waits must not be larger than a name.
            let refusal = Refusal::new(Code::InvalidName, format!("function: {error}"));
            return self.refuse_call(id, call.id, &refusal);
        }
        let parks = wishes.wait && !matches!(choice, Choice::To(_));
        if parks || wishes.idempotent && matches!(choice, Choice::To(_)) {
            let bytes = call.payload.len() + call.ext.headers.len();
            if let Some(refusal) = self.check_keeping(id, parks, bytes) {
                return self.refuse_call(id, call.id, &refusal);
            }
        }
        match choice {
            Choice::To(provider) => {
                if let Some(refusal) = self.check_sending(&call.payload, &call.ext.headers) {
                    return self.refuse_call(id, call.id, &refusal);
                }
                let name = name.unwrap_or_else(|| call.function.0.into());
                let call_id = self.make(namespace, name, caller, wishes);
                if wishes.idempotent {
                    self.retain(call_id, &call.payload, &call.ext.headers);
                }
                self.start(call_id, provider, &call.payload, &call.ext.headers, now);
            }
            Choice::Full | Choice::Nobody if parks => {
                let name = name.unwrap_or_else(|| call.function.0.into());
                let call_id = self.make(namespace, name, caller, wishes);
                self.retain(call_id, &call.payload, &call.ext.headers);
                self.park(call_id);
            }
            Choice::Full => {
                let name = shown(&call.function);
                let message = format!("all providers of `{name}` have as many calls as they take");
                self.refuse_call(id, call.id, &Refusal::new(Code::Overloaded, message));
            }
            Choice::Nobody => {
                let name = shown(&call.function);
                let message = match wishes.worker {
                    Some(worker) => format!("worker {worker} does not provide `{name}`"),
                    None => format!("nobody provides `{name}`"),
                };
                self.refuse_call(id, call.id, &Refusal::new(Code::NoSuchFunction, message));
            }
        }
    }

    /// What speaks against taking a call at all, of one who has `made` so many that wait.
    fn check_call(&self, call: &Call<'_>, made: u64) -> Option<Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        if let Some(refusal) = self.check_size(&call.payload, &call.ext.headers) {
            Some(refusal)
        } else if self.shutdown != Shutdown::No {
            let message = "the engine is about to stop";
            Some(Refusal::new(Code::Draining, message))
        } else if made >= limits.max_calls {
            let message = format!("{} calls of yours are in flight", limits.max_calls);
            Some(Refusal::over(flags.max_calls, Code::Overloaded, &message))
        } else if self.waiting as u64 >= limits.max_calls_total {
            let message = format!("{} calls are in flight", limits.max_calls_total);
            let flag = flags.max_calls_total;
            Some(Refusal::over(flag, Code::Overloaded, &message))
        } else {
            None
        }
    }

    /// What speaks against keeping so many bytes of arguments for a caller, of a call that `parks` or may be
    /// tried again.
    fn check_keeping(&self, caller: ConnId, parks: bool, bytes: usize) -> Option<Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        let traffic = self.get(caller).and_then(|conn| conn.traffic.as_deref());
        let own = traffic.map_or(0, |traffic| traffic.retained);
        let (flag, message) = if parks && self.parked as u64 >= limits.max_parked {
            (flags.max_parked, "too many calls wait for a provider")
        } else if (self.retained + bytes) as u64 > limits.max_retained {
            (flags.max_retained, "no room to keep the arguments")
        } else if (own + bytes) as u64 > limits.max_retained_each {
            let message = "no room to keep more arguments of yours";
            (flags.max_retained_each, message)
        } else {
            return None;
        };
        Some(Refusal::over(flag, Code::Overloaded, message))
    }

    /// Answers a call that goes nowhere; it counts as one that ended so.
    pub(super) fn refuse_call(&mut self, id: ConnId, request: u64, refusal: &Refusal) {
        refusal.count(&mut self.stats);
        self.stats.count_ending(refusal.code.as_str());
        self.fail(id, request, refusal.code, &refusal.message);
    }

    /// What is wrong with the size of what a provider is to be sent.
    pub(super) fn check_size(&self, payload: &[u8], headers: &[u8]) -> Option<Refusal> {
        let (limits, flags) = (&self.config.limits, &Limits::FLAGS);
        let (bytes, carried) = (payload.len() as u64, (payload.len() + headers.len()) as u64);
        let (flag, message) = if bytes > limits.max_payload {
            let limit = limits.max_payload;
            let message = format!("a payload of {bytes} bytes, the limit is {limit}");
            (flags.max_payload, message)
        } else if carried > limits.max_frame - INVOKE_REST {
            // A frame that its provider had to refuse would cost the provider its connection.
            let message = format!("payload and headers of {carried} bytes leave no room");
            (flags.max_frame, message)
        } else {
            return None;
        };
        Some(Refusal::over(flag, Code::PayloadTooLarge, &message))
    }

    /// Whether an INVOKE or a cast with these may be added to what waits.
    pub(super) fn fits_sending(&self, payload: &[u8], headers: &[u8]) -> bool {
        self.fits_outbound(INVOKE_REST as usize + payload.len() + headers.len())
    }

    /// What speaks against sending this to a provider now, whoever that is.
    fn check_sending(&self, payload: &[u8], headers: &[u8]) -> Option<Refusal> {
        if self.fits_sending(payload, headers) {
            return None;
        }
        let flag = Limits::FLAGS.max_outbound_total;
        let message = "too much waits to be read, this included";
        Some(Refusal::over(flag, Code::Overloaded, message))
    }

    /// Gives a worker that has room the calls that wait for one.
    pub(super) fn serve(&mut self, id: ConnId, now: Time) {
        // Asked with each answer: nearly always nothing waits.
        while self.is_hungry(id) {
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
            let Some((ticket, park)) = traffic.next_park() else {
                return;
            };
            let namespace = &self.namespaces[identity.namespace];
            let roster = namespace.roster.get(identity.worker);
            if roster.is_none_or(|worker| worker.get(&park.function).is_none()) {
                continue;
            }
            let list = namespace.parked.get(&park);
            let Some(call_id) = list.and_then(|list| self.calls.first(*list)) else {
                continue;
            };
            // If others took what stood first here, the next may have to wait behind another park's.
            if self.calls.ticket(call_id) == ticket {
                self.detach(call_id);
                self.start_again(call_id, id, now);
            }
            self.offer(id, park);
        }
    }

    /// Whether a worker might have calls to take that wait.
    fn is_hungry(&self, id: ConnId) -> bool {
        let traffic = self.get(id).and_then(|conn| conn.traffic.as_deref());
        traffic.is_some_and(Traffic::is_hungry)
    }

    /// Notes that a worker may take what is parked there, if anything is.
    pub(super) fn offer(&mut self, id: ConnId, park: Park) {
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let namespace = identity.namespace;
        let Some(list) = self.namespaces[namespace].parked.get(&park) else {
            return;
        };
        let Some(first) = self.calls.first(*list) else {
            return;
        };
        let ticket = self.calls.ticket(first);
        self.traffic(id).ask_for(ticket, park);
        let parked = &self.namespaces[namespace].parked;
        if let Some(traffic) = live(&mut self.connections, id).and_then(|it| it.traffic.as_mut()) {
            traffic.forget_all_but(parked);
        }
    }

    /// What a worker might have taken on its older connection waits for its newer one.
    pub(super) fn hand_over(&mut self, older: ConnId, newer: ConnId, now: Time) {
        while let Some((_, park)) = live(&mut self.connections, older)
            .and_then(|conn| conn.traffic.as_deref_mut())
            .and_then(Traffic::next_park)
        {
            self.offer(newer, park);
        }
        self.serve(newer, now);
    }

    /// The load of the worker on a connection; `None` if there is none.
    pub(super) fn load(&self, id: ConnId) -> Option<super::routing::Load> {
        load_of(&self.connections, id, &self.pressure())
    }

    fn pressure(&self) -> Pressure {
        Pressure {
            max_outbound: self.config.limits.max_outbound as usize,
            crowded: self.crowded,
        }
    }

    /// When half of what was held for nobody is gone, those who hold the rest may take calls again, the
    /// parked ones first. Half, so that the walk over the connections is paid for by as many calls.
    pub(super) fn relieve(&mut self, now: Time) {
        let held = (self.calls.len() - self.waiting) as u64;
        if !self.crowded || held > self.config.limits.max_calls_total / 2 {
            return;
        }
        self.crowded = false;
        for id in self.ids() {
            self.serve(id, now);
        }
    }

    pub(super) fn route(
        &mut self,
        namespace: usize,
        function: &str,
        pinned: Option<u64>,
    ) -> Choice {
        self.route_by_name(namespace, function, pinned).0
    }

    /// Where a call can go, and the name under which the board has the function, so that it need not be looked
    /// up or stored again.
    fn route_by_name(
        &mut self,
        namespace: usize,
        function: &str,
        pinned: Option<u64>,
    ) -> (Choice, Option<Name>) {
        let pressure = self.pressure();
        let connections = &self.connections;
        match self.namespaces[namespace].board.providers(function) {
            Some((name, providers, turn)) => {
                let name = name.clone();
                let load_of = |conn| load_of(connections, conn, &pressure);
                let choice = choose(providers, turn, pinned, load_of, &mut self.chance);
                (choice, Some(name))
            }
            None => (Choice::Nobody, None),
        }
    }

    /// Writes a call down, with its deadline.
    fn make(&mut self, namespace: usize, function: Name, caller: Caller, wishes: Wishes) -> CallId {
        let (conn, request) = (caller.conn, caller.request);
        let call_id = self.calls.insert(namespace, function, caller, wishes);
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

    /// Keeps a call's arguments for another try, for as long as its caller waits.
    fn retain(&mut self, call_id: CallId, payload: &[u8], headers: &[u8]) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let Some(caller) = call.caller.as_ref().map(|caller| caller.conn) else {
            return;
        };
        let arguments = Arguments {
            payload: payload.into(),
            headers: headers.into(),
        };
        let bytes = arguments.bytes();
        call.arguments = Some(Box::new(arguments));
        self.retained += bytes;
        self.traffic(caller).retained += bytes;
    }

    /// Lets the arguments of a call go, before its caller does.
    pub(super) fn release(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let Some(arguments) = call.arguments.take() else {
            return;
        };
        let bytes = arguments.bytes();
        self.retained -= bytes;
        let caller = call.caller.as_ref().map(|caller| caller.conn);
        let caller = caller.and_then(|id| live(&mut self.connections, id));
        if let Some(traffic) = caller.and_then(|conn| conn.traffic.as_deref_mut()) {
            traffic.retained -= bytes;
        }
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
        let function = call.function.clone();
        let left = call.wishes.deadline.0.saturating_sub(now.0);
        let caller = call.caller.as_ref();
        let caller = caller.map(|caller| (caller.worker, caller.name.clone()));
        let traffic = self.traffic(provider);
        traffic.in_flight += 1;
        let mut running = traffic.running;
        self.calls.push_back(&mut running, call_id);
        self.traffic(provider).running = running;
        let invoke = Invoke {
            id: call_id.wire(),
            function: Text(&function),
            timeout_ms: left.div_ceil(1000),
            payload: Bin(payload),
            ext: InvokeOptions {
                caller: caller.as_ref().map_or(0, |(worker, _)| *worker),
                caller_name: Text(caller.as_ref().map_or("", |(_, name)| name)),
                headers: Bin(headers),
            },
        };
        self.reply_with(provider, |out| invoke.encode_hot(out));
    }

    /// Gives a call whose arguments were kept to a provider. They are kept on only for another try.
    pub(super) fn start_again(&mut self, call_id: CallId, provider: ConnId, now: Time) {
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
        if let Some(call) = self.calls.get_mut(call_id) {
            call.arguments = Some(arguments);
        }
        if !keep {
            self.release(call_id);
        }
    }

    /// Has a call wait for a provider.
    pub(super) fn park(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        call.place = Place::Parked;
        call.ticket = self.tickets;
        self.tickets += 1;
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
            self.offer(conn, park.clone());
        }
    }

    /// Takes a call out of the list in which it stands.
    pub(super) fn detach(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get_mut(call_id) else {
            return;
        };
        let (place, overdue) = (call.place, std::mem::take(&mut call.overdue));
        let abandoned = call.caller.is_none();
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
                traffic.abandoned -= u32::from(abandoned);
            }
        }
    }
}

/// What makes a provider take nothing more, whatever its capacity.
struct Pressure {
    /// Bytes that may wait for its connection.
    max_outbound: usize,
    /// As many calls as there may be are held for nobody: who holds some of them gets no other. So those who
    /// call and cancel, and those who never answer, take nothing from the rest.
    crowded: bool,
}

/// What the worker on a connection carries.
fn load_of(
    connections: &[Option<Box<super::connection::Connection>>],
    id: ConnId,
    pressure: &Pressure,
) -> Option<super::routing::Load> {
    let conn = connections
        .get(id.key())?
        .as_deref()
        .filter(|conn| conn.id == id && !conn.is_leaving())?;
    let choked = conn.outbox.bytes() > pressure.max_outbound;
    if let Some(traffic) = &conn.traffic {
        let holds = pressure.crowded && traffic.abandoned > 0;
        return Some(traffic.load(choked || holds));
    }
    let capacity = conn.identity.as_ref()?.capacity;
    Some(super::routing::Load {
        in_flight: 0,
        capacity,
        overdue: false,
        choked,
    })
}
