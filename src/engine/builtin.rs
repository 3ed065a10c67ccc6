//! The engine's own functions, under `engine::`: called like any other, answered at once, on no board.
//! Arguments and results are MessagePack maps; `docs/PROTOCOL.md` lists their keys.

use log::info;
use serde::{Deserialize, Serialize};

use crate::protocol::{Bin, BindingEntry, Call, Code, Definition, Outcome, Text};

use super::board::split_binding_key;
use super::gate::{Grant, STATS};
use super::outbox::OwnFrame;
use super::refusal::{Refusal, shown};
use super::rights::Verb;
use super::roster::Worker;
use super::{ConnId, Engine, Time};
use crate::limits::Limits;

/// Entries of one answer, unless fewer are asked for.
const PAGE_DEFAULT: u64 = 1000;
/// Entries of one answer at the most.
const PAGE_MAX: u64 = 10_000;
/// Bytes of a provider in an answer, without its name, at the most.
const PROVIDER_ROW: usize = 64;
/// Bytes of a worker's id in an answer, at the most.
const ID_BYTES: usize = 9;
/// A list within a row fills this part of a payload at the most.
const ROW_SHARE: usize = 4;

/// What a row costs, and what `engine::stats` costs: see [`Engine::note_work`].
const ROW_WORK: u64 = 5;
const STATS_WORK: u64 = 200;

/// The engine's functions that only who has the right [`Verb::Admin`] for their name may call.
pub const GUARDED: &[&str] = &[STATS, KICK, DRAIN];
const KICK: &str = "engine::workers::kick";
const DRAIN: &str = "engine::drain";

/// What `engine::workers::kick` takes: one of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KickArguments {
    worker: Option<u64>,
    name: Option<String>,
}

#[derive(Serialize)]
struct Kicked {
    kicked: usize,
}

/// An answer without keys.
#[derive(Serialize)]
struct Nothing {}

/// What the lists take. All keys may be absent, and so may the map.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListArguments {
    /// Only names that begin so (functions', workers', events').
    prefix: String,
    /// Only what comes behind this: `next` of the answer before.
    after: Option<String>,
    /// So many entries at the most.
    limit: Option<u64>,
}

#[derive(Serialize)]
struct FunctionRow<'a> {
    name: Text<'a>,
    description: Text<'a>,
    request: Bin<'a>,
    response: Bin<'a>,
    metadata: Bin<'a>,
    exclusive: bool,
    providers: Vec<ProviderRow>,
    /// Providers beyond those, which no answer would hold.
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
    /// Workers beyond those, which no answer would hold.
    more_workers: usize,
}

impl Engine {
    /// Answers a call to a name under `engine::`.
    pub(super) fn handle_builtin(&mut self, id: ConnId, call: &Call<'_>, now: Time) {
        let Some(identity) = self.get(id).and_then(|conn| conn.identity.as_deref()) else {
            return;
        };
        let (namespace, grant) = (identity.namespace, identity.grant.clone());
        let name = call.function.0;
        if GUARDED.contains(&name) && !grant.rights.allow(Verb::Admin, name) {
            let refusal = self.gate.refuse_command(name);
            return self.refuse_call(id, call.id, &refusal);
        }
        if name == KICK || name == DRAIN {
            self.note_command(id, name, now);
        }
        // A page is a thousand times as large as the call for it: who does not read gets no further ones.
        let limit = self.config.limits.max_outbound as usize;
        if self.get(id).is_some_and(|conn| conn.outbox.bytes() > limit) {
            let flag = Limits::FLAGS.max_outbound;
            let message = "the answers to your calls wait to be read";
            let refusal = Refusal::over(flag, Code::Overloaded, message);
            return self.refuse_call(id, call.id, &refusal);
        }
        let answer = match name {
            "engine::functions::list" => self.list_functions(namespace, &grant, &call.payload),
            "engine::workers::list" => self.list_workers(namespace, &grant, &call.payload),
            "engine::bindings::list" => self.list_bindings(namespace, &grant, &call.payload),
            KICK => self.kick(id, namespace, &call.payload, now),
            DRAIN => {
                self.drain_asked = true;
                Ok(encode(&Nothing {}))
            }
            STATS => {
                self.note_work(STATS_WORK);
                Ok(encode(&self.stats_for(Some(namespace))))
            }
            name => {
                let message = format!("the engine has no function `{}`", shown(name));
                Err(Refusal::new(Code::NoSuchFunction, message))
            }
        };
        match answer {
            Ok(payload) => {
                self.stats.count_ending("result");
                let reply = Outcome {
                    id: call.id,
                    payload: Bin(&payload),
                    ..Outcome::default()
                };
                self.reply(id, OwnFrame::Ready(reply.to_frame()));
            }
            Err(refusal) => self.refuse_call(id, call.id, &refusal),
        }
    }

