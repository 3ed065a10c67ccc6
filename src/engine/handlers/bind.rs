//! BIND and UNBIND: bindings of functions to events. A batch is checked as a whole, then applied as a whole.

use crate::engine::Engine;
use crate::engine::access::rights::Verb;
use crate::engine::connection::batch::{BatchEntry, sort_entries};
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::{Sender, Session};
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::binding_key::{binding_key, split_binding_key};
use crate::engine::registry::entry::{EncodedDefinition, encode_entry};
use crate::engine::registry::namespace::Namespace;
use crate::engine::registry::roster::Worker;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{BindingEntry, BindingKey, Code, check_event_name, check_function_name};

use super::register::{Growth, check_entry, check_roster, refused_name};

impl Engine {
    pub(super) fn handle_bind(
        &mut self,
        from: Sender,
        request: u64,
        bindings: &[BindingEntry<'_>],
    ) {
        self.input.add(work::ENTRY, bindings.len());
        match self.bind(from, bindings) {
            Ok(()) => self.reply(from.conn, Reply::Acknowledgement(request)),
            Err(refusal) => self.refuse_request(from.conn, request, &refusal),
        }
    }

    /// Checks all bindings of a batch, then adds them.
    fn bind(&mut self, from: Sender, bindings: &[BindingEntry<'_>]) -> Result<(), Refusal> {
        let session = self.connections.session(from);
        if session.is_draining() || !self.lifecycle.is_running() {
            let message = "nothing is bound while draining";
            return Err(Refusal::new(Code::Draining, message));
        }
        let namespace = &self.registry[from.namespace];
        let (entries, growth) = check(bindings, session, namespace, &self.config.limits)?;
        self.check_growth(growth.memory())?;
        let session = self.connections.session(from);
        let namespace = &mut self.registry[from.namespace];
        for entry in entries {
            let known = (&entry.name, entry.slot);
            namespace.bind(session.registrant(from.conn), known, &entry.definition);
        }
        self.mark_changer(from);
        Ok(())
    }

    pub(super) fn handle_unbind(&mut self, from: Sender, request: u64, keys: &[BindingKey<'_>]) {
        self.input.add(work::ENTRY, keys.len());
        let keys: Vec<String> = keys
            .iter()
            .map(|key| binding_key(&key.event, &key.function, &key.id))
            .collect();
        let namespace = &mut self.registry[from.namespace];
        let worker = namespace.roster().get(from.worker);
        let missing = keys
            .iter()
            .find(|key| worker.is_none_or(|it| it.binding(key).is_none()));
        if let Some(missing) = missing {
            let (event, function, _) = split_binding_key(missing);
            let message = format!(
                "this worker does not bind `{}` to `{}`; nothing of the batch was unbound",
                shown(function),
                shown(event)
            );
            let refusal = Refusal::new(Code::NotRegistered, message);
            return self.refuse_request(from.conn, request, &refusal);
        }
        namespace.unbind(from.worker, keys.iter().map(|key| &**key));
        self.mark_changer(from);
        self.reply(from.conn, Reply::Acknowledgement(request));
    }
}

/// Checks a whole batch against the worker's bindings. Returns its entries, encoded, and what they add.
fn check(
    bindings: &[BindingEntry<'_>],
    session: &Session,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(Vec<BatchEntry>, Growth), Refusal> {
    let rules = session.grant().rights.of(Verb::Bind);
    for binding in bindings {
        check_binding(binding)?;
        let mut names = [binding.event.0, binding.function.0].into_iter();
        if let Some(name) = names.find(|name| !rules.allows(name)) {
            return Err(Refusal::forbidden(Verb::Bind, name));
        }
    }
    let worker = namespace.roster().get(session.worker());
    check_roster(worker, namespace, limits)?;
    let mut entries = Vec::with_capacity(bindings.len());
    for binding in bindings {
        check_entry(&"a binding", binding.config.len(), limits)?;
        let key = binding_key(&binding.event, &binding.function, &binding.id);
        let definition = EncodedDefinition {
            bytes: encode_entry(binding),
            exclusive: false,
        };
        entries.push(BatchEntry::new(key.into(), definition));
    }
    sort_entries(&mut entries);
    let mut growth = Growth::of(worker);
    for entry in &mut entries {
        let known = worker.and_then(|worker| worker.binding(&entry.name));
        growth.add(&entry.name, entry.definition.bytes.len(), known);
        entry.slot = namespace.bindings().slot(&entry.name);
    }
    let limit = limits.max_bindings;
    if (worker.map_or(0, Worker::bindings) + growth.count()) as u64 > limit {
        let message = format!("more than {limit} bindings of one worker");
        let flag = Limits::FLAGS.max_bindings;
        return Err(Refusal::over(flag, Code::TooManyBindings, &message));
    }
    let limit = limits.max_namespace_bindings;
    let all = namespace.roster().totals().bindings;
    if growth.count() > 0 && (all + growth.count()) as u64 > limit {
        let message = format!("more than {limit} bindings of all workers of the namespace");
        let flag = Limits::FLAGS.max_namespace_bindings;
        return Err(Refusal::over(flag, Code::Overloaded, &message));
    }
    growth.check_bytes(worker, namespace, limits)?;
    Ok((entries, growth))
}

fn check_binding(binding: &BindingEntry<'_>) -> Result<(), Refusal> {
    let (event, function, id) = (binding.event.0, binding.function.0, binding.id.0);
    check_event_name(event).map_err(|error| refused_name("event", event, error))?;
    check_function_name(function).map_err(|error| refused_name("function", function, error))?;
    // The only binding of a function to an event needs no id.
    if id.is_empty() {
        return Ok(());
    }
    check_event_name(id).map_err(|error| refused_name("binding", id, error))
}
