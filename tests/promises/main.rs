//! The engine's promises, held over real sockets: what a worker sees from the outside, with an
//! independent and strict reader at the other end of each connection. It never looks into the engine.

#[path = "../core/reader.rs"]
#[allow(dead_code, unreachable_pub, reason = "the core's tests use all of it")]
mod reader;
#[path = "../support/mod.rs"]
mod support;

mod churn;
mod death;
mod growth;
mod laggard;
mod namespace;
mod peer;
mod process;
mod providers;
mod proxy;
mod resume;
mod split;
mod step;
mod takeover;
mod watch;
