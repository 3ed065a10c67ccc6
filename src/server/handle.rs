//! A server on a thread of its own, and the handle that others hold of it: where it listens, what it
//! counted, ending it gently or as a crash would. For tests, demonstrations and embedding.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{Builder, JoinHandle};

use mio::Waker;

use super::counters::{Counters, Counting};
use super::{BindError, RunError, Server, ServerConfig};
use crate::address::Address;

/// What the loop and its handle share.
#[derive(Debug)]
pub(super) struct Control {
    waker: Waker,
    shutdowns: AtomicU32,
    killed: AtomicBool,
    pub(super) counting: Counting,
}

impl Control {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            waker,
            shutdowns: AtomicU32::new(0),
            killed: AtomicBool::new(false),
            counting: Counting::default(),
        }
    }

    /// How often a shutdown was asked for since the last call.
    pub(super) fn take_shutdowns(&self) -> u32 {
        self.shutdowns.swap(0, Ordering::Acquire)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    fn wake(&self) {
        // It fails only when the poll is gone, and with it all that there was to end.
        if let Err(error) = self.waker.wake() {
            log::debug!("the server could not be woken: {error}");
        }
    }
}

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
        self.control.counting.snapshot()
    }

    /// Asks it to end as SIGTERM does: everyone is told, connections end within the grace period.
    /// A second time: at once. Does not wait; [`ServerHandle::join`] does.
    pub fn shutdown(&self) {
        self.control.shutdowns.fetch_add(1, Ordering::Release);
        self.control.wake();
    }

    /// Ends it as a crash would: all sockets are closed without a word, and the file of a Unix socket
    /// stays behind. Does not wait; [`ServerHandle::join`] does.
    pub fn kill(&self) {
        self.control.killed.store(true, Ordering::Release);
        self.control.wake();
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