    /// A line for those who want to know who commanded the engine.
    fn note_command(&mut self, id: ConnId, name: &str, now: Time) {
        if !self.may_log(now) {
            return;
        }
        let Some(conn) = self.get(id) else { return };
        let Some(identity) = conn.identity.as_deref() else {
            return;
        };
        let (peer, worker, grant) = (conn.peer, &identity.name, &identity.grant);
        info!(
            "{peer}: {worker:?} of principal {:?} calls {name}",
            grant.principal
        );
    }

    /// Whether somebody called `engine::drain`: then the shell does what it does when it is told to end. Asked
    /// once for each time.
    pub fn take_drain(&mut self) -> bool {
        std::mem::take(&mut self.drain_asked)
    }

    /// Sends a worker of the namespace away, or all of a name. They leave the board in this turn.
    fn kick(
        &mut self,
        by: ConnId,
        namespace: usize,
        payload: &[u8],
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = rmp_serde::from_slice::<KickArguments>(payload).ok();
        let arguments = arguments.filter(|it| it.worker.is_some() != it.name.is_some());
        let Some(arguments) = arguments else {
            let message = "a map of `worker` (an id) or `name` is wanted";
            return Err(Refusal::new(Code::InvalidArgument, message));
        };
        let kicked: Vec<ConnId> = self
            .connections
            .iter()
            .flatten()
            .filter(|conn| conn.id != by && !conn.is_leaving())
            .filter(|conn| {
                conn.identity.as_deref().is_some_and(|identity| {
                    identity.namespace == namespace
                        && arguments.worker.is_none_or(|id| id == identity.worker)
                        && arguments
                            .name
                            .as_deref()
                            .is_none_or(|name| *name == *identity.name)
                })
            })
            .map(|conn| conn.id)
            .collect();
        self.note_work(self.connected as u64);
        for &id in &kicked {
            self.say_goodbye(id, Code::Kicked, "sent away by an administrator", now);
        }
        Ok(encode(&Kicked {
            kicked: kicked.len(),
        }))
    }

