//! The engine's own functions, under `engine::`: called like any other, answered at once, not on the board.
//! Arguments and results are MessagePack maps; `docs/PROTOCOL.md` lists their keys.

use std::fmt::Display;

use log::info;
use serde::Serialize;

use crate::engine::Engine;
use crate::engine::access::authenticator::{DRAIN, GUARDED, KICK, STATS};
use crate::engine::access::grant::Grant;
use crate::engine::access::rights::Verb;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::progress::{Kick, Progress};
use crate::engine::connection::session::{Sender, Session};
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::{Refusal, shown};
use crate::engine::registry::binding_key::split_binding_key;
use crate::engine::registry::board::Provider;
use crate::engine::registry::namespace::Namespace;
use crate::engine::registry::roster::Worker;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{Bin, BindingEntry, Call, Code, Definition, Outcome, Text};

use super::arguments::{KickArguments, ListArguments};
use super::input::Step;

/// Bytes of a provider in an answer, without its name, at most.
const PROVIDER_ROW: usize = 64;
/// Bytes of a worker's id in an answer, at the most.
const ID_BYTES: usize = 9;
/// A list within a row takes one of this many parts of a payload at most.
const ROW_PARTS: usize = 4;

#[derive(Serialize)]
struct Kicked {
    kicked: usize,
}

/// How far a kick has come.
enum Kicking {
    /// All are disconnected; the answer says how many.
    Done(Vec<u8>),
    /// It goes on later.
    Unfinished(Step),
}

/// An answer without keys.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct FunctionRow<'a> {
    name: Text<'a>,
    description: Text<'a>,
    request: Bin<'a>,
    response: Bin<'a>,
    metadata: Bin<'a>,
    exclusive: bool,
    providers: Vec<ProviderRow>,
    /// Number of further providers, which would not fit into an answer.
    more_providers: usize,
}

#[derive(Serialize)]
struct ProviderRow {
    worker: u64,
    name: String,
    in_flight: u32,
    capacity: u32,
}

#[derive(Serialize)]
struct WorkerRow<'a> {
    worker: u64,
    name: &'a str,
    metadata: Bin<'a>,
    functions: usize,
    bindings: usize,
    in_flight: u32,
    capacity: u32,
    peer: String,
}

#[derive(Serialize)]
struct BindingRow<'a> {
    event: Text<'a>,
    function: Text<'a>,
    id: Text<'a>,
    config: Bin<'a>,
    deliver_all: bool,
    workers: Vec<u64>,
    /// Number of further workers, which would not fit into an answer.
    more_workers: usize,
}

impl Engine {
    /// Answers a call to a name under `engine::`.
    pub(super) fn handle_builtin(&mut self, from: Sender, call: &Call<'_>, now: Time) -> Step {
        let (id, namespace) = (from.conn, from.namespace);
        let grant = self.session(from).grant().clone();
        let name = call.function.0;
        if GUARDED.contains(&name) && !grant.rights.allow(Verb::Admin, name) {
            let refusal = self.authenticator.refuse_command(name);
            self.refuse_call(id, call.id, &refusal);
            return Step::Done;
        }
        if (name == KICK || name == DRAIN) && !self.input.has_progress() {
            self.log_command(from, name, now);
        }
        // A page is a thousand times as large as the call for it: a caller that does not read gets no further ones.
        let limit = self.config.limits.max_outbound as usize;
        let conn = self.connections.get(id);
        if conn.is_some_and(|conn| conn.outbox().bytes() > limit) {
            let flag = Limits::FLAGS.max_outbound;
            let message = "this connection does not read the answers to its calls";
            let refusal = Refusal::over(flag, Code::Overloaded, message);
            self.refuse_call(id, call.id, &refusal);
            return Step::Done;
        }
        let answer = match name {
            "engine::functions::list" => self.list_functions(namespace, &grant, &call.payload),
            "engine::workers::list" => self.list_workers(namespace, &grant, &call.payload),
            "engine::bindings::list" => self.list_bindings(namespace, &grant, &call.payload),
            KICK => match self.kick(from, &call.payload, now) {
                Ok(Kicking::Done(answer)) => Ok(answer),
                Ok(Kicking::Unfinished(step)) => return step,
                Err(refusal) => Err(refusal),
            },
            DRAIN => {
                self.lifecycle.request_drain();
                Ok(encode(&Nothing {}))
            }
            STATS => {
                self.input.add(work::STATS, 1);
                Ok(encode(&self.stats_for(Some(namespace))))
            }
            name => {
                let message = format!("the engine has no function `{}`", shown(name));
                Err(Refusal::new(Code::NoSuchFunction, message))
            }
        };
        match answer {
            Ok(payload) => {
                self.metrics.count_result();
                let reply = Outcome {
                    id: call.id,
                    payload: Bin(&payload),
                    ..Outcome::default()
                };
                self.reply(id, Reply::Frame(reply.to_frame()));
            }
            Err(refusal) => self.refuse_call(id, call.id, &refusal),
        }
        Step::Done
    }

