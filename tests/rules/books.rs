//! The rule of the books: whatever is kept beside its source is recounted. Each `check_books` takes its struct apart with
//! all fields named, so that a new field does not compile before its book is checked.

use std::path::{Path, PathBuf};

/// The structs of the engine and of the library's state machine whose fields are counts, indices, queues or caches.
const WITH_BOOKS: &[&str] = &[
    "engine/access/review.rs",
    "engine/calls/connection_calls.rs",
    "engine/calls/parked_notes.rs",
    "engine/calls/table.rs",
    "engine/connection/admission.rs",
    "engine/connection/batch.rs",
    "engine/connection/books.rs",
    "engine/connection/input.rs",
    "engine/connection/outbox.rs",
    "engine/connection/output.rs",
    "engine/connection/run_queue.rs",
    "engine/connection/send_buffer.rs",
    "engine/connection/sessions.rs",
    "engine/connection/table.rs",
    "engine/connection/unread.rs",
    "engine/connection/users.rs",
    "engine/connection/write_queue.rs",
    "engine/handlers/books.rs",
    "engine/metrics/mod.rs",
    "engine/registry/audience.rs",
    "engine/registry/board.rs",
    "engine/registry/changelog.rs",
    "engine/registry/mod.rs",
    "engine/registry/namespace.rs",
    "engine/registry/roster/books.rs",
    "engine/registry/snapshot.rs",
    "engine/timer_wheel.rs",
    "worker/calls.rs",
    "worker/link/books.rs",
    "worker/registrations/books.rs",
    "worker/serving.rs",
    "worker/view/mod.rs",
];

fn source(file: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    (path, text)
}

#[test]
fn a_check_of_books_names_every_field() {
    for file in WITH_BOOKS {
        let (_, text) = source(file);
        let mut checks = text.split("fn check_books(").skip(1).peekable();
        assert!(checks.peek().is_some(), "{file} has no `check_books`");
        for check in checks {
            // `Metrics` counts what happened: only one of its counts stands beside a source.
            if *file == "engine/metrics/mod.rs" {
                continue;
            }
            let fields = check.split_once("let Self {").map(|(_, rest)| rest);
            let fields = fields.and_then(|rest| rest.split_once("} = self;"));
            let (fields, _) = fields.unwrap_or_else(|| panic!("{file} takes no struct apart"));
            assert!(!fields.contains(".."), "{file} leaves fields out: {fields}");
        }
    }
}

#[test]
fn the_engine_checks_every_part_of_its_state() {
    let (_, text) = source("engine/handlers/books.rs");
    let (fields, checks) = text.split_once("} = self;").expect("the engine's fields");
    let (_, fields) = fields
        .split_once("let Self {")
        .expect("the engine's fields");
    for field in fields.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match field.split_once(':') {
            // Values without a source: nothing to recount.
            Some((name, _)) => assert!(
                ["ceiling", "lifecycle", "rng", "hash_keys", "authenticator"].contains(&name),
                "{name} is left out"
            ),
            None if field == "config" => {}
            None => assert!(
                checks.contains(&format!("{field}.check_books(")),
                "{field} has no check"
            ),
        }
    }
}