    fn list_functions(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = arguments(payload)?;
        let namespace = &self.namespaces[namespace];
        let rows = namespace
            .board
            .now_under_after(&arguments.prefix, arguments.after.as_deref());
        let rows = rows.filter(|(name, ..)| self.is_shown(grant, name));
        let rows = rows.filter_map(|(name, entry, providers)| {
            let definition = rmp_serde::from_slice::<Definition<'_>>(entry).ok()?;
            let mut room = self.row_share();
            let listed = providers.iter().map_while(|provider| {
                let load = self.load(provider.conn);
                let worker = namespace.roster.get(provider.worker);
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
            let row = FunctionRow {
                name: definition.name,
                description: definition.description,
                request: definition.request,
                response: definition.response,
                metadata: definition.metadata,
                exclusive: definition.exclusive,
                more_providers: providers.len() - listed.len(),
                providers: listed,
            };
            Some((name.to_string(), row))
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    /// Whether somebody may see the function. What is passed over costs time too.
    fn is_shown(&self, grant: &Grant, function: &str) -> bool {
        let is_shown = grant.shows(function);
        if !is_shown {
            self.note_work(1);
        }
        is_shown
    }

    /// How many of a worker's functions and bindings somebody may see.
    fn shown_of(&self, grant: &Grant, worker: &Worker) -> (usize, usize) {
        if grant.observe.is_none() {
            return (worker.len(), worker.bound());
        }
        self.note_work((worker.len() + worker.bound()) as u64);
        let functions = worker.names().filter(|name| grant.shows(name));
        let bindings = worker
            .binding_keys()
            .filter(|key| shows_binding(grant, key));
        (functions.count(), bindings.count())
    }

    fn list_workers(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = arguments(payload)?;
        let after = arguments.after.as_deref().map_or(Ok(0), str::parse);
        let after: u64 = after.map_err(|_| {
            let message = "`after` must be the `next` of a page before";
            Refusal::new(Code::InvalidArgument, message)
        })?;
        let namespace = &self.namespaces[namespace];
        let workers = namespace.roster.workers_after(after);
        let rows = workers
            .inspect(|_| self.note_work(1))
            .filter(|(_, worker)| worker.name().starts_with(&arguments.prefix))
            .map(|(id, worker)| (id, worker, self.shown_of(grant, worker)))
            .filter(|(.., (functions, _))| grant.observe.is_none() || *functions > 0)
            .map(|(id, worker, (functions, bindings))| {
                let conn = worker.names().next().and_then(|name| {
                    let providers = namespace.board.providers_of(name)?;
                    providers
                        .iter()
                        .find(|it| it.worker == id)
                        .map(|provider| provider.conn)
                });
                let load = conn.and_then(|conn| self.load(conn));
                let row = WorkerRow {
                    worker: id,
                    name: worker.name(),
                    metadata: Bin(worker.metadata()),
                    functions,
                    bindings,
                    in_flight: load.map_or(0, |load| load.in_flight),
                    capacity: load.map_or(0, |load| load.capacity),
                    peer: conn
                        .and_then(|conn| self.get(conn))
                        .map_or_else(String::new, |conn| conn.peer.to_string()),
                };
                (id.to_string(), row)
            });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    fn list_bindings(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = arguments(payload)?;
        let namespace = &self.namespaces[namespace];
        // NUL can't stand in an argument that people type; tabs stand for it.
        let after = arguments
            .after
            .as_deref()
            .map(|after| after.replace('\t', "\0"));
        let rows = namespace
            .bindings
            .now_under_after(&arguments.prefix, after.as_deref());
        let rows = rows.inspect(|_| self.note_work(u64::from(grant.observe.is_some())));
        let rows = rows.filter(|(key, ..)| shows_binding(grant, key));
        let rows = rows.filter_map(|(key, entry, providers)| {
            let binding = rmp_serde::from_slice::<BindingEntry<'_>>(entry).ok()?;
            let listed = providers.len().min(self.row_share() / ID_BYTES);
            let workers = providers[..listed].iter().map(|provider| provider.worker);
            let row = BindingRow {
                event: binding.event,
                function: binding.function,
                id: binding.id,
                config: binding.config,
                deliver_all: binding.deliver_all,
                workers: workers.collect(),
                more_workers: providers.len() - listed,
            };
            Some((key.replace('\0', "\t"), row))
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
    }

    /// Bytes that a list within a row may fill.
    fn row_share(&self) -> usize {
        self.config.limits.max_payload as usize / ROW_SHARE
    }

    /// As many rows as the caller wants and half a payload holds, but one at least: its own lists fill no more
    /// than their share, and the rest of it came in a frame.
    fn page<T: Serialize>(
        &self,
        revision: u64,
        arguments: &ListArguments,
        rows: impl Iterator<Item = (String, T)>,
    ) -> Vec<u8> {
        let limit = arguments.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as u32;
        let bytes_max = (self.config.limits.max_payload / 2) as usize;
        let (mut entries, mut count) = (Vec::new(), 0);
        let (mut last, mut next) = (None, None);
        for (key, row) in rows {
            self.note_work(ROW_WORK);
            if count == limit {
                next = last;
                break;
            }
            let before = entries.len();
            encode_to(&mut entries, &row);
            if count > 0 && entries.len() > bytes_max {
                entries.truncate(before);
                next = last;
                break;
            }
            count += 1;
            last = Some(key);
        }
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

/// Whether somebody may see a binding: its event and its function.
fn shows_binding(grant: &Grant, key: &str) -> bool {
    let (event, function, _) = split_binding_key(key);
    grant.shows(event) && grant.shows(function)
}

/// Reads the arguments of a list. Nothing at all is as good as an empty map.
fn arguments(payload: &[u8]) -> Result<ListArguments, Refusal> {
    if matches!(payload, [] | [0xc0]) {
        return Ok(ListArguments::default());
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    // Payloads are not checked as frames are.
    deserializer.set_max_depth(crate::protocol::MAX_DEPTH);
    ListArguments::deserialize(&mut deserializer).map_err(|error| {
        let message = format!("a map of `prefix`, `after`, `limit` is wanted: {error}");
        Refusal::new(Code::InvalidArgument, message)
    })
}

const TO_MEMORY: &str = "writing to memory does not fail";

fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect(TO_MEMORY)
}

fn encode_to(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = rmp_serde::encode::write_named(out, value);
    written.expect(TO_MEMORY);
}
