//! EMIT and CAST. An event is cast to every function that is bound to it; a cast is a call without an answer. A cast
//! that can't be delivered is dropped and counted, never answered.

use crate::engine::Engine;
use crate::engine::access::rights::Verb;
use crate::engine::calls::routing::Route;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::progress::{Emission, Progress};
use crate::engine::connection::session::{Sender, Session};
use crate::engine::interface::{ConnId, Time};
use crate::engine::metrics::stats::Dropped;
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::binding_key::{behind_function, event_prefix, split_binding_key};
use crate::engine::registry::entry::Name;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{
    Bin, BindingEntry, Cast, CastOptions, Code, Emit, Outcome, Text, check_event_name,
};

use super::input::Step;

/// Functions that are looked up at once for an event.
const FUNCTIONS_AT_ONCE: usize = 64;

impl Engine {
    /// Casts an event to every function that is bound to it: to one provider of each, or to all of them. In slices, if
    /// many are bound: the frame is handled again until all were visited.
    pub(super) fn handle_emit(&mut self, from: Sender, emit: &Emit<'_>, now: Time) -> Step {
        let progress = self.input.take_progress();
        if let Err((refusal, dropped)) = self.check_emit(from, emit) {
            if emit.id == 0 {
                self.count_refusal(from.conn, &refusal);
                self.metrics.count_dropped(dropped);
            } else {
                self.refuse_request(from.conn, emit.id, &refusal);
            }
            return Step::Done;
        }
        let mut emission = match progress.map(|it| *it) {
            Some(Progress::Emission(emission)) => emission,
            _ => Emission::default(),
        };
        if !self.emit(from, emit, &mut emission, now) {
            emission.is_resumed = true;
            let progress = Progress::Emission(emission);
            self.input.set_progress(Some(Box::new(progress)));
            return Step::Slice;
        }
        if emit.id != 0 {
            let mut reply = Outcome {
                id: emit.id,
                ..Outcome::default()
            };
            reply.ext.matched = Some(emission.matched);
            self.reply(from.conn, Reply::Frame(reply.to_frame()));
        }
        Step::Done
    }

    /// Goes on with an event. Returns whether all functions that are bound to it were visited.
    fn emit(&mut self, from: Sender, emit: &Emit<'_>, emission: &mut Emission, now: Time) -> bool {
        loop {
            if let Some(function) = emission.visited.clone() {
                let cast = cast_of(emit, &function);
                while let Some(provider) = emission.providers.pop() {
                    self.cast_to(from, provider, &cast, emission.is_resumed, now);
                    if !self.has_turn() {
                        return false;
                    }
                }
            }
            if emission.functions.is_empty() {
                let last = emission.visited.as_deref();
                emission.functions = self.bound_functions(from.namespace, &emit.event, last);
            }
            let Some((function, to_all)) = emission.functions.pop() else {
                return true;
            };
            // Bindings that the sender may not observe are not counted.
            let grant = self.session(from).grant();
            if grant.may_observe(&emit.event) && grant.may_observe(&function) {
                emission.matched += 1;
            }
            if to_all {
                emission.providers = self.all_providers(from.namespace, &function);
            } else {
                self.cast(from, &cast_of(emit, &function), now);
            }
            emission.visited = Some(function);
            if !self.has_turn() {
                return false;
            }
        }
    }

    /// Checks an EMIT. An error is the refusal, and the reason to count for an EMIT without an answer.
    fn check_emit(&self, from: Sender, emit: &Emit<'_>) -> Result<(), (Refusal, Dropped)> {
        let event = emit.event.0;
        if let Err(error) = check_event_name(event) {
            let message = format!("event `{}`: {error}", shown(event));
            let refusal = Refusal::new(Code::InvalidName, message);
            return Err((refusal, Dropped::EventInvalid));
        }
        if !self.session(from).grant().rights.allow(Verb::Emit, event) {
            let refusal = Refusal::forbidden(Verb::Emit, event);
            return Err((refusal, Dropped::EventForbidden));
        }
        self.check_size(&emit.payload, &emit.ext.headers)
            .map_err(|refusal| (refusal, Dropped::EventTooLarge))?;
        if !self.lifecycle.is_running() {
            let refusal = Refusal::new(Code::Draining, "the engine is shutting down");
            return Err((refusal, Dropped::EventDraining));
        }
        Ok(())
    }

    /// The next functions bound to an event behind `last`, in reverse order, each once, and whether all of its providers
    /// get the event.
    fn bound_functions(
        &self,
        namespace: usize,
        event: &str,
        last: Option<&str>,
    ) -> Vec<(Name, bool)> {
        let prefix = event_prefix(event);
        let behind = last.map(|function| behind_function(event, function));
        let bindings = self.registry[namespace].bindings();
        let (mut bound, mut looked_at): (Vec<(Name, bool)>, usize) = (Vec::new(), 0);
        for (key, entry, _) in bindings.current_under_after(&prefix, behind.as_deref()) {
            looked_at += 1;
            let (_, function, _) = split_binding_key(key);
            let to_all = rmp_serde::from_slice::<BindingEntry<'_>>(entry)
                .is_ok_and(|binding| binding.deliver_all);
            // Keys are in order, so the bindings of one function are adjacent.
            match bound.last_mut() {
                Some((last, all)) if **last == *function => *all |= to_all,
                _ => {
                    if bound.len() == FUNCTIONS_AT_ONCE {
                        break;
                    }
                    bound.push((function.into(), to_all));
                }
            }
        }
        self.input.add(work::BINDING, looked_at);
        bound.reverse();
        bound
    }

