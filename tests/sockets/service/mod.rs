//! The engine as a service: these tests play the service manager's part. They give it sockets from
//! descriptor 3 on, hear what it reports, watch over it, and read what it writes to the journal.

mod activation;
mod journal;
mod notify_socket;
mod reports;
mod start;
mod units;

use std::time::Duration;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Serves on a free port of this host.
const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--grace", "5000"];
