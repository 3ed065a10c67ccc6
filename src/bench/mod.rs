//! Measures a running engine from outside: one thread with one poll drives thousands of nonblocking connections
//! that speak the protocol like any worker. Starts no engine, knows none from inside, and prints nothing.
//!
//! ```text
//! a kind (fanout, call, …) -> session -> connection set -> peers -> sockets
//!                             sample     poll              frames
//! ```
//!
//! - [`Session`]: the connections of one bench and the names that they may use; it leaves nothing behind.
//! - [`Fanout`], [`Churn`], [`Join`], [`Storm`], [`CallLoad`], [`Idle`]: the measurements and their reports.
//! - [`Sample`]: the engine's counters and its use of the machine, before and after.

mod call;
mod call_report;
mod churn;
mod connection_set;
mod descriptors;
mod destination;
mod engine_process;
mod entry_counter;
mod error;
mod fanout;
mod function_names;
mod hello;
mod idle;
mod join;
mod peer;
mod prepared_frame;
mod progress;
mod received_frame;
mod registration;
mod report_header;
mod resource_use;
mod sample;
mod session;
mod stop_condition;
mod storm;
mod time_histogram;
mod timer;

pub use call::CallLoad;
pub use call_report::CallReport;
pub use churn::{Churn, ChurnReport, Pattern};
pub use engine_process::EngineProcess;
pub use error::BenchError;
pub use fanout::{Fanout, FanoutReport};
pub use hello::HelloConfig;
pub use idle::{Idle, IdleReport};
pub use join::{Join, JoinReport};
pub use progress::Progress;
pub use report_header::ReportHeader;
pub use resource_use::{EngineWork, ResourceUse};
pub use sample::{Counters, Sample};
pub use session::{Session, SessionConfig};
pub use stop_condition::StopCondition;
pub use storm::{Storm, StormReport};
pub use time_histogram::{Summary, TimeHistogram};
