//! REGISTER and UNREGISTER: a batch is checked whole, then applied whole. Nothing of a batch that fails is
//! on the board for an instant.

use std::collections::BTreeMap;

use crate::protocol::{Code, Definition, NameError, Register, Unregister, check_function_name};

use super::board::{Conflict, Definition as Encoded, Name};
use super::connection::{Batch, Identity, encode_definition};
use super::namespace::Namespace;
use super::outbox::OwnFrame;
use super::roster::Worker;
use super::traffic::Park;
use super::{ConnId, Engine, Shutdown, Time};
use crate::limits::Limits;

/// Why a batch is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Engine {
    pub(super) fn handle_register(&mut self, id: ConnId, register: &Register<'_>, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let mut batch = conn.batch.take().unwrap_or_else(|| {
            Box::new(Batch {
                id: register.id,
                entries: Vec::new(),
                bytes: 0,
                failure: None,
            })
        });
        if batch.id != register.id {
            let message = format!(
                "batch {} began before batch {} ended",
                register.id, batch.id
            );
            return self.say_goodbye(id, Code::ProtocolError, &message, now);
        }
        let namespace = conn.identity.as_ref().map(|identity| identity.namespace);
        let Some(namespace) = namespace.map(|key| &self.namespaces[key]) else {
            return;
        };
        for definition in &register.functions {
            if batch.failure.is_none() {
                let limits = &self.config.limits;
                if let Err(refusal) = collect(&mut batch, definition, namespace, limits) {
                    // Nothing of it will be needed: keep no bytes for the rest of the batch.
                    batch.entries = Vec::new();
                    batch.failure = Some(refusal);
                }
            }
        }
        if register.more {
            conn.batch = Some(batch);
            return;
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
            Err(Refusal { code, message }) => self.fail(id, register.id, code, &message),
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
            let message = "no registrations while draining".to_owned();
            return Err(Refusal {
                code: Code::Draining,
                message,
            });
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
                missing.escape_debug()
            );
            return self.fail(id, unregister.id, Code::NotRegistered, &message);
        }
        self.namespaces[key].withdraw(worker, unregister.names.iter().map(|name| name.0));
        self.note_causer(id);
        self.reply(id, OwnFrame::Registered(unregister.id));
    }

    /// Notes who pays for this turn's revision step.
    pub(super) fn note_causer(&mut self, id: ConnId) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if !std::mem::replace(&mut conn.caused, true) {
            self.causers.push(id);
        }
    }

    /// Takes one revision step out of a connection's change budget; one that is overdrawn is not read until
    /// it is even again. `pays` is false in a turn whose net effect was empty.
    pub(super) fn charge(&mut self, id: ConnId, pays: bool, now: Time) {
        let rate = self.config.limits.changes_per_second;
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        conn.caused = false;
        if rate == 0 || !pays {
            return;
        }
        conn.budget_even = conn.budget_even.max(now);
        conn.budget_even.0 += 1_000_000 / rate;
        if conn.budget_even.0 - now.0 > BURST {
            conn.pause.budget = true;
            self.arm(id, now);
        }
    }
}

/// A connection may be this far ahead of its change budget, in microseconds: one second's worth.
pub(super) const BURST: u64 = 1_000_000;

/// Checks a definition by itself and adds it to the batch.
fn collect(
    batch: &mut Batch,
    definition: &Definition<'_>,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    let name = definition.name.0;
    check_function_name(name).map_err(|error| {
        let code = match error {
            NameError::Reserved => Code::ReservedName,
            _ => Code::InvalidName,
        };
        Refusal {
            code,
            message: format!("function `{}`: {error}", name.escape_debug()),
        }
    })?;
    let bytes = definition.description.len()
        + definition.request.len()
        + definition.response.len()
        + definition.metadata.len();
    if bytes as u64 > limits.max_entry {
        let limit = limits.max_entry;
        let message = format!(
            "`{name}`: {bytes} bytes of description, schemas and metadata, the limit is {limit} \
             (--max-entry)"
        );
        return Err(Refusal {
            code: Code::EntryTooLarge,
            message,
        });
    }
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

/// Checks that a worker has a place among those that provide or bind something, or can get one.
pub(super) fn check_place(
    worker: Option<&Worker>,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    if worker.is_some() || (namespace.roster.len() as u64) < limits.max_workers {
        return Ok(());
    }
    let limit = limits.max_workers;
    let message = format!("{limit} workers provide something already (--max-workers)");
    Err(Refusal {
        code: Code::TooManyWorkers,
        message,
    })
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
    // Of a name that comes twice, the last definition holds. In order, so that the name that is told is
    // not a matter of chance.
    let last: BTreeMap<&str, &Encoded> = entries
        .iter()
        .map(|(name, definition)| (&**name, definition))
        .collect();
    let (mut count, mut bytes) = worker.map_or((0, 0), |worker| (worker.len(), worker.bytes()));
    for (name, definition) in &last {
        let known = worker.and_then(|worker| worker.get(name));
        count += usize::from(known.is_none());
        bytes = bytes + definition.encoded.len() - known.map_or(0, |known| known.bytes);
        let verdict = namespace
            .board
            .check(name, identity.worker, definition.exclusive);
        verdict.map_err(|conflict| conflicting(name, conflict, namespace))?;
    }
    if count as u64 > limits.max_functions {
        return Err(over_functions(limits));
    }
    if bytes as u64 > limits.max_metadata {
        return Err(over_metadata(limits));
    }
    Ok(())
}

fn conflicting(name: &str, conflict: Conflict, namespace: &Namespace) -> Refusal {
    let owner = namespace.roster.get(conflict.owner);
    let owner_name = owner.map(|owner| owner.name().escape_debug().to_string());
    let message = format!(
        "`{name}` is provided by worker {} \"{}\"{}",
        conflict.owner,
        owner_name.unwrap_or_default(),
        if conflict.owner_insists {
            ", exclusively"
        } else {
            "; it can't become exclusive"
        },
    );
    Refusal {
        code: Code::Exclusive,
        message,
    }
}

fn over_functions(limits: &Limits) -> Refusal {
    let limit = limits.max_functions;
    let message = format!("more than {limit} functions of one worker (--max-functions)");
    Refusal {
        code: Code::TooManyFunctions,
        message,
    }
}

pub(super) fn over_metadata(limits: &Limits) -> Refusal {
    let limit = limits.max_metadata;
    let message = format!("the entries of one worker exceed {limit} bytes (--max-metadata)");
    Refusal {
        code: Code::MetadataTooLarge,
        message,
    }
}
