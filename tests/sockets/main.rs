//! All that is held over real sockets or of the real program: the server, the worker library, the command line, the
//! engine as a service, and the pages of `docs/` that say what to type. Its tests share nothing but the machine: ports
//! are the kernel's choice, and whatever needs an environment, a limit or a logger of its own is a process of its own.

mod abuse;
mod abuse_limits;
mod abuse_log;
mod abuse_registry;
mod abuse_time;
mod calls;
mod cli;
mod cli_bench;
mod cli_calls;
mod cli_serve;
mod cli_timeouts;
#[path = "../client/mod.rs"]
mod client;
mod credentials;
mod hosts;
mod memory;
mod network;
mod peer;
mod process;
mod promises;
#[path = "../core/reader.rs"]
#[allow(dead_code, unreachable_pub, reason = "the core's tests use all of it")]
mod reader;
#[path = "../running/mod.rs"]
mod running;
mod server_listeners;
mod server_process;
mod server_streams;
mod service;
mod sizing;
mod talk;
mod tutorial;
mod worker_library;
