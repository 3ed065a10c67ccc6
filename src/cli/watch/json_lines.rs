//! Output of `watch --json`: one object per line, each with either `change` or `status`.

use std::sync::Arc;

use callboard::worker::{Cause, Change, ConnectionInfo, Loss, Snapshot, Step};
use serde_json::{Map, Value, json};

use super::providers::Providers;
use super::reporter::{Reporter, ShownChange};
use crate::cli::failure::Failure;
use crate::cli::json_record;
use crate::cli::output::Output;

/// Reports for programs.
pub(super) struct JsonLines {
    out: Output,
    with_workers: bool,
}

impl JsonLines {
    pub(super) fn new(out: Output, with_workers: bool) -> Self {
        Self { out, with_workers }
    }

    fn status(&mut self, status: &str, fields: Value) -> Result<(), Failure> {
        let line = json_record::object(|object| {
            object.insert("status".to_owned(), status.into());
            if let Value::Object(fields) = fields {
                object.extend(fields);
            }
        });
        self.out.json(&line)
    }

    fn change(
        &mut self,
        change: &str,
        section: &str,
        revision: u64,
        fill: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), Failure> {
        let line = json_record::object(|object| {
            object.insert("change".to_owned(), change.into());
            object.insert("section".to_owned(), section.into());
            object.insert("revision".to_owned(), revision.into());
            fill(object);
        });
        self.out.json(&line)
    }
}

impl Reporter for JsonLines {
    fn connected(&mut self, connection: &ConnectionInfo) -> Result<(), Failure> {
        let fields = json!({
            "address": connection.address.to_string(),
            "engine": &*connection.engine,
            // As text: not every JSON parser keeps 64 bits of a number.
            "epoch": format!("{:016x}", connection.epoch),
            "resumed": connection.resumed,
            "settling_ms": connection.settling.as_millis() as u64,
        });
        self.status("connected", fields)
    }

    fn board(&mut self, board: &Snapshot, providers: &Providers) -> Result<(), Failure> {
        for entry in &board.functions {
            let names = providers.names(entry.name());
            self.change("added", "functions", board.revision, |object| {
                object.insert("snapshot".to_owned(), true.into());
                json_record::function(object, entry, names.iter().map(String::as_str));
            })?;
        }
        for worker in board.workers.iter().filter(|_| self.with_workers) {
            self.out.json(&json_record::object(|object| {
                object.insert("change".to_owned(), "added".into());
                object.insert("section".to_owned(), "workers".into());
                object.insert("revision".to_owned(), board.revision.into());
                object.insert("snapshot".to_owned(), true.into());
                json_record::worker(object, worker);
            }))?;
        }
        self.synced(board.revision)
    }

    fn step(&mut self, step: &Step, changes: &[ShownChange<'_>]) -> Result<(), Failure> {
        for shown in changes {
            let names = || shown.workers.iter().map(String::as_str);
            match shown.change {
                Change::Added(entry) => self.change("added", "functions", step.to, |object| {
                    json_record::function(object, entry, names());
                })?,
                Change::Removed(entry) => {
                    self.change("removed", "functions", step.to, |object| {
                        json_record::function(object, entry, names());
                    })?;
                }
                Change::Updated { new, .. } => {
                    self.change("updated", "functions", step.to, |object| {
                        json_record::function(object, new, names());
                    })?;
                }
                Change::WorkerJoined(worker) => {
                    self.change("added", "workers", step.to, |object| {
                        json_record::worker(object, worker);
                    })?;
                }
                Change::WorkerLeft(worker) => {
                    self.change("removed", "workers", step.to, |object| {
                        json_record::worker(object, worker);
                    })?;
                }
                Change::WorkerUpdated {
                    new,
                    added,
                    removed,
                    ..
                } => self.change("updated", "workers", step.to, |object| {
                    json_record::worker(object, new);
                    let list = |names: &[Arc<str>]| -> Value {
                        names.iter().map(|name| Value::from(&**name)).collect()
                    };
                    object.insert("functions_added".to_owned(), list(added));
                    object.insert("functions_removed".to_owned(), list(removed));
                })?,
                Change::BindingAdded(_)
                | Change::BindingRemoved(_)
                | Change::BindingUpdated { .. } => {}
            }
        }
        match step.cause {
            Cause::Settled => self.status("settled", json!({ "revision": step.to })),
            Cause::Pushed | Cause::Replaced { .. } => Ok(()),
        }
    }

    fn synced(&mut self, revision: u64) -> Result<(), Failure> {
        self.status("synced", json!({ "revision": revision }))
    }

    fn disconnected(&mut self, loss: &Loss) -> Result<(), Failure> {
        self.status("disconnected", json!({ "reason": loss.to_string() }))
    }

    fn missed(&mut self) -> Result<(), Failure> {
        self.status("missed", json!({}))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }
}
