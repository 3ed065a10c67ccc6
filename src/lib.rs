//! Callboard: a live function board for fleets of workers.
//!
//! The path of one frame through the engine:
//!
//! ```text
//! bytes in -> frame -> message -> engine (board, sessions) -> outboxes -> bytes out
//! server      protocol            engine                                  server
//! ```
//!
//! - [`protocol`]: what travels, as bytes and as values. No I/O.
//! - [`engine`]: the state machine. No socket, no clock: the same code runs under the real loop and
//!   under a seeded simulation.
//! - [`server`]: the `mio` loop around it. It only reads, writes and waits.
//! - [`worker`]: the client library: one connection, a live view of the board, reconnects by itself.
//! - [`mod@bench`]: measures a running engine from outside.
//! - [`limits`]: every limit, with its flag and its reason. [`address`]: where engines listen.

pub mod address;
pub mod bench;
pub mod engine;
pub mod limits;
pub mod protocol;
pub mod server;
pub mod worker;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
