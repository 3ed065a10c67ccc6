//! REGISTER and UNREGISTER. A batch is checked as a whole, then applied as a whole: nothing of a batch that fails is on
//! the board for an instant. The checks that bindings share with functions are here, too.

use std::fmt::Display;

use crate::engine::Engine;
use crate::engine::access::rights::{Rules, Verb};
use crate::engine::calls::parking::ParkKey;
use crate::engine::ceiling::{FUNCTION, PLACE, REGISTRATION, WORKER};
use crate::engine::connection::batch::{Batch, BatchEntry};
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::{Sender, Session};
use crate::engine::interface::Time;
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::board::Conflict;
use crate::engine::registry::entry::{EncodedDefinition, encode_entry};
use crate::engine::registry::namespace::Namespace;
use crate::engine::registry::roster::{Registration, Worker};
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{Code, Definition, NameError, Register, Unregister, check_function_name};

impl Engine {
    pub(super) fn handle_register(&mut self, from: Sender, register: &Register<'_>, now: Time) {
        self.input.add(work::ENTRY, register.functions.len());
        let Some(conn) = self.connections.get_mut(from.conn) else {
            return;
        };
        let mut batch = conn
            .take_batch()
            .unwrap_or_else(|| Box::new(Batch::new(register.id, now, self.input.batches())));
        if batch.id() != register.id {
            let message = format!(
                "batch {} began before batch {} ended",
                register.id,
                batch.id()
            );
            return self.close_with(from.conn, Code::ProtocolError, &message, now);
        }
        let limits = &self.config.limits;
        let rules = self.session(from).grant().rights.of(Verb::Register);
        for definition in &register.functions {
            if !batch.has_failed()
                && let Err(refusal) = collect(&mut batch, definition, rules, limits)
            {
                batch.fail(refusal);
            }
        }
        if register.more {
            batch.update_charge();
            if let Some(conn) = self.connections.get_mut(from.conn) {
                conn.set_batch(batch);
            }
            return self.limit_batches();
        }
        // Those of the frames before are applied with this one.
        let before = batch.len().saturating_sub(register.functions.len());
        self.input.add(work::ENTRY, before);
        let entries = batch.finish();
        match entries.and_then(|entries| self.register(from, entries, now)) {
            Ok(parked) => {
                self.reply(from.conn, Reply::Acknowledgement(register.id));
                for key in parked {
                    self.offer_parked(from.conn, from.namespace, key);
                }
                self.run_parked(from.conn, now);
            }
            Err(refusal) => self.refuse_request(from.conn, register.id, &refusal),
        }
    }

    /// Puts a batch on the board. Returns the keys of parked calls that the worker can now run.
    fn register(
        &mut self,
        from: Sender,
        mut entries: Vec<BatchEntry>,
        now: Time,
    ) -> Result<Vec<ParkKey>, Refusal> {
        self.judge_owners(from, &entries, now);
        let session = self.connections.session(from);
        if session.is_draining() || !self.lifecycle.is_running() {
            let message = "no registrations while draining";
            return Err(Refusal::new(Code::Draining, message));
        }
        let namespace = &self.registry[from.namespace];
        let growth = check(&mut entries, session, namespace, &self.config.limits)?;
        self.check_growth(growth.memory())?;
        let session = self.connections.session(from);
        let namespace = &mut self.registry[from.namespace];
        let lists = self.calls.parked_in(from.namespace);
        let lists = lists.filter(|lists| lists.len() > 0);
        let mut parked = Vec::new();
        for entry in entries {
            if let Some(lists) = lists {
                parked.extend(lists.keys_for(&entry.name, from.worker));
            }
            let known = (&entry.name, entry.slot);
            namespace.register(session.registrant(from.conn), known, &entry.definition);
        }
        self.mark_changer(from);
        Ok(parked)
    }

    /// Judges the workers whose functions conflict with those of a batch: by new credentials they may have lost them.
    fn judge_owners(&mut self, from: Sender, entries: &[BatchEntry], now: Time) {
        if !self.review.is_open() {
            return;
        }
        for entry in entries {
            let name = &entry.name;
            loop {
                let board = self.registry[from.namespace].board();
                let exclusive = entry.definition.exclusive;
                let verdict = board.check(board.slot(name), from.worker, exclusive);
                let Err(Conflict { owner, .. }) = verdict else {
                    break;
                };
                let providers = board.providers_of(name).unwrap_or_default();
                let owner = providers.iter().find(|it| it.worker == owner);
                let owner = owner.map(|it| it.conn);
                if owner.is_none_or(|owner| self.judge(owner, now) == 0) {
                    break;
                }
            }
        }
    }

    pub(super) fn handle_unregister(&mut self, from: Sender, unregister: &Unregister<'_>) {
        self.input.add(work::ENTRY, unregister.names.len());
        let namespace = &mut self.registry[from.namespace];
        let worker = namespace.roster().get(from.worker);
        let provides = |name: &str| worker.is_some_and(|worker| worker.get(name).is_some());
        if let Some(missing) = unregister.names.iter().find(|name| !provides(name)) {
            let message = format!(
                "this worker does not provide `{}`; nothing of the batch was unregistered",
                shown(missing)
            );
            let refusal = Refusal::new(Code::NotRegistered, message);
            return self.refuse_request(from.conn, unregister.id, &refusal);
        }
        // In order, so that neighbours on the board are looked up together.
        let mut names: Vec<&str> = unregister.names.iter().map(|name| name.0).collect();
        names.sort_unstable();
        namespace.unregister(from.worker, names.into_iter());
        self.mark_changer(from);
        self.reply(from.conn, Reply::Acknowledgement(unregister.id));
    }
}

