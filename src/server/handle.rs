//! A server on a thread of its own, and the handle to it: addresses, counters, shutdown, and an end as in a crash.
//! For tests, demos and embedding.

use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::config::ServerConfig;
use super::control::Control;
use super::counters::Counters;
use super::error::{BindError, RunError};
use super::server::Server;
use crate::address::Address;
use crate::engine::Stats;

/// How often a thread that waits for statistics checks that the loop still runs.
const LIVENESS_CHECK: Duration = Duration::from_millis(100);

/// A server that runs on its own thread. Dropping the handle stops it like [`ServerHandle::kill`].
#[derive(Debug)]
pub struct ServerHandle {
    control: Arc<Control>,
    addresses: Vec<Address>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Server {
    /// Binds, then runs on a new thread.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn spawn(config: ServerConfig) -> Result<ServerHandle, BindError> {
        Self::bind(config)?.start()
    }

    /// Runs on a new thread. Connections made since [`Server::bind`] are pending until then.
    ///
    /// # Errors
    /// [`BindError::System`] when the system gives no thread.
    pub fn start(self) -> Result<ServerHandle, BindError> {
        let control = Arc::clone(&self.parts.control);
        let addresses = self.local_addresses();
        let thread = Builder::new()
            .name("callboard-engine".to_owned())
            .spawn(move || self.run())
            .map_err(BindError::System)?;
        Ok(ServerHandle {
            control,
            addresses,
            thread: Some(thread),
        })
    }
}

impl ServerHandle {
    /// The addresses it listens on, in the order of the configuration, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The counters of its event loop.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.control.counters.snapshot()
    }

    /// The engine's statistics, as of a turn that began after the call; `None` once the server has ended. Costs the
    /// loop a walk over all connections.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        let answer = self.control.request_stats();
        loop {
            match answer.recv_timeout(LIVENESS_CHECK) {
                Ok(stats) => return Some(stats),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                        return answer.try_recv().ok();
                    }
                }
            }
        }
    }

    /// Shuts down like SIGTERM: workers are told, and connections end within the grace period. A second call shuts
    /// down at once. Does not wait; [`ServerHandle::join`] does.
    pub fn shutdown(&self) {
        self.control.request_shutdown();
    }

    /// Reads the credentials file again, like SIGHUP. Does not wait.
    pub fn reload(&self) {
        self.control.request_reload();
    }

    /// Ends like a crash: all sockets close without GOODBYE, and the file of a Unix socket remains. Does not wait;
    /// [`ServerHandle::join`] does.
    pub fn kill(&self) {
        self.control.kill();
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// As [`Server::run`].
    ///
    /// # Panics
    /// With the panic of the server's thread, if it panicked.
    pub fn join(mut self) -> Result<(), RunError> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.kill();
            // The thread has printed its panic; a second panic while dropping would abort.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_handle_tells_what_the_engine_counts_until_it_ends() {
        let server = Server::spawn(ServerConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..ServerConfig::default()
        })
        .unwrap();
        assert_eq!(server.stats().unwrap().accepted, 0);
        let _peer = TcpStream::connect(server.addresses()[0].to_string()).unwrap();
        while server.counters().accepted == 0 {
            std::thread::yield_now();
        }
        assert_eq!(server.stats().unwrap().accepted, 1);
        server.kill();
        while server.stats().is_some() {
            // The request came before the loop noticed that it was killed.
        }
        server.join().unwrap();
    }
}
