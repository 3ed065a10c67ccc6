//! Binds a server: from the configuration to listening sockets, all of them or none. Serves nothing; that is the
//! event loop's task.

use std::sync::Arc;
use std::time::Duration;

use mio::{Poll, Waker};

use super::config::{ServerConfig, Spin};
use super::control::Control;
use super::credentials::CredentialsFile;
use super::error::BindError;
use super::host_memory::Memory;
use super::listener::Listener;
use super::poll_token::{WAKER, own_token};
use super::service::Service;
use super::signals::SignalSource;
use crate::address::Address;
use crate::engine::{Config, Credentials};
use crate::limits::Limits;

/// A server that listens and does not serve yet: connections are pending in the kernel until [`Server::run`].
#[derive(Debug)]
pub struct Server {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    pub(super) parts: ServerParts,
}

/// A server without what the kernel gives it.
#[derive(Debug)]
pub(super) struct ServerParts {
    pub(super) signals: Option<SignalSource>,
    pub(super) control: Arc<Control>,
    pub(super) engine: Config,
    pub(super) service: Service,
    /// The credentials file and its contents.
    pub(super) credentials: Option<(CredentialsFile, Credentials)>,
    pub(super) spin: Spin,
    pub(super) stats_every: Option<Duration>,
    pub(super) fanout_writes: usize,
}

impl Server {
    /// Listens on all addresses of `config`, or on none.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        Self::bind_service(config, Service::default())
    }

    /// Listens on the sockets that the service manager passed and on all addresses of `config`, or on none. Reports
    /// to the manager from then on.
    pub fn bind_service(config: ServerConfig, mut service: Service) -> Result<Self, BindError> {
        config.limits.check().map_err(BindError::Limits)?;
        let credentials = match config.credentials {
            Some(file) => {
                let read = file.read().map_err(BindError::Credentials)?;
                Some((file, read))
            }
            None => None,
        };
        let listeners = service.take_listeners();
        if config.listen.is_empty() && listeners.is_empty() {
            return Err(BindError::NoAddress);
        }
        let limits = with_ceiling(config.limits, Memory::find);
        let seed = match config.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        let poll = Poll::new().map_err(BindError::System)?;
        let waker = Waker::new(poll.registry(), own_token(WAKER)).map_err(BindError::System)?;
        let mut server = Self {
            poll,
            listeners,
            parts: ServerParts {
                control: Arc::new(Control::new(waker)),
                service,
                credentials,
                signals: None,
                spin: config.spin,
                stats_every: config.stats_every,
                fanout_writes: config.fanout_writes.max(1),
                engine: Config {
                    turn_work: Config::TURN_WORK,
                    limits,
                    name: config.name,
                    seed,
                },
            },
        };
        if let Err(error) = server.acquire(&config.listen, config.handle_signals) {
            // Undo what was bound before the failure.
            server.close();
            return Err(error);
        }
        for listener in &server.listeners {
            log::info!("listening on {}", listener.address());
        }
        Ok(server)
    }

    fn acquire(&mut self, listen: &[Address], handle_signals: bool) -> Result<(), BindError> {
        let registry = self.poll.registry();
        if !self.listeners.is_empty() {
            log::info!(
                "the service manager passed {} listening sockets",
                self.listeners.len()
            );
        }
        for address in listen {
            self.listeners.extend(Listener::bind(address)?);
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener
                .register(registry, own_token(index as u32))
                .map_err(BindError::System)?;
        }
        if handle_signals {
            let signals = SignalSource::register(registry).map_err(BindError::System)?;
            self.parts.signals = Some(signals);
        }
        Ok(())
    }

    /// Ends without having served: listens no more, and removes the files of its Unix sockets.
    pub fn close(self) {
        for listener in self.listeners {
            listener.close(self.poll.registry());
        }
    }

    /// The addresses it listens on: first the sockets of the service manager, then the order of the configuration.
    /// Ports are the real ones.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }
}

/// The limits with a ceiling of memory. One that is not set is half of what there is, but not too small to work with.
fn with_ceiling(mut limits: Limits, find: impl FnOnce() -> Option<Memory>) -> Limits {
    if limits.max_memory > 0 {
        return limits;
    }
    match find() {
        Some(memory) => {
            limits.max_memory = (memory.bytes / 2).max(limits.least_memory());
            log::info!(
                "the engine may take {} MiB: half of the {memory} (--max-memory)",
                limits.max_memory >> 20
            );
        }
        None => log::warn!(
            "the memory of the host cannot be read: without --max-memory, the engine has no ceiling"
        ),
    }
    limits
}

fn random_seed() -> Result<[u8; 32], BindError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| BindError::System(std::io::Error::other(error)))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_flag_the_ceiling_is_half_of_the_memory_and_room_for_a_few_frames_at_the_least() {
        let ceiling = |flag, memory: Option<u64>| {
            let limits = Limits {
                max_memory: flag,
                ..Limits::default()
            };
            with_ceiling(limits, || memory.map(Memory::of_host)).max_memory
        };
        let least = Limits::default().least_memory();
        assert_eq!(ceiling(0, Some(64 << 30)), 32 << 30);
        assert_eq!(ceiling(0, Some(2 * least + 2)), least + 1);
        assert_eq!(ceiling(0, Some(least)), least);
        assert_eq!(ceiling(0, None), 0);
        assert_eq!(ceiling(1 << 30, Some(64 << 30)), 1 << 30);
    }
}
