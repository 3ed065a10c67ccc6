//! Functions and workers as JSON objects, the same wherever `--json` prints them.

use callboard::worker::{Entry, WorkerInfo};
use serde_json::{Map, Value, json};

use super::json::from_messagepack;

/// Adds a function's fields. `workers` are the names of those who provide it.
pub(super) fn function<'a>(
    object: &mut Map<String, Value>,
    entry: &Entry,
    workers: impl Iterator<Item = &'a str>,
) {
    let function = entry.function();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("name", entry.name().into());
    put("description", entry.description().into());
    put("exclusive", entry.is_exclusive().into());
    put("request", from_messagepack(function.raw_request()));
    put("response", from_messagepack(function.raw_response()));
    put("metadata", from_messagepack(function.raw_metadata()));
    put("workers", workers.map(Value::from).collect());
    put("stale", entry.is_stale().into());
}

/// Adds a worker's fields.
pub(super) fn worker(object: &mut Map<String, Value>, worker: &WorkerInfo) {
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("name", worker.name().into());
    put("id", worker.id().into());
    put("metadata", from_messagepack(worker.raw_metadata()));
    put("functions", worker.functions().map(Value::from).collect());
    put("stale", worker.is_stale().into());
}

/// An object of what these put into it.
pub(super) fn object(fill: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let mut object = Map::new();
    fill(&mut object);
    json!(object)
}
