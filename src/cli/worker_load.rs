//! The load of workers, requested from the engine. Prints nothing.

use std::collections::HashMap;

use callboard::worker::Worker;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::pages;
use super::target::Target;
use super::text;

/// The engine's function for that.
const FUNCTION: &str = "engine::workers::list";

/// The engine's data about one worker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkerLoad {
    worker: u64,
    pub(super) in_flight: u64,
    pub(super) capacity: u64,
    /// Calls go to it only while no provider of a lower tier has room.
    pub(super) tier: u64,
    /// The address that it connected from.
    pub(super) peer: String,
}

/// The data about all workers on the board, by id. If the engine does not answer, what it told before: a missing load is
/// no reason to fail.
pub(super) fn by_worker(target: &Target, worker: &Worker) -> HashMap<u64, WorkerLoad> {
    let mut loads: Vec<WorkerLoad> = Vec::new();
    let _ = pages::collect((target, worker), FUNCTION, "", &mut loads);
    loads.into_iter().map(|load| (load.worker, load)).collect()
}

impl WorkerLoad {
    /// Calls in flight and capacity.
    pub(super) fn shown(&self) -> String {
        let (calls, capacity) = (self.in_flight as usize, self.capacity as usize);
        format!("{}/{}", text::grouped(calls), text::grouped(capacity))
    }

    /// The tier, as it stands behind a worker's name: not for the lowest.
    pub(super) fn tier_shown(&self) -> String {
        match self.tier {
            0 => String::new(),
            tier => format!(" (tier {tier})"),
        }
    }

    /// The sum over several workers; `None` if one of them is unknown.
    pub(super) fn sum<'a>(loads: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        loads.into_iter().try_fold(Self::default(), |sum, load| {
            let load = load?;
            Some(Self {
                in_flight: sum.in_flight + load.in_flight,
                capacity: sum.capacity.saturating_add(load.capacity),
                ..sum
            })
        })
    }
}

/// Adds the two numbers to the JSON object of a function or worker.
pub(super) fn record(object: &mut Map<String, Value>, load: Option<&WorkerLoad>) {
    let mut put = |key: &str, value: Option<u64>| object.insert(key.to_owned(), value.into());
    put("in_flight", load.map(|load| load.in_flight));
    put("capacity", load.map(|load| load.capacity));
}
