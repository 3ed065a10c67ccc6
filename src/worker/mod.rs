//! The worker library: one connection to an engine, over which a worker publishes its functions and sees the live
//! board of all workers. Blocking, with threads of the standard library; no async runtime.
//!
//! ```
//! use std::time::Duration;
//! use callboard::worker::{Change, Function, Notice, Worker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = callboard::server::Server::spawn(callboard::server::ServerConfig {
//! #     listen: vec!["127.0.0.1:0".parse()?],
//! #     ..Default::default()
//! # })?;
//! # let address = &engine.addresses()[0].to_string();
//! # /*
//! let address = "127.0.0.1:4747";
//! # */
//! let worker = Worker::builder("orders-1")
//!     .engine(address)?
//!     .connect(Duration::from_secs(5))?;
//! let changes = worker.changes();
//!
//! worker.register([Function::new("orders::create").description("Takes an order")])?;
//!
//! let board = worker.board();
//! assert!(board.contains("orders::create"));
//!
//! for notice in changes {
//!     if let Notice::Step(step) = notice {
//!         for change in step.changes {
//!             match change {
//!                 Change::Added(entry) => println!("+ {}", entry.name()),
//!                 Change::Removed(entry) => println!("- {}", entry.name()),
//!                 Change::Updated { new, .. } => println!("~ {}", new.name()),
//!                 _ => {}
//!             }
//!         }
//! #       break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Functions are called by name, over the same connection. Two workers that do not know each other's addresses:
//!
//! ```
//! use std::time::Duration;
//! use callboard::worker::{CallError, CallOptions, Context, Fault, Worker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = callboard::server::Server::spawn(callboard::server::ServerConfig {
//! #     listen: vec!["127.0.0.1:0".parse()?],
//! #     ..Default::default()
//! # })?;
//! # let address = &engine.addresses()[0].to_string();
//! # /*
//! let address = "127.0.0.1:4747";
//! # */
//! let stock = Worker::builder("stock-1").engine(address)?.connect(Duration::from_secs(5))?;
//! stock.serve("stock::reserve", |call: &Context, pieces: u32| {
//!     if pieces > 10 {
//!         return Err(Fault::new("sold_out", format!("no {pieces} pieces for {}", call.caller_name())));
//!     }
//!     Ok(10 - pieces)
//! })?;
//!
//! let shop = Worker::builder("shop-1").engine(address)?.connect(Duration::from_secs(5))?;
//! let left: u32 = shop.call("stock::reserve", &4)?;
//! assert_eq!(left, 6);
//!
//! // Waits while no worker provides it, and is retried if its provider dies.
//! let patient = CallOptions::new().timeout(Duration::from_secs(60)).wait().idempotent();
//! match shop.call_with::<u32>("stock::reserve", &11, &patient) {
//!     Err(CallError::Function(fault)) => assert_eq!(fault.code(), "sold_out"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it does by itself:
//!
//! - **Reconnecting**: at once after a loss (within 50 ms, jittered), then with growing backoff (at most 5 s), over
//!   a list of addresses in order of preference. Connected to a later one, it checks for the earlier ones and moves
//!   back. The session key lets the engine hand over the previous connection's functions, so that no board flaps.
//! - **Registering again** what the engine accepted before, until it is unregistered.
//! - **The board**: after a reconnect, only the changes in between are fetched, removals included. Without a
//!   connection the board stays readable and is marked stale. After a restart of the engine, missing entries are
//!   kept for the time that the engine names, marked stale.
//! - **Calls across a lost connection**: unsent and idempotent ones are repeated over the next connection, within
//!   their timeout; the others fail with `connection_lost`. None hangs.
//! - **Leaving**: a worker that is closed or dropped leaves the board and finishes its calls in flight.
//! - **Checking** that no change is missing.
//!
//! A worker ends for good by [`Worker::close`], by a refusal that does not change with time, or when another
//! process takes over its session ([`End`]).
//!
//! Inside, a state machine without sockets, clock or threads ([`link`], with its [`view`]) makes all decisions; a
//! thin runtime of threads does its I/O.

mod answer;
mod backoff;
mod board;
mod builder;
mod call_error;
mod call_options;
mod call_port;
mod calls;
mod changes;
mod client;
mod contents;
mod context;
mod deadline;
mod dial_schedule;
mod entry;
mod error;
mod fault;
mod function;
mod identity;
mod invocation;
pub mod link;
mod lock;
mod notice;
mod outgoing_call;
mod pending;
mod pool;
mod registrations;
mod requests;
mod result_slot;
mod runtime;
mod service;
mod serving;
mod settings;
mod snapshot;
mod staged_map;
mod status;
mod ticket;
mod token;
mod transport;
pub mod view;
mod watch;
#[expect(clippy::module_inception, reason = "the noun of the folder")]
mod worker;

pub use board::Board;
pub use builder::Builder;
pub use call_error::CallError;
pub use call_options::CallOptions;
pub use changes::{Changes, RecvTimeout};
pub use client::Client;
pub use context::Context;
pub use entry::{Binding, Entry, WorkerInfo};
pub use error::{Attempt, ConnectError, End, Loss, OsError, Refusal, RequestError, WaitError};
pub use fault::Fault;
pub use function::{Function, FunctionError};
pub use notice::{Cause, Change, Notice, Step};
pub use pending::PendingCall;
pub use service::Service;
pub use snapshot::Snapshot;
pub use status::{ConnectionInfo, Offer, Registered, Standing, Status};
pub use token::Token;
pub use watch::Watch;
pub use worker::Worker;
