//! REGISTER and UNREGISTER: a batch is checked whole, then applied whole. Nothing of a batch that fails is
//! on the board for an instant.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::protocol::{Code, Definition, NameError, Register, Unregister, check_function_name};

use super::board::{Conflict, Definition as Encoded, Name};
use super::connection::{Batch, Identity, encode_definition};
use super::namespace::Namespace;
use super::outbox::OwnFrame;
use super::refusal::{Refusal, shown};
use super::rights::{Rules, Verb};
use super::roster::{Registration, Worker};
use super::traffic::Park;
use super::{ConnId, Engine, Shutdown, Time};
use crate::limits::Limits;

/// What an entry of a request costs, granted or not: see [`Engine::note_work`].
pub(super) const ENTRY_WORK: u64 = 5;

impl Engine {
    pub(super) fn handle_register(&mut self, id: ConnId, register: &Register<'_>, now: Time) {
        self.note_work(ENTRY_WORK * register.functions.len() as u64);
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let mut batch = conn
            .batch
            .take()
            .unwrap_or_else(|| Box::new(Batch::new(register.id, now, &self.batches)));
        if batch.id != register.id {
            let message = format!(
                "batch {} began before batch {} ended",
                register.id, batch.id
            );
            return self.say_goodbye(id, Code::ProtocolError, &message, now);
        }
        let Some(identity) = conn.identity.as_deref() else {
            return;
        };
        let namespace = &self.namespaces[identity.namespace];
        let rules = identity.grant.rights.of(Verb::Register);
        for definition in &register.functions {
            if batch.failure.is_none() {
                let limits = &self.config.limits;
                if let Err(refusal) = collect(&mut batch, definition, rules, namespace, limits) {
                    batch.fail(refusal);
                }
            }
        }
        if register.more {
            batch.note_held();
            conn.batch = Some(batch);
            return self.bound_batches();
        }
        let Batch {
            entries, failure, ..
        } = *batch;
        let outcome = match failure {
            Some(refusal) => Err(refusal),
            None => self.apply(id, entries),
        };
        match outcome {
            Ok(awaited) => {
                self.reply(id, OwnFrame::Registered(register.id));
                for park in awaited {
                    self.offer(id, park);
                }
                self.serve(id, now);
            }
            Err(refusal) => self.refuse(id, register.id, &refusal),
        }
    }

    /// Puts a batch on the board. Returns what calls were parked for that can go on now.
    fn apply(&mut self, id: ConnId, entries: Vec<(Name, Encoded)>) -> Result<Vec<Park>, Refusal> {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return Ok(Vec::new());
        };
        let Some(identity) = conn.identity.as_deref() else {
            return Ok(Vec::new());
        };
        if identity.draining || self.shutdown != Shutdown::No {
            let message = "no registrations while draining";
            return Err(Refusal::new(Code::Draining, message));
        }
        let namespace = &mut self.namespaces[identity.namespace];
        check(&entries, identity, namespace, &self.config.limits)?;
        let mut awaited = Vec::new();
        for (name, definition) in entries {
            if !namespace.parked.is_empty() {
                let parks = [None, Some(identity.worker)].map(|worker| Park {
                    function: name.clone(),
                    worker,
                });
                awaited.extend(
                    parks
                        .into_iter()
                        .filter(|park| namespace.parked.contains_key(park)),
                );
            }
            let slot = namespace
                .board
                .provide(&name, (identity.worker, id), definition.clone());
            let who = (&identity.name, &identity.metadata);
            namespace
                .roster
                .provide(identity.worker, who, &name, slot, &definition);
            namespace.touched = true;
        }
        self.note_causer(id);
        Ok(awaited)
    }

    pub(super) fn handle_unregister(&mut self, id: ConnId, unregister: &Unregister<'_>) {
        self.note_work(ENTRY_WORK * unregister.names.len() as u64);
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let (key, worker) = (identity.namespace, identity.worker);
        let provides = |name: &str| {
            let entry = self.namespaces[key].roster.get(worker);
            entry.is_some_and(|entry| entry.get(name).is_some())
        };
        if let Some(missing) = unregister.names.iter().find(|name| !provides(name)) {
            let message = format!(
                "this worker does not provide `{}`; nothing of the batch was unregistered",
                shown(missing)
            );
            let refusal = Refusal::new(Code::NotRegistered, message);
            return self.refuse(id, unregister.id, &refusal);
        }
        self.namespaces[key].withdraw(worker, unregister.names.iter().map(|name| name.0));
        self.note_causer(id);
        self.reply(id, OwnFrame::Registered(unregister.id));
    }

    /// Answers a request that is no call with its failure.
    pub(super) fn refuse(&mut self, id: ConnId, request: u64, refusal: &Refusal) {
        refusal.count(&mut self.stats);
        *self.stats.refused.entry(refusal.code.as_str()).or_default() += 1;
        self.fail(id, request, refusal.code, &refusal.message);
    }
}

/// Checks a definition by itself and adds it to the batch.
fn collect(
    batch: &mut Batch,
    definition: &Definition<'_>,
    rules: &Rules,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    let name = definition.name.0;
    check_function_name(name).map_err(|error| {
        let code = match error {
            NameError::Reserved => Code::ReservedName,
            _ => Code::InvalidName,
        };
        Refusal::new(code, format!("function `{}`: {error}", shown(name)))
    })?;
    if !rules.allows(name) {
        return Err(Refusal::forbidden(Verb::Register, name));
    }
    let bytes = definition.description.len()
        + definition.request.len()
        + definition.response.len()
        + definition.metadata.len();
    check_entry(&format_args!("`{name}`"), bytes, limits)?;
    let encoded = encode_definition(definition);
    batch.bytes += encoded.encoded.len();
    if batch.bytes as u64 > limits.max_metadata {
        return Err(over_metadata(limits));
    }
    if batch.entries.len() as u64 >= limits.max_functions {
        return Err(over_functions(limits));
    }
    let name = namespace
        .board
        .known_name(name)
        .unwrap_or_else(|| name.into());
    batch.entries.push((name, encoded));
    Ok(())
}

