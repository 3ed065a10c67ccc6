//! The `mio` event loop around the engine, with its listeners, sockets and signals. It reads, writes and waits; it
//! knows no message and decides nothing about one.
//!
//! [`Server::bind`] and [`Server::run`] serve an engine's process, and [`Service`] connects it to a service
//! manager. [`Server::spawn`] runs an engine on a thread, for tests and embedding:
//!
//! ```
//! use callboard::server::{Server, ServerConfig};
//!
//! let server = Server::spawn(ServerConfig {
//!     listen: vec!["127.0.0.1:0".parse()?],
//!     ..ServerConfig::default()
//! })?;
//! println!("an engine listens on {}", server.addresses()[0]);
//! server.shutdown();
//! server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acceptor;
mod activation;
mod config;
mod control;
mod counters;
mod credentials;
mod error;
mod event_loop;
mod handle;
mod host_memory;
mod kernel;
mod listener;
mod notifier;
mod peer_socket;
mod poll_token;
mod principals;
#[expect(clippy::module_inception, reason = "the noun of the folder")]
mod server;
mod service;
mod signals;
mod socket;
mod stats_log;
mod system;

pub use config::{ServerConfig, Spin};
pub use counters::Counters;
pub use credentials::{CredentialsError, CredentialsFile};
pub use error::{BindError, RunError};
pub use handle::ServerHandle;
pub use principals::CredentialsFault;
pub use server::Server;
pub use service::Service;
