//! Lists of what is on the board and of what has left it, page by page: functions, workers, bindings, departures. A row
//! tells no more than its reader may observe.

use std::fmt::Display;

use serde::Serialize;

use crate::engine::Engine;
use crate::engine::access::grant::Grant;
use crate::engine::interface::Time;
use crate::engine::refusal::Refusal;
use crate::engine::registry::binding_key::split_binding_key;
use crate::engine::registry::board::Provider;
use crate::engine::registry::departures::Departure;
use crate::engine::registry::namespace::Namespace;
use crate::engine::registry::roster::Worker;
use crate::engine::work;
use crate::protocol::{Bin, BindingEntry, Definition, Text};

use super::arguments::ListArguments;
use super::builtin::TO_MEMORY;

/// Bytes of a provider in an answer, without its name, at most.
const PROVIDER_ROW: usize = 80;
/// Bytes of a worker's id in an answer, at the most.
const ID_BYTES: usize = 9;
/// A list within a row takes one of this many parts of a payload at most.
const ROW_PARTS: usize = 4;

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
    #[serde(skip_serializing_if = "is_lowest")]
    tier: u64,
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
    #[serde(skip_serializing_if = "is_lowest")]
    tier: u64,
    peer: String,
}

/// A worker that left.
#[derive(Serialize)]
struct DepartureRow<'a> {
    worker: u64,
    name: &'a str,
    code: &'a str,
    /// How long ago, and how long its session had lasted.
    ago_ms: u64,
    stayed_ms: u64,
    functions: usize,
    bindings: usize,
    /// The first of the functions.
    first: Vec<&'a str>,
    peer: String,
}

/// Whether a tier is the one that most workers have, which rows do not tell.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_lowest(tier: &u64) -> bool {
    *tier == 0
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
    pub(super) fn list_functions(
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
                tier: provider.tier,
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

    pub(super) fn list_workers(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = ListArguments::read(payload, &self.input)?;
        let after = arguments.number_after()?.unwrap_or(0);
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
            let provider = worker.names().next().and_then(|name| {
                let providers = namespace.board().providers_of(name)?;
                let compared = providers.len() / work::PROVIDERS_PER_UNIT as usize;
                self.input.add(work::LOOK, compared);
                providers.iter().find(|it| it.worker == id)
            });
            let conn = provider.map(|provider| provider.conn);
            let load = conn.and_then(|conn| self.load(conn));
            WorkerRow {
                worker: id,
                name: worker.name(),
                metadata: Bin(worker.metadata()),
                functions,
                bindings,
                in_flight: load.map_or(0, |load| load.in_flight),
                capacity: load.map_or(0, |load| load.capacity),
                tier: provider.map_or(0, |provider| provider.tier),
                peer: conn
                    .and_then(|conn| self.connections.get(conn))
                    .map_or_else(String::new, |conn| conn.peer().to_string()),
            }
        })
    }

    pub(super) fn list_bindings(
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

    pub(super) fn list_departures(
        &self,
        namespace: usize,
        grant: &Grant,
        payload: &[u8],
        now: Time,
    ) -> Result<Vec<u8>, Refusal> {
        let arguments = ListArguments::read(payload, &self.input)?;
        let before = arguments.number_after()?;
        let namespace = &self.registry[namespace];
        let rows = namespace.departures().before(before).map(|departure| {
            let is_meant = departure.name.starts_with(arguments.prefix());
            let row = is_meant.then(|| departure_row(departure, grant, now));
            (departure.number, row.flatten())
        });
        Ok(self.page(namespace.revision(), &arguments, rows))
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

/// The row of a departure; `None` if nothing of it may be observed. With partial rights, what is not known by name is not
/// counted.
fn departure_row<'a>(
    departure: &'a Departure,
    grant: &Grant,
    now: Time,
) -> Option<DepartureRow<'a>> {
    let seen = departure
        .first
        .iter()
        .filter(|name| grant.may_observe(name));
    let first: Vec<&str> = seen.map(|name| &**name).collect();
    let (functions, bindings) = if grant.observe.is_none() {
        (departure.functions, departure.bindings)
    } else {
        (first.len(), 0)
    };
    let how = &departure.how;
    let ms = |from: Time, to: Time| to.0.saturating_sub(from.0) / 1000;
    (grant.observe.is_none() || functions > 0).then(|| DepartureRow {
        worker: departure.worker,
        name: &departure.name,
        code: how.code,
        ago_ms: ms(how.at, now),
        stayed_ms: ms(how.since, how.at),
        functions,
        bindings,
        first,
        peer: how.peer.to_string(),
    })
}

/// Whether a binding may be observed: its event and its function.
fn may_observe_binding(grant: &Grant, key: &str) -> bool {
    let (event, function, _) = split_binding_key(key);
    grant.may_observe(event) && grant.may_observe(function)
}

fn encode_to(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = rmp_serde::encode::write_named(out, value);
    written.expect(TO_MEMORY);
}
