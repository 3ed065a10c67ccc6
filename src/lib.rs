//! Callboard: a live function board for fleets of workers.
//!
//! The path of one frame through the engine:
//!
//! ```text
//! bytes in -> frame -> message -> engine (board, sessions) -> outboxes -> bytes out
//! server      protocol            engine                                  server
//! ```
//!
//! - [`protocol`]: frames and messages, as bytes and as values. No I/O.
//! - [`engine`]: the state machine. No socket, no clock: the same code runs under the real event loop and under a
//!   seeded simulation.
//! - [`server`]: the `mio` event loop around it. It only reads, writes and waits.
//! - [`worker`]: the client library: one connection, a live view of the board, automatic reconnects.
//! - [`mod@bench`]: measures a running engine from outside.
//! - [`limits`]: every limit, with its flag and reason. [`address`]: where engines listen.

pub mod address;
pub mod bench;
pub mod engine;
pub mod limits;
pub mod protocol;
pub mod server;
pub mod worker;

/// Compiles the README's example with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