    /// Logs who commands the engine.
    fn log_command(&mut self, from: Sender, name: &str, now: Time) {
        if !self.may_log(now) {
            return;
        }
        let Some(conn) = self.connections.get(from.conn) else {
            return;
        };
        let (peer, session) = (conn.peer(), self.session(from));
        let (worker, principal) = (session.name(), &session.grant().principal);
        info!("{peer}: {worker:?} of principal {principal:?} calls {name}");
    }

    /// Closes the connection of a worker of the namespace, or of all workers with a name. In slices, if they have much:
    /// the frame is handled again until all of them have left the board.
    fn kick(&mut self, by: Sender, payload: &[u8], now: Time) -> Result<Kicking, Refusal> {
        let mut kick = match self.input.take_progress().map(|it| *it) {
            Some(Progress::Kick(kick)) => kick,
            _ => self.workers_to_kick(by, payload)?,
        };
        while let Some(&(worker, id)) = kick.left.last() {
            let Some(id) = self.connection_of(worker, id) else {
                kick.left.pop();
                continue;
            };
            let fits = self.has_room(by.conn, self.work_of_death(id));
            if !fits || !self.has_turn() {
                let progress = Progress::Kick(kick);
                self.input.set_progress(Some(Box::new(progress)));
                let step = if fits { Step::Slice } else { Step::Postponed };
                return Ok(Kicking::Unfinished(step));
            }
            kick.left.pop();
            self.close_with(id, Code::Kicked, "kicked by an administrator", now);
            kick.kicked += 1;
        }
        let kicked = Kicked {
            kicked: kick.kicked,
        };
        Ok(Kicking::Done(encode(&kicked)))
    }

    /// The connection of a worker that had this one: another one if its session was taken over, none if it has left.
    fn connection_of(&mut self, worker: u64, id: ConnId) -> Option<ConnId> {
        if self.connections.get(id).is_some_and(Connection::is_live) {
            return Some(id);
        }
        self.input.add(work::LOOK, self.connections.len());
        let is_its = |session: &Session| session.worker() == worker;
        let mut all = self.connections.iter();
        let found = all.find(|conn| conn.session().is_some_and(is_its));
        found.map(Connection::id)
    }

    /// The workers that the arguments of a kick mean.
    fn workers_to_kick(&self, by: Sender, payload: &[u8]) -> Result<Kick, Refusal> {
        let arguments = KickArguments::read(payload, &self.input)?;
        let is_meant = |session: &Session| {
            let (worker, name) = (arguments.worker, arguments.name);
            session.namespace() == by.namespace
                && worker.is_none_or(|worker| worker == session.worker())
                && name.is_none_or(|name| *name.0 == **session.name())
        };
        let others = self.connections.iter().filter(|it| it.id() != by.conn);
        let meant = others.filter_map(|conn| {
            let session = conn.session().filter(|session| is_meant(session))?;
            Some((session.worker(), conn.id()))
        });
        let mut left: Vec<(u64, ConnId)> = meant.collect();
        left.reverse();
        self.input.add(work::LOOK, self.connections.len());
        Ok(Kick { left, kicked: 0 })
    }

