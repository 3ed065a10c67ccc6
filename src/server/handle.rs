//! A server on a thread of its own, and the handle that others hold of it: where it listens, what it
//! counted, ending it gently or as a crash would. For tests, demonstrations and embedding.

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

/// How often one who waits for an answer looks whether the loop that would give it still runs.
const LIVENESS_CHECK: Duration = Duration::from_millis(100);

/// A server that runs on its own thread. Dropping the handle ends it as [`ServerHandle::kill`] does.
#[derive(Debug)]
pub struct ServerHandle {
    control: Arc<Control>,
    addresses: Vec<Address>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Server {
    /// Binds, then runs on a thread of its own.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn spawn(config: ServerConfig) -> Result<ServerHandle, BindError> {
        Self::bind(config)?.start()
    }

    /// Runs on a thread of its own. Connections that were made since [`Server::bind`] wait for it.
    ///
    /// # Errors
    /// [`BindError::System`] when no thread can be had.
    pub fn start(self) -> Result<ServerHandle, BindError> {
        let control = Arc::clone(&self.control);
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
    /// Where it listens, in the order of the configuration; ports are the real ones.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What its loop did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.control.counters.snapshot()
    }

    /// What its engine counts, as of a turn that began after the call. `None` once it has ended. Costs
    /// the loop a walk over all connections.
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

    /// Asks it to end as SIGTERM does: everyone is told, connections end within the grace period.
    /// A second time: at once. Does not wait; [`ServerHandle::join`] does.
    pub fn shutdown(&self) {
        self.control.request_shutdown();
    }

    /// Asks it to read its credentials file again, as SIGHUP does. Does not wait.
    pub fn reload(&self) {
        self.control.request_reload();
    }

    /// Ends it as a crash would: all sockets are closed without a word, and the file of a Unix socket
    /// stays behind. Does not wait; [`ServerHandle::join`] does.
    pub fn kill(&self) {
        self.control.kill();
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Server::run`].
    ///
    /// # Panics
    /// With the server's own panic, if it ended by one.
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
            // A panic was printed by its thread; a second one while dropping would abort.
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
            // It was asked before it heard of its end.
        }
        server.join().unwrap();
    }
}
