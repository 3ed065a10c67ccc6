//! Measures a running engine from outside: one thread with one poll drives thousands of nonblocking connections that
//! speak the protocol as any worker does. It starts no engine and knows none from inside; it prints nothing.
//!
//! ```text
//! a kind (fanout, call, …) -> session -> crowd -> peers -> sockets
//!                             sample             frames    poll
//! ```
//!
//! - [`Session`]: the connections of one bench, with the names that they may use; what they leave behind is nothing.
//! - [`Fanout`], [`Churn`], [`Join`], [`Storm`], [`CallLoad`], [`Idle`]: what is measured, and their reports.
//! - [`Sample`]: what the engine counts and what it costs its machine, before and after.

mod bound;
mod call;
mod call_report;
mod churn;
mod crowd;
mod descriptors;
mod destination;
mod effort;
mod engine_process;
mod error;
mod exchange;
mod fanout;
mod greeting;
mod heard;
mod idle;
mod join;
mod peer;
mod progress;
mod registrar;
mod report;
mod sample;
mod session;
mod storm;
mod tally;
mod territory;
mod timer;
mod times;

pub use bound::Bound;
pub use call::CallLoad;
pub use call_report::CallReport;
pub use churn::{Churn, ChurnReport, Pattern};
pub use effort::{Effort, EngineWork};
pub use engine_process::EngineProcess;
pub use error::BenchError;
pub use fanout::{Fanout, FanoutReport};
pub use greeting::Greeting;
pub use idle::{Idle, IdleReport};
pub use join::{Join, JoinReport};
pub use progress::Progress;
pub use report::Place;
pub use sample::{Counters, Sample};
pub use session::{Session, SessionConfig};
pub use storm::{Storm, StormReport};
pub use times::{Summary, Times};
