//! The worker library: one connection to an engine over which a worker publishes its functions and sees
//! the live board of everyone's. Blocking, with threads from std; no async runtime.
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
//! Functions are called by name, over the same connection. Two workers that know nothing of each other's
//! addresses:
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
//! // Waits where nobody provides it, and is made again should somebody die over it.
//! let patient = CallOptions::new().timeout(Duration::from_secs(60)).wait().idempotent();
//! match shop.call_with::<u32>("stock::reserve", &11, &patient) {
//!     Err(CallError::Function(fault)) => assert_eq!(fault.code(), "sold_out"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it takes care of by itself:
//!
//! - **Reconnecting**: at once after a loss (within 50 ms, jittered), then ever more slowly (5 s at the
//!   most), over a list of addresses in order of preference; connected to a later one, it looks for the
//!   earlier ones and moves back. The session's key lets the engine hand over what the connection before
//!   had: nobody else's board flaps.
//! - **Registering again** what the engine accepted before, until it is unregistered.
//! - **The board**: after a reconnect only what changed meanwhile is fetched, and removals are found out.
//!   While there is no connection the board stays readable, and says that it is stale. After an engine's
//!   restart, what is not back yet is kept for the moment that the engine names, marked stale.
//! - **Calls over a loss**: those that were not sent yet or are idempotent are made again over the next
//!   connection, within their time; the others end with `connection_lost`. None hangs.
//! - **Leaving**: a worker that is closed or dropped leaves the board and finishes what it has in flight.
//! - **Checking** that no change is missing between two others.
//!
//! What ends it for good: [`Worker::close`], a refusal that waiting does not change, and another process
//! that took its session over ([`End`]).
//!
//! Inside, a state machine without sockets, clock or threads ([`link`], with its [`view`]) does all the
//! thinking; a thin runtime of threads reads and writes for it.

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
