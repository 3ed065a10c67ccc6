//! Events and casts: BIND ties a function to an event, EMIT casts to all that is bound to it, CAST is a call
//! that nobody answers. A cast that can't be delivered is dropped and counted, never answered.

use std::collections::BTreeMap;

use crate::protocol::{
    Bin, BindingEntry, BindingKey, Cast, CastOptions, Code, Emit, NameError, Outcome, Text,
    check_event_name, check_function_name,
};

use super::board::{Definition, Name, binding_key, split_binding_key};
use super::connection::Identity;
use super::entry::encoded;
use super::namespace::Namespace;
use super::outbox::OwnFrame;
use super::refusal::{Refusal, shown};
use super::registration::{ENTRY_WORK, Gain};
use super::rights::Verb;
use super::roster::Worker;
use super::routing::Choice;
use super::stats::Dropped;
use super::{ConnId, Engine, Shutdown, live};
use crate::limits::Limits;

impl Engine {
    pub(super) fn handle_bind(&mut self, id: ConnId, request: u64, bindings: &[BindingEntry<'_>]) {
        self.note_work(ENTRY_WORK * bindings.len() as u64);
        match self.bind(id, bindings) {
            Ok(()) => self.reply(id, OwnFrame::Registered(request)),
            Err(refusal) => self.refuse(id, request, &refusal),
        }
    }

    /// Checks all of a batch, then ties all of it.
    fn bind(&mut self, id: ConnId, bindings: &[BindingEntry<'_>]) -> Result<(), Refusal> {
        let Some(conn) = live(&mut self.connections, id) else {
            return Ok(());
        };
        let Some(identity) = conn.identity.as_deref() else {
            return Ok(());
        };
        if identity.draining || self.shutdown != Shutdown::No {
            let message = "nothing is bound while draining";
            return Err(Refusal::new(Code::Draining, message));
        }
        let namespace = &mut self.namespaces[identity.namespace];
        let entries = check(bindings, identity, namespace, &self.config.limits)?;
        for (key, definition) in entries {
            let provider = (identity.worker, id);
            let slot = namespace
                .bindings
                .provide(&key, provider, definition.clone());
            let who = (&identity.name, &identity.metadata);
            namespace
                .roster
                .bind(identity.worker, who, &key, slot, &definition);
            namespace.touched = true;
        }
        self.note_causer(id);
        Ok(())
    }

    pub(super) fn handle_unbind(&mut self, id: ConnId, request: u64, keys: &[BindingKey<'_>]) {
        self.note_work(ENTRY_WORK * keys.len() as u64);
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let (namespace, worker) = (identity.namespace, identity.worker);
        let keys: Vec<String> = keys
            .iter()
            .map(|key| binding_key(&key.event, &key.function, &key.id))
            .collect();
        let entry = self.namespaces[namespace].roster.get(worker);
        let missing = keys
            .iter()
            .find(|key| entry.is_none_or(|it| it.binding(key).is_none()));
        if let Some(missing) = missing {
            let (event, function, _) = split_binding_key(missing);
            let message = format!(
                "this worker does not bind `{}` to `{}`; nothing of the batch was untied",
                shown(function),
                shown(event)
            );
            return self.refuse(id, request, &Refusal::new(Code::NotRegistered, message));
        }
        self.namespaces[namespace].unbind(worker, keys.iter().map(|key| &**key));
        self.note_causer(id);
        self.reply(id, OwnFrame::Registered(request));
    }

    /// Casts an event to every function that is bound to it: to one provider of each, or to all of them.
    pub(super) fn handle_emit(&mut self, id: ConnId, emit: &Emit<'_>) {
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let (namespace, grant) = (identity.namespace, identity.grant.clone());
        let too_large = self.check_size(&emit.payload, &emit.ext.headers);
        let refusal = if let Err(error) = check_event_name(&emit.event) {
            let message = format!("event `{}`: {error}", shown(&emit.event));
            let refusal = Refusal::new(Code::InvalidName, message);
            Some((refusal, Dropped::EventInvalid))
        } else if !grant.rights.allow(Verb::Emit, &emit.event) {
            let refusal = Refusal::forbidden(Verb::Emit, &emit.event);
            Some((refusal, Dropped::EventForbidden))
        } else if let Some(refusal) = too_large {
            Some((refusal, Dropped::EventTooLarge))
        } else if self.shutdown != Shutdown::No {
            let refusal = Refusal::new(Code::Draining, "the engine is about to stop");
            Some((refusal, Dropped::EventDraining))
        } else {
            None
        };
        if let Some((refusal, dropped)) = refusal {
            if emit.id == 0 {
                refusal.count(&mut self.stats);
                self.stats.count_dropped(dropped);
            } else {
                self.refuse(id, emit.id, &refusal);
            }
            return;
        }
        let bound = self.bound_to(namespace, &emit.event);
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
                self.cast_to_all(id, namespace, &cast);
            } else {
                self.cast(id, namespace, &cast);
            }
        }
        if emit.id != 0 {
            let mut reply = Outcome {
                id: emit.id,
                ..Outcome::default()
            };
            // A count would tell of bindings that may not be seen.
            let seen = bound
                .iter()
                .filter(|(function, _)| grant.shows(&emit.event) && grant.shows(function));
            reply.ext.matched = Some(seen.count() as u64);
            self.reply(id, OwnFrame::Ready(reply.to_frame()));
        }
    }

    /// The functions bound to an event, each once, and whether all of its providers are to hear of it.
    fn bound_to(&self, namespace: usize, event: &str) -> Vec<(String, bool)> {
        let prefix = format!("{event}\0");
        let (mut bound, mut walked): (Vec<(String, bool)>, u64) = (Vec::new(), 0);
        for (key, provider) in self.namespaces[namespace].bindings.now_under(&prefix) {
            walked += 1;
            let (_, function, _) = split_binding_key(key);
            let to_all = rmp_serde::from_slice::<BindingEntry<'_>>(provider)
                .is_ok_and(|binding| binding.deliver_all);
            // Keys are in order: the bindings of one function come together.
            match bound.last_mut() {
                Some((last, all)) if last == function => *all |= to_all,
                _ => bound.push((function.to_owned(), to_all)),
            }
        }
        // Each was looked at, and most lead to a delivery.
        self.note_work(2 * walked);
        bound
    }

    pub(super) fn handle_cast(&mut self, id: ConnId, cast: &Cast<'_>) {
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let namespace = identity.namespace;
        if !identity.grant.rights.allow(Verb::Call, &cast.function) {
            return self.stats.count_dropped(Dropped::CastForbidden);
        }
        if let Some(refusal) = self.check_size(&cast.payload, &cast.ext.headers) {
            refusal.count(&mut self.stats);
            return self.stats.count_dropped(Dropped::CastTooLarge);
        }
        if self.shutdown != Shutdown::No {
            return self.stats.count_dropped(Dropped::CastDraining);
        }
        // Only the engine says which event caused a cast.
        let ext = CastOptions {
            headers: cast.ext.headers,
            ..CastOptions::default()
        };
        self.cast(
            id,
            namespace,
            &Cast {
                ext,
                ..cast.clone()
            },
        );
    }

    /// Sends a cast to the provider whose turn it is.
    fn cast(&mut self, from: ConnId, namespace: usize, cast: &Cast<'_>) {
        let of_event = !cast.ext.event.is_empty();
        let dropped = match self.route(namespace, &cast.function, None) {
            Choice::To(provider) if self.takes_cast(cast) => {
                return self.deliver(from, provider, cast);
            }
            Choice::To(_) | Choice::Full if of_event => Dropped::EventFull,
            Choice::Nobody if of_event => Dropped::EventNobody,
            Choice::To(_) | Choice::Full => Dropped::CastFull,
            Choice::Nobody => Dropped::CastNobody,
        };
        self.stats.count_dropped(dropped);
    }

    /// Sends a cast to every provider that takes what it is sent.
    fn cast_to_all(&mut self, from: ConnId, namespace: usize, cast: &Cast<'_>) {
        let Some((_, providers, _)) = self.namespaces[namespace].board.providers(&cast.function)
        else {
            return self.stats.count_dropped(Dropped::EventNobody);
        };
        let providers: Vec<ConnId> = providers.iter().map(|provider| provider.conn).collect();
        self.note_work(providers.len() as u64);
        for provider in providers {
            if self.load(provider).is_some_and(|load| !load.choked) && self.takes_cast(cast) {
                self.deliver(from, provider, cast);
            } else {
                self.stats.count_dropped(Dropped::EventFull);
            }
        }
    }

    /// Whether there is room for one more copy of what one sender may have sent to very many.
    fn takes_cast(&mut self, cast: &Cast<'_>) -> bool {
        let limit = self.config.limits.max_outbound_total;
        let takes = self.spare.waiting() as u64 <= limit
            && self.fits_sending(&cast.payload, &cast.ext.headers);
        if !takes {
            let flag = Limits::FLAGS.max_outbound_total;
            self.stats.count_limited(flag);
        }
        takes
    }

    fn deliver(&mut self, from: ConnId, provider: ConnId, cast: &Cast<'_>) {
        let Some(identity) = self.get(from).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let (caller, name) = (identity.worker, identity.name.clone());
        let to = self.get(provider).and_then(|conn| conn.identity.as_deref());
        let may_know = to.is_none_or(|to| to.grant.shows(&cast.ext.event));
        let ext = CastOptions {
            caller,
            caller_name: Text(&name),
            event: if may_know { cast.ext.event } else { Text("") },
            ..cast.ext.clone()
        };
        let frame = Cast {
            payload: Bin(&cast.payload),
            ext,
            ..cast.clone()
        }
        .to_frame();
        self.stats.casts += 1;
        self.reply(provider, OwnFrame::Ready(frame));
    }
}

/// Checks a whole batch against what the worker has. Returns it by keys, encoded.
fn check(
    bindings: &[BindingEntry<'_>],
    identity: &Identity,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<Vec<(Name, Definition)>, Refusal> {
    let rules = identity.grant.rights.of(Verb::Bind);
    for binding in bindings {
        check_binding(binding)?;
        let mut names = [binding.event.0, binding.function.0].into_iter();
        if let Some(name) = names.find(|name| !rules.allows(name)) {
            return Err(Refusal::forbidden(Verb::Bind, name));
        }
    }
    let worker = namespace.roster.get(identity.worker);
    super::registration::check_place(worker, namespace, limits)?;
    let mut entries: Vec<(Name, Definition)> = Vec::with_capacity(bindings.len());
    for binding in bindings {
        super::registration::check_entry(&"a binding", binding.config.len(), limits)?;
        let key = binding_key(&binding.event, &binding.function, &binding.id);
        let known = namespace.bindings.known_name(&key);
        let definition = Definition {
            encoded: encoded(binding),
            exclusive: false,
        };
        entries.push((known.unwrap_or_else(|| key.into()), definition));
    }
    // Of a key that comes twice, the last entry holds.
    let last: BTreeMap<&str, usize> = entries
        .iter()
        .map(|(key, definition)| (&**key, definition.encoded.len()))
        .collect();
    let mut gain = Gain::default();
    for (key, bytes) in last {
        gain.add(bytes, worker.and_then(|worker| worker.binding(key)));
    }
    let limit = limits.max_bindings;
    if (worker.map_or(0, Worker::bound) + gain.count) as u64 > limit {
        let message = format!("more than {limit} bindings of one worker");
        let flag = Limits::FLAGS.max_bindings;
        return Err(Refusal::over(flag, Code::TooManyBindings, &message));
    }
    let limit = limits.max_namespace_bindings;
    let all = namespace.roster.totals().bindings;
    if gain.count > 0 && (all + gain.count) as u64 > limit {
        let message = format!("more than {limit} bindings of all workers of the namespace");
        let flag = Limits::FLAGS.max_namespace_bindings;
        return Err(Refusal::over(flag, Code::Overloaded, &message));
    }
    gain.check_bytes(worker, namespace, limits)?;
    Ok(entries)
}

fn check_binding(binding: &BindingEntry<'_>) -> Result<(), Refusal> {
    let refused = |what: &str, name: &str, error: NameError| {
        let code = match error {
            NameError::Reserved => Code::ReservedName,
            _ => Code::InvalidName,
        };
        Refusal::new(code, format!("{what} `{}`: {error}", shown(name)))
    };
    check_event_name(&binding.event).map_err(|error| refused("event", &binding.event, error))?;
    check_function_name(&binding.function)
        .map_err(|error| refused("function", &binding.function, error))?;
    // A single binding of a function to an event needs no id.
    if binding.id.is_empty() {
        return Ok(());
    }
    check_event_name(&binding.id).map_err(|error| refused("binding", &binding.id, error))
}