/// Checks the size of what one entry says beside its name. `what` names it in a sentence.
pub(super) fn check_entry(
    what: &dyn Display,
    bytes: usize,
    limits: &Limits,
) -> Result<(), Refusal> {
    let limit = limits.max_entry;
    if bytes as u64 <= limit {
        return Ok(());
    }
    let message = format!(
        "{what}: {bytes} bytes of description, schemas, metadata or config, the limit is {limit}"
    );
    let flag = Limits::FLAGS.max_entry;
    Err(Refusal::over(flag, Code::EntryTooLarge, &message))
}

/// Checks that a worker has a place among those that provide or bind something, or can get one.
pub(super) fn check_place(
    worker: Option<&Worker>,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    if worker.is_some() || (namespace.roster.len() as u64) < limits.max_workers {
        return Ok(());
    }
    let message = format!("{} workers provide something already", limits.max_workers);
    let flag = Limits::FLAGS.max_workers;
    Err(Refusal::over(flag, Code::TooManyWorkers, &message))
}

/// Checks a whole batch against what is on the board.
fn check(
    entries: &[(Name, Encoded)],
    identity: &Identity,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    let worker = namespace.roster.get(identity.worker);
    check_place(worker, namespace, limits)?;
    let mut gain = Gain::default();
    let mut judge = |name: &str, definition: &Encoded| {
        let known = worker.and_then(|worker| worker.get(name));
        gain.add(definition.encoded.len(), known);
        let verdict = namespace
            .board
            .check(name, identity.worker, definition.exclusive);
        verdict.map_err(|conflict| {
            let shows = identity.grant.shows(name);
            conflicting(name, conflict, namespace, shows)
        })
    };
    if let [(name, definition)] = entries {
        judge(name, definition)?;
    } else {
        // Of a name that comes twice, the last definition holds. In order, so that the name that is told is
        // not a matter of chance.
        let last: BTreeMap<&str, &Encoded> = entries
            .iter()
            .map(|(name, definition)| (&**name, definition))
            .collect();
        for (name, definition) in last {
            judge(name, definition)?;
        }
    }
    if (worker.map_or(0, Worker::len) + gain.count) as u64 > limits.max_functions {
        return Err(over_functions(limits));
    }
    let all = namespace.roster.totals();
    let limit = limits.max_namespace_functions;
    if gain.count > 0 && (all.functions + gain.count) as u64 > limit {
        let message = format!("more than {limit} functions of all workers of the namespace");
        let flag = Limits::FLAGS.max_namespace_functions;
        return Err(Refusal::over(flag, Code::Overloaded, &message));
    }
    gain.check_bytes(worker, namespace, limits)
}

/// What a batch adds to what its worker has.
#[derive(Debug, Default)]
pub(super) struct Gain {
    /// Entries that the worker does not have yet.
    pub(super) count: usize,
    /// Bytes of all entries of the batch.
    bytes: usize,
    /// Bytes of those that they replace.
    replaced: usize,
}

impl Gain {
    /// One entry more, of so many bytes, encoded; `known` is what it replaces.
    pub(super) fn add(&mut self, bytes: usize, known: Option<&Registration>) {
        self.count += usize::from(known.is_none());
        self.bytes += bytes;
        self.replaced += known.map_or(0, |known| known.bytes);
    }

    /// Checks the bytes of the worker's entries, and those of the namespace's.
    pub(super) fn check_bytes(
        &self,
        worker: Option<&Worker>,
        namespace: &Namespace,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let after = worker.map_or(0, Worker::bytes) + self.bytes - self.replaced;
        if after as u64 > limits.max_metadata {
            return Err(over_metadata(limits));
        }
        let after = namespace.roster.totals().bytes + self.bytes - self.replaced;
        let limit = limits.max_namespace_metadata;
        // Who makes its entries smaller is welcome at any time.
        if self.bytes > self.replaced && after as u64 > limit {
            let message =
                format!("the entries of all workers of the namespace exceed {limit} bytes");
            let flag = Limits::FLAGS.max_namespace_metadata;
            return Err(Refusal::over(flag, Code::Overloaded, &message));
        }
        Ok(())
    }
}

/// `shows`: the one who is refused may know who provides it.
fn conflicting(name: &str, conflict: Conflict, namespace: &Namespace, shows: bool) -> Refusal {
    let owner = namespace.roster.get(conflict.owner).filter(|_| shows);
    let owner = owner.map_or_else(
        || "another worker".to_owned(),
        |owner| format!("worker {} \"{}\"", conflict.owner, shown(owner.name())),
    );
    let message = format!(
        "`{name}` is provided by {owner}{}",
        if conflict.owner_insists {
            ", exclusively"
        } else {
            "; it can't become exclusive"
        },
    );
    Refusal::new(Code::Exclusive, message)
}

fn over_functions(limits: &Limits) -> Refusal {
    let message = format!("more than {} functions of one worker", limits.max_functions);
    let flag = Limits::FLAGS.max_functions;
    Refusal::over(flag, Code::TooManyFunctions, &message)
}

fn over_metadata(limits: &Limits) -> Refusal {
    let limit = limits.max_metadata;
    let message = format!("the entries of one worker exceed {limit} bytes");
    let flag = Limits::FLAGS.max_metadata;
    Refusal::over(flag, Code::MetadataTooLarge, &message)
}
