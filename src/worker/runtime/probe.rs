//! Checks whether a preferred engine is back, and moves the worker there. Runs on a thread of its own, because a
//! host that does not answer blocks it.

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Runtime;
use crate::address::Address;
use crate::worker::deadline::deadline_after;
use crate::worker::error::Loss;
use crate::worker::identity::Identity;
use crate::worker::link::{Link, farewell};
use crate::worker::token::Token;
use crate::worker::transport::{Received, Transport};
use crate::worker::watch::Watch;

/// How many times calls in flight may postpone a move.
const MAX_POSTPONEMENTS: u32 = 10;

/// The thread that checks for preferred engines.
pub(super) struct Probe {
    runtime: Arc<Runtime>,
    identity: Identity,
    token: Option<Token>,
    addresses: Vec<Address>,
    /// Number of the connection it runs for.
    connection: u64,
    random: StdRng,
    /// How many times calls in flight postponed the move.
    postponed: u32,
}

impl Probe {
    /// A probe for the current connection.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        identity: Identity,
        token: Option<Token>,
        addresses: Vec<Address>,
        seed: [u8; 32],
    ) -> Self {
        let identity = Identity {
            watch: Watch::nothing(),
            metadata: Vec::new(),
            ..identity
        };
        let connection = runtime.state().connections;
        Self {
            runtime,
            identity,
            token,
            addresses,
            connection,
            random: StdRng::from_seed(seed),
            postponed: 0,
        }
    }

    pub(super) fn run(mut self) {
        while self.wait_for_next_look() {
            for index in 0..self.addresses.len() {
                let address = &self.addresses[index];
                match self.try_hello(address) {
                    Ok(epoch) => {
                        if self.request_move(epoch) {
                            return;
                        }
                        break;
                    }
                    Err(loss) => log::debug!("{address} is not back: {loss}"),
                }
            }
        }
    }

    /// Jittered, so that not all workers of a fleet probe at once.
    fn next_attempt(&mut self) -> Instant {
        let jitter: f64 = self.random.random_range(0.8..1.2);
        deadline_after(self.runtime.settings.probe_interval.mul_f64(jitter))
    }

    /// Waits for the next attempt; returns whether the connection is still the same.
    fn wait_for_next_look(&mut self) -> bool {
        let until = self.next_attempt();
        let mut state = self.runtime.state();
        loop {
            if state.stop || state.connections != self.connection || state.transport.is_none() {
                return false;
            }
            if Instant::now() >= until {
                return true;
            }
            state = self.runtime.wait(state, until);
        }
    }

    /// Exchanges a full HELLO and WELCOME, because a host that accepts connections may not have a serving engine.
    /// Returns the engine's epoch.
    fn try_hello(&self, address: &Address) -> Result<u64, Loss> {
        let transport = Transport::dial(address, None)?;
        let mut link = Link::new(self.identity.clone(), [0; 32], Instant::now());
        let token = self.token.as_ref().map(Token::read).transpose();
        link.set_token(token.map_err(|error| Loss::Token(error.into()))?);
        link.open(address.clone(), None, Instant::now());
        let mut buffer = vec![0; 4096];
        loop {
            let mut bytes = Vec::new();
            link.take_output(&mut bytes);
            let wrote = transport.write(&bytes);
            wrote.map_err(|error| Loss::Broken(error.into()))?;
            if let Some(connection) = link.connection() {
                // An engine that has gone needs no GOODBYE.
                let _ = transport.write(&farewell());
                return Ok(connection.epoch);
            }
            let received = transport.read(&mut buffer, link.next_deadline());
            let now = Instant::now();
            match received.map_err(|error| Loss::Broken(error.into()))? {
                Received::Bytes(n) => link.handle_bytes(&buffer[..n], now)?,
                Received::Nothing => link.handle_time(now)?,
                Received::End => return Err(link.handle_end(None, now)),
            }
        }
    }

    /// Makes the reader move, unless a request is open: then it waits for the next attempt.
    fn request_move(&mut self, epoch: u64) -> bool {
        let mut state = self.runtime.state();
        if state.connections != self.connection {
            return false;
        }
        // A worker that is never idle would stay here for good, and split the fleet.
        if !state.link.is_idle() && self.postponed < MAX_POSTPONEMENTS {
            self.postponed += 1;
            return false;
        }
        let Some(transport) = state.transport.clone() else {
            return false;
        };
        state.move_to = Some(epoch);
        transport.stop_reading();
        true
    }
}