    fn list_functions(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = ListArguments::read(payload, &self.input)?;
        let namespace = &self.registry[namespace];
        let rows = namespace
            .board()
            .current_under_after(arguments.prefix(), arguments.after());
        let rows = rows.map(|(name, entry, providers)| {
            let row = self.function_row(namespace, grant, (name, entry), providers);
            (name, row)
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    /// The row of a function; `None` if it may not be observed.
    fn function_row<'a>(
        &self,
        namespace: &Namespace,
        grant: &Grant,
        (name, entry): (&str, &'a [u8]),
        providers: &[Provider],
    ) -> Option<FunctionRow<'a>> {
        if !grant.may_observe(name) {
            return None;
        }
        let definition = rmp_serde::from_slice::<Definition<'_>>(entry).ok()?;
        let mut room = self.row_bytes();
        let listed = providers.iter().map_while(|provider| {
            let load = self.load(provider.conn);
            let worker = namespace.roster().get(provider.worker);
            let name = worker.map_or_else(String::new, |worker| worker.name().to_string());
            room = room.checked_sub(PROVIDER_ROW + name.len())?;
            Some(ProviderRow {
                worker: provider.worker,
                name,
                in_flight: load.map_or(0, |load| load.in_flight),
                capacity: load.map_or(0, |load| load.capacity),
            })
        });
        let listed: Vec<_> = listed.collect();
        self.input.add(work::LOOK, listed.len());
        Some(FunctionRow {
            name: definition.name,
            description: definition.description,
            request: definition.request,
            response: definition.response,
            metadata: definition.metadata,
            exclusive: definition.exclusive,
            more_providers: providers.len() - listed.len(),
            providers: listed,
        })
    }

    /// How many functions and bindings of a worker may be observed.
    fn visible_of(&self, grant: &Grant, worker: &Worker) -> (usize, usize) {
        if grant.observe.is_none() {
            return (worker.functions(), worker.bindings());
        }
        self.input.add(work::LOOK, worker.registrations());
        let functions = worker.names().filter(|name| grant.may_observe(name));
        let bindings = worker
            .binding_keys()
            .filter(|key| may_observe_binding(grant, key));
        (functions.count(), bindings.count())
    }

    fn list_workers(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = ListArguments::read(payload, &self.input)?;
        let after = arguments.after().map_or(Ok(0), str::parse);
        let after: u64 = after.map_err(|_| {
            let message = "`after` must be the `next` of a page before";
            Refusal::new(Code::InvalidArgument, message)
        })?;
        let namespace = &self.registry[namespace];
        let workers = namespace.roster().workers_after(after);
        let rows = workers.map(|(id, worker)| {
            let is_meant = worker.name().starts_with(arguments.prefix());
            let row = is_meant.then(|| self.worker_row(namespace, grant, (id, worker)));
            (id, row.flatten())
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    /// The row of a worker; `None` if nothing of it may be observed.
    fn worker_row<'a>(
        &self,
        namespace: &Namespace,
        grant: &Grant,
        (id, worker): (u64, &'a Worker),
    ) -> Option<WorkerRow<'a>> {
        let (functions, bindings) = self.visible_of(grant, worker);
        (grant.observe.is_none() || functions > 0).then(|| {
            let conn = worker.names().next().and_then(|name| {
                let providers = namespace.board().providers_of(name)?;
                let compared = providers.len() / work::PROVIDERS_PER_UNIT as usize;
                self.input.add(work::LOOK, compared);
                providers
                    .iter()
                    .find(|it| it.worker == id)
                    .map(|provider| provider.conn)
            });
            let load = conn.and_then(|conn| self.load(conn));
            WorkerRow {
                worker: id,
                name: worker.name(),
                metadata: Bin(worker.metadata()),
                functions,
                bindings,
                in_flight: load.map_or(0, |load| load.in_flight),
                capacity: load.map_or(0, |load| load.capacity),
                peer: conn
                    .and_then(|conn| self.connections.get(conn))
                    .map_or_else(String::new, |conn| conn.peer().to_string()),
            }
        })
    }

    fn list_bindings(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = ListArguments::read(payload, &self.input)?;
        let namespace = &self.registry[namespace];
        // NUL can't stand in an argument that people type; tabs stand for it.
        let after = arguments.after().map(|after| after.replace('\t', "\0"));
        let rows = namespace
            .bindings()
            .current_under_after(arguments.prefix(), after.as_deref());
        let rows = rows.map(|(key, entry, providers)| {
            let row = self.binding_row(grant, (key, entry), providers);
            (key, row)
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    /// The row of a binding; `None` if it may not be observed.
    fn binding_row<'a>(
        &self,
        grant: &Grant,
        (key, entry): (&str, &'a [u8]),
        providers: &[Provider],
    ) -> Option<BindingRow<'a>> {
        if !may_observe_binding(grant, key) {
            return None;
        }
        let binding = rmp_serde::from_slice::<BindingEntry<'_>>(entry).ok()?;
        let listed = providers.len().min(self.row_bytes() / ID_BYTES);
        let workers = providers[..listed].iter().map(|provider| provider.worker);
        Some(BindingRow {
            event: binding.event,
            function: binding.function,
            id: binding.id,
            config: binding.config,
            deliver_all: binding.deliver_all,
            workers: workers.collect(),
            more_workers: providers.len() - listed,
        })
    }

    /// Bytes that a list within a row may fill.
    fn row_bytes(&self) -> usize {
        self.config.limits.max_payload as usize / ROW_PARTS
    }

    /// A page of rows: as many as the caller asks for, half a payload holds and the work of a page allows, also that of
    /// entries without a row, which the caller is not shown. One entry always fits: its lists are bounded, and the rest
    /// of it came in a frame.
    fn page<K: Display, T: Serialize>(
        &self,
        revision: u64,
        arguments: &ListArguments<'_>,
        rows: impl Iterator<Item = (K, Option<T>)>,
    ) -> Vec<u8> {
        let before = self.input.work();
        let limit = arguments.limit() as u32;
        let bytes_max = (self.config.limits.max_payload / 2) as usize;
        let (mut entries, mut count) = (Vec::new(), 0);
        let (mut last, mut next) = (None, None);
        for (key, row) in rows {
            if last.is_some() && self.input.work() - before >= work::PAGE {
                next = last;
                break;
            }
            let Some(row) = row else {
                self.input.add(work::LOOK, 1);
                last = Some(key);
                continue;
            };
            self.input.add(work::ROW, 1);
            if count == limit {
                next = last;
                break;
            }
            let length = entries.len();
            encode_to(&mut entries, &row);
            if count > 0 && entries.len() > bytes_max {
                entries.truncate(length);
                next = last;
                break;
            }
            count += 1;
            last = Some(key);
        }
        // NUL can't stand in an argument that people type; tabs stand for it.
        let next = next.map(|key| key.to_string().replace('\0', "\t"));
        let mut page = Vec::with_capacity(entries.len() + 64);
        let written = rmp::encode::write_map_len(&mut page, 2 + u32::from(next.is_some()));
        written.expect(TO_MEMORY);
        encode_to(&mut page, &"revision");
        encode_to(&mut page, &revision);
        encode_to(&mut page, &"entries");
        rmp::encode::write_array_len(&mut page, count).expect(TO_MEMORY);
        page.append(&mut entries);
        if let Some(next) = next {
            encode_to(&mut page, &"next");
            encode_to(&mut page, &next);
        }
        page
    }
}

/// Whether a binding may be observed: its event and its function.
fn may_observe_binding(grant: &Grant, key: &str) -> bool {
    let (event, function, _) = split_binding_key(key);
    grant.may_observe(event) && grant.may_observe(function)
}

const TO_MEMORY: &str = "writing to memory does not fail";

fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect(TO_MEMORY)
}

fn encode_to(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = rmp_serde::encode::write_named(out, value);
    written.expect(TO_MEMORY);
}
