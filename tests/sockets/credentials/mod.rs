//! Credentials over real sockets: admission, rights, what happens when the file changes, and what the
//! commands and the library make of it. The rules themselves are held in `tests/core/rights.rs`.

mod admission;
mod command_line;
mod guarded_engine;
mod library;
mod reload;

use std::time::Duration;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);