    /// The providers of a function that is cast to all of them.
    fn all_providers(&mut self, namespace: usize, function: &str) -> Vec<ConnId> {
        let Some((_, providers, _)) = self.registry[namespace].providers(function) else {
            self.metrics.count_dropped(Dropped::EventNobody);
            return Vec::new();
        };
        providers
            .iter()
            .rev()
            .map(|provider| provider.conn)
            .collect()
    }

    pub(super) fn handle_cast(&mut self, from: Sender, cast: &Cast<'_>, now: Time) {
        self.input.add(work::CAST, 1);
        let rights = &self.session(from).grant().rights;
        if !rights.allow(Verb::Call, &cast.function) {
            return self.metrics.count_dropped(Dropped::CastForbidden);
        }
        if let Err(refusal) = self.check_size(&cast.payload, &cast.ext.headers) {
            self.count_refusal(from.conn, &refusal);
            return self.metrics.count_dropped(Dropped::CastTooLarge);
        }
        if !self.lifecycle.is_running() {
            return self.metrics.count_dropped(Dropped::CastDraining);
        }
        // Only the engine says which event caused a cast.
        let ext = CastOptions {
            headers: cast.ext.headers,
            ..CastOptions::default()
        };
        let cast = Cast {
            ext,
            ..cast.clone()
        };
        self.cast(from, &cast, now);
    }

    /// Sends a cast to one provider.
    fn cast(&mut self, from: Sender, cast: &Cast<'_>, now: Time) {
        let is_event = !cast.ext.event.is_empty();
        let (route, _) = self.route(from.namespace, &cast.function, None, now);
        let dropped = match route {
            Route::To(provider) if self.fits_cast(provider, cast) => {
                return self.deliver(from, provider, cast);
            }
            Route::To(_) | Route::Full if is_event => Dropped::EventFull,
            Route::NoProvider if is_event => Dropped::EventNobody,
            Route::To(_) | Route::Full => Dropped::CastFull,
            Route::NoProvider => Dropped::CastNobody,
        };
        self.metrics.count_dropped(dropped);
    }

    /// Sends a cast to one of several providers, if it reads what it is sent. They were chosen in an earlier turn if
    /// `is_resumed`.
    fn cast_to(
        &mut self,
        from: Sender,
        provider: ConnId,
        cast: &Cast<'_>,
        is_resumed: bool,
        now: Time,
    ) {
        let may_have_changed = self.judge(provider, now) > 0 || is_resumed;
        if may_have_changed && !self.provides(from.namespace, &cast.function, provider) {
            return;
        }
        let load = self.load(provider);
        // It may have left since the event came.
        let Some(load) = load else { return };
        if !load.congested && self.fits_cast(provider, cast) {
            self.deliver(from, provider, cast);
        } else {
            self.metrics.count_dropped(Dropped::EventFull);
        }
    }

    fn provides(&self, namespace: usize, function: &str, conn: ConnId) -> bool {
        let conn = self.connections.get(conn);
        let worker = conn.and_then(|conn| conn.session()).map(Session::worker);
        let roster = self.registry[namespace].roster();
        let worker = worker.and_then(|worker| roster.get(worker));
        worker.is_some_and(|worker| worker.get(function).is_some())
    }

    /// Whether one more copy of a cast fits: its receiver's user may not read what very many casts have sent it.
    fn fits_cast(&mut self, receiver: ConnId, cast: &Cast<'_>) -> bool {
        let fits =
            self.has_outbound_part(receiver) && self.fits_invoke(&cast.payload, &cast.ext.headers);
        if !fits {
            self.count_limited(receiver, Limits::FLAGS.max_outbound_total);
        }
        fits
    }

    fn deliver(&mut self, from: Sender, provider: ConnId, cast: &Cast<'_>) {
        self.input.add(work::DELIVERY, 1);
        let name = self.session(from).name().clone();
        let receiver = self.connections.get(provider);
        let receiver = receiver.and_then(|conn| conn.session());
        let may_observe = receiver.is_none_or(|it| it.grant().may_observe(&cast.ext.event));
        let ext = CastOptions {
            caller: from.worker,
            caller_name: Text(&name),
            event: if may_observe {
                cast.ext.event
            } else {
                Text("")
            },
            ..cast.ext.clone()
        };
        let cast = Cast {
            payload: Bin(&cast.payload),
            ext,
            ..cast.clone()
        };
        self.metrics.count_cast();
        // Written where it is sent from: a large payload is copied once for each provider.
        if let Some(conn) = self.connections.get_mut(provider) {
            self.output.reply_with(conn, |out| cast.encode(out));
        }
    }
}

fn cast_of<'a>(emit: &Emit<'a>, function: &'a str) -> Cast<'a> {
    Cast {
        function: Text(function),
        payload: emit.payload,
        ext: CastOptions {
            event: emit.event,
            headers: emit.ext.headers,
            ..CastOptions::default()
        },
    }
}
