//! Calls and events over real sockets, spoken frame by frame: what callers, providers and event sources may
//! rely on, whatever the others do. It never looks into the engine, but for what the engine counts.

#[path = "../promises/peer.rs"]
#[allow(dead_code, reason = "the tests of the board use all of it")]
mod peer;
#[path = "../promises/process.rs"]
#[allow(dead_code, reason = "the tests of the board use all of it")]
mod process;
#[path = "../core/reader.rs"]
#[allow(dead_code, unreachable_pub, reason = "the core's tests use all of it")]
mod reader;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod builtin;
mod casts;
mod death;
mod events;
mod hung;
mod load;
mod payloads;
mod races;
mod shutdown;
mod takeover;
mod talk;
