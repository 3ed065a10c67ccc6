//! EMIT and CAST. An event is cast to every function that is bound to it; a cast is a call without an answer. A cast
//! that can't be delivered is dropped and counted, never answered.

use crate::engine::Engine;
use crate::engine::access::rights::Verb;
use crate::engine::calls::routing::Route;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::Sender;
use crate::engine::interface::ConnId;
use crate::engine::metrics::stats::Dropped;
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::binding_key::{event_prefix, split_binding_key};
use crate::limits::Limits;
use crate::protocol::{
    Bin, BindingEntry, Cast, CastOptions, Code, Emit, Outcome, Text, check_event_name,
};

impl Engine {
    /// Casts an event to every function that is bound to it: to one provider of each, or to all of them.
    pub(super) fn handle_emit(&mut self, from: Sender, emit: &Emit<'_>) {
        if let Err((refusal, dropped)) = self.check_emit(from, emit) {
            if emit.id == 0 {
                self.metrics.count_refusal(&refusal);
                self.metrics.count_dropped(dropped);
            } else {
                self.refuse_request(from.conn, emit.id, &refusal);
            }
            return;
        }
        let bound = self.bound_functions(from.namespace, &emit.event);
        for (function, to_all) in &bound {
            let cast = Cast {
                function: Text(function),
                payload: emit.payload,
                ext: CastOptions {
                    event: emit.event,
                    headers: emit.ext.headers,
                    ..CastOptions::default()
                },
            };
            if *to_all {
                self.cast_to_all(from, &cast);
            } else {
                self.cast(from, &cast);
            }
        }
        if emit.id != 0 {
            let mut reply = Outcome {
                id: emit.id,
                ..Outcome::default()
            };
            // Bindings that the sender may not observe are not counted.
            let grant = self.session(from).grant();
            let visible = bound.iter().filter(|(function, _)| {
                grant.may_observe(&emit.event) && grant.may_observe(function)
            });
            reply.ext.matched = Some(visible.count() as u64);
            self.reply(from.conn, Reply::Frame(reply.to_frame()));
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

    /// The functions bound to an event, each once, and whether all of its providers get the event.
    fn bound_functions(&self, namespace: usize, event: &str) -> Vec<(String, bool)> {
        let prefix = event_prefix(event);
        let (mut bound, mut bindings): (Vec<(String, bool)>, u64) = (Vec::new(), 0);
        for (key, entry) in self.registry[namespace].bindings().current_under(&prefix) {
            bindings += 1;
            let (_, function, _) = split_binding_key(key);
            let to_all = rmp_serde::from_slice::<BindingEntry<'_>>(entry)
                .is_ok_and(|binding| binding.deliver_all);
            // Keys are in order, so the bindings of one function are adjacent.
            match bound.last_mut() {
                Some((last, all)) if last == function => *all |= to_all,
                _ => bound.push((function.to_owned(), to_all)),
            }
        }
        // Each was decoded, and most lead to a delivery.
        self.input.add_work(2 * bindings);
        bound
    }

    pub(super) fn handle_cast(&mut self, from: Sender, cast: &Cast<'_>) {
        let rights = &self.session(from).grant().rights;
        if !rights.allow(Verb::Call, &cast.function) {
            return self.metrics.count_dropped(Dropped::CastForbidden);
        }
        if let Err(refusal) = self.check_size(&cast.payload, &cast.ext.headers) {
            self.metrics.count_refusal(&refusal);
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
        self.cast(from, &cast);
    }

    /// Sends a cast to one provider.
    fn cast(&mut self, from: Sender, cast: &Cast<'_>) {
        let is_event = !cast.ext.event.is_empty();
        let (route, _) = self.route(from.namespace, &cast.function, None);
        let dropped = match route {
            Route::To(provider) if self.fits_cast(cast) => {
                return self.deliver(from, provider, cast);
            }
            Route::To(_) | Route::Full if is_event => Dropped::EventFull,
            Route::NoProvider if is_event => Dropped::EventNobody,
            Route::To(_) | Route::Full => Dropped::CastFull,
            Route::NoProvider => Dropped::CastNobody,
        };
        self.metrics.count_dropped(dropped);
    }

    /// Sends a cast to every provider that reads what it is sent.
    fn cast_to_all(&mut self, from: Sender, cast: &Cast<'_>) {
        let namespace = &mut self.registry[from.namespace];
        let Some((_, providers, _)) = namespace.providers(&cast.function) else {
            return self.metrics.count_dropped(Dropped::EventNobody);
        };
        let providers: Vec<ConnId> = providers.iter().map(|provider| provider.conn).collect();
        self.input.add_work(providers.len() as u64);
        for provider in providers {
            let reads = self.load(provider).is_some_and(|load| !load.congested);
            if reads && self.fits_cast(cast) {
                self.deliver(from, provider, cast);
            } else {
                self.metrics.count_dropped(Dropped::EventFull);
            }
        }
    }

    /// Whether one more copy of a cast fits. One sender may have sent very many.
    fn fits_cast(&mut self, cast: &Cast<'_>) -> bool {
        let limit = self.config.limits.max_outbound_total;
        let fits = self.output.waiting() as u64 <= limit
            && self.fits_invoke(&cast.payload, &cast.ext.headers);
        if !fits {
            self.metrics.count_limited(Limits::FLAGS.max_outbound_total);
        }
        fits
    }

    fn deliver(&mut self, from: Sender, provider: ConnId, cast: &Cast<'_>) {
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
        self.reply(provider, Reply::Frame(cast.to_frame()));
    }
}
