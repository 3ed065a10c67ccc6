//! The engine under pressure: a process of its own with thousands of real sockets, killed, stopped, starved
//! of descriptors, and kept busy for as long as one likes. docs/PROOF.md says which test holds what, and how
//! to run those that are too heavy for every day:
//! `cargo test --test pressure -- --ignored --test-threads=1`. It never looks into the engine but for
//! what that tells about itself.

#[path = "../client/mod.rs"]
mod client;
#[path = "../sockets/peer.rs"]
#[allow(dead_code, reason = "the tests of the board use all of it")]
mod peer;
#[path = "../core/reader.rs"]
#[allow(dead_code, unreachable_pub, reason = "the core's tests use all of it")]
mod reader;
#[path = "../running/mod.rs"]
mod running;
#[path = "../sockets/talk.rs"]
#[allow(dead_code, reason = "the tests of calls use all of it")]
mod talk;

mod crowd;
mod deaths;
mod descriptors;
mod engine;
mod exchange;
mod machine;
mod pause;
mod soak;
mod stalled;
mod storm;
mod toggler;
mod watchers;
mod wire;