/// Checks a definition by itself and adds it to the batch.
fn collect(
    batch: &mut Batch,
    definition: &Definition<'_>,
    rules: &Rules,
    limits: &Limits,
) -> Result<(), Refusal> {
    let name = definition.name.0;
    check_function_name(name).map_err(|error| refused_name("function", name, error))?;
    if !rules.allows(name) {
        return Err(Refusal::forbidden(Verb::Register, name));
    }
    let bytes = definition.description.len()
        + definition.request.len()
        + definition.response.len()
        + definition.metadata.len();
    check_entry(&format_args!("`{name}`"), bytes, limits)?;
    let encoded = EncodedDefinition {
        bytes: encode_entry(definition),
        exclusive: definition.exclusive,
    };
    if batch.add_bytes(encoded.bytes.len()) as u64 > limits.max_metadata {
        return Err(over_metadata(limits));
    }
    if batch.len() as u64 >= limits.max_functions {
        return Err(over_functions(limits));
    }
    batch.push(name.into(), encoded);
    Ok(())
}

/// The refusal of a name in a registry request. `what` says what it names.
pub(super) fn refused_name(what: &str, name: &str, error: NameError) -> Refusal {
    let code = match error {
        NameError::Reserved => Code::ReservedName,
        _ => Code::InvalidName,
    };
    Refusal::new(code, format!("{what} `{}`: {error}", shown(name)))
}

/// Checks the size of an entry without its name. `what` names the entry in a message.
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

/// Checks that a worker is on the roster, or that the roster has room for it.
pub(super) fn check_roster(
    worker: Option<&Worker>,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<(), Refusal> {
    if worker.is_some() || (namespace.roster().len() as u64) < limits.max_workers {
        return Ok(());
    }
    let message = format!("{} workers are registered already", limits.max_workers);
    let flag = Limits::FLAGS.max_workers;
    Err(Refusal::over(flag, Code::TooManyWorkers, &message))
}

/// Checks a whole batch against the board, and notes the slots of its functions.
fn check(
    entries: &mut [BatchEntry],
    session: &Session,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<Growth, Refusal> {
    let worker = namespace.roster().get(session.worker());
    check_roster(worker, namespace, limits)?;
    let mut growth = Growth::of(worker);
    let board = namespace.board();
    for entry in entries {
        let (name, definition) = (&*entry.name, &entry.definition);
        let known = worker.and_then(|worker| worker.get(name));
        growth.add(name, definition.bytes.len(), known);
        entry.slot = board.slot(name);
        let verdict = board.check(entry.slot, session.worker(), definition.exclusive);
        verdict.map_err(|conflict| {
            let may_observe = session.grant().may_observe(name);
            conflicting(name, conflict, namespace, may_observe)
        })?;
    }
    if (worker.map_or(0, Worker::functions) + growth.count()) as u64 > limits.max_functions {
        return Err(over_functions(limits));
    }
    let totals = namespace.roster().totals();
    let limit = limits.max_namespace_functions;
    if growth.count() > 0 && (totals.functions + growth.count()) as u64 > limit {
        let message = format!("more than {limit} functions of all workers of the namespace");
        let flag = Limits::FLAGS.max_namespace_functions;
        return Err(Refusal::over(flag, Code::Overloaded, &message));
    }
    growth.check_bytes(worker, namespace, limits)?;
    Ok(growth)
}

/// What a batch adds to the registrations of its worker.
#[derive(Debug, Default)]
pub(super) struct Growth {
    count: usize,
    /// Bytes of all entries of the batch.
    bytes: usize,
    /// Bytes of the entries that they replace.
    replaced: usize,
    /// Bytes beside the entries, for those that the worker does not have yet.
    overhead: usize,
}

impl Growth {
    /// What nothing adds to the registrations of a worker.
    pub(super) fn of(worker: Option<&Worker>) -> Self {
        Self {
            overhead: if worker.is_none() { WORKER } else { 0 },
            ..Self::default()
        }
    }

    /// Adds an entry of `bytes`, encoded, that replaces `known`.
    pub(super) fn add(&mut self, name: &str, bytes: usize, known: Option<&Registration>) {
        if known.is_none() {
            self.count += 1;
            // As if the worker were its only provider.
            self.overhead += REGISTRATION + PLACE + FUNCTION + name.len();
        }
        self.bytes += bytes;
        self.replaced += known.map_or(0, |known| known.bytes);
    }

    /// Entries that the worker does not have yet.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the boards grow by, at the most.
    pub(super) fn memory(&self) -> usize {
        (self.overhead + self.bytes).saturating_sub(self.replaced)
    }

    /// Checks the bytes of the entries of the worker, and of the namespace.
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
        let after = namespace.roster().totals().bytes + self.bytes - self.replaced;
        let limit = limits.max_namespace_metadata;
        // A worker may always make its entries smaller.
        if self.bytes > self.replaced && after as u64 > limit {
            let message =
                format!("the entries of all workers of the namespace exceed {limit} bytes");
            let flag = Limits::FLAGS.max_namespace_metadata;
            return Err(Refusal::over(flag, Code::Overloaded, &message));
        }
        Ok(())
    }
}

/// The refusal of a function that conflicts with an exclusive one. Names the owner if the asker may observe it.
fn conflicting(
    name: &str,
    conflict: Conflict,
    namespace: &Namespace,
    may_observe: bool,
) -> Refusal {
    let owner = namespace.roster().get(conflict.owner);
    let owner = owner.filter(|_| may_observe).map_or_else(
        || "another worker".to_owned(),
        |owner| format!("worker {} \"{}\"", conflict.owner, shown(owner.name())),
    );
    let message = format!(
        "`{name}` is provided by {owner}{}",
        if conflict.owner_is_exclusive {
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
