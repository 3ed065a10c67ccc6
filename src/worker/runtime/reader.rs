//! The thread that reads and reconnects: dials addresses as the schedule says, and passes input to the link.
//! Decides nothing about the protocol.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Runtime;
use super::probe::Probe;
use crate::address::Address;
use crate::protocol::Code;
use crate::worker::dial_schedule::{DialSchedule, DialStep, end_by};
use crate::worker::error::{End, Loss};
use crate::worker::identity::Identity;
use crate::worker::link::{Link, farewell};
use crate::worker::settings::Settings;
use crate::worker::token::Token;
use crate::worker::transport::{Received, Transport};

/// The size of one read.
const READ_BYTES: usize = 64 * 1024;

/// The thread that reads and reconnects.
pub(in crate::worker) struct Reader {
    runtime: Arc<Runtime>,
    identity: Identity,
    token: Option<Token>,
    schedule: DialSchedule,
    random: StdRng,
    /// The connection that the worker moves away from. Kept until the next one is welcomed: if both lead to the
    /// same engine, that engine must not see the worker leave.
    outgoing: Option<Arc<Transport>>,
}

impl Reader {
    /// Starts the threads of a worker. `single_round`: end when no address works by then.
    pub(in crate::worker) fn start(
        identity: Identity,
        token: Option<Token>,
        addresses: Vec<Address>,
        settings: Settings,
        seed: [u8; 32],
        single_round: Option<Instant>,
    ) -> io::Result<Arc<Runtime>> {
        let now = Instant::now();
        let mut random = StdRng::from_seed(seed);
        let schedule = DialSchedule::new(addresses, single_round, now);
        let link = Link::new(identity.clone(), random.random(), now);
        let runtime = Arc::new(Runtime::new(link, settings));
        let writer = runtime.clone();
        thread::Builder::new()
            .name("callboard-write".to_owned())
            .spawn(move || writer.write())?;
        let reader = Self {
            runtime: runtime.clone(),
            identity,
            token,
            schedule,
            random,
            outgoing: None,
        };
        let spawned = thread::Builder::new()
            .name("callboard-link".to_owned())
            .spawn(move || reader.run());
        if let Err(error) = spawned {
            runtime.finish(End::Closed);
            return Err(error);
        }
        Ok(runtime)
    }

    fn run(mut self) {
        let end = loop {
            if self.runtime.state().stop {
                break End::Closed;
            }
            let now = Instant::now();
            match self.schedule.next(now, &mut self.random) {
                DialStep::Stop(end) => break end,
                DialStep::Wait(until) => {
                    let state = self.runtime.state();
                    if !state.stop {
                        drop(self.runtime.wait(state, until));
                    }
                }
                DialStep::Try(index) => {
                    if let Some(end) = self.try_address(index) {
                        break end;
                    }
                }
            }
        };
        log::debug!("worker `{}`: {end}", self.identity.name.escape_debug());
        self.runtime.finish(end);
        // A board may be kept for long; the socket must not be.
        self.runtime.write_to(None);
    }

    /// Connects, and stays connected as long as possible. Returns the worker's end, if it has ended.
    fn try_address(&mut self, index: usize) -> Option<End> {
        let address = self.schedule.address(index).clone();
        let until = self.schedule.attempt_until(index, Instant::now());
        let (loss, welcomed) = match self.dial(&address, until) {
            Ok(transport) => self.run_connection(index, &address, &Arc::new(transport), until),
            Err(loss) => (loss, None),
        };
        // Only an operator can fix this.
        let level = if loss.code() == Some(Code::Unauthorized.as_str()) {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(
            level,
            "worker `{}`: {address}: {}",
            self.identity.name.escape_debug(),
            loss.to_string().escape_debug()
        );
        let now = Instant::now();
        match welcomed {
            Some(at) => {
                let lasted = now.saturating_duration_since(at);
                self.schedule
                    .lost(index, loss.clone(), lasted, now, &mut self.random);
            }
            None => self.schedule.failed(index, loss.clone(), now),
        }
        self.runtime.state().attempts = self.schedule.attempts();
        end_by(&loss)
    }

    /// Makes a connection, and gives the link the current token.
    fn dial(&self, address: &Address, until: Option<Instant>) -> Result<Transport, Loss> {
        let token = self.token.as_ref().map(Token::read).transpose();
        let token = token.map_err(|error| Loss::Token(error.into()))?;
        let transport = Transport::dial(address, until)?;
        self.runtime.state().link.set_token(token);
        Ok(transport)
    }

    /// Returns why the connection ended, and when WELCOME arrived. `until`: by when it must, if not as soon as usual.
    fn run_connection(
        &mut self,
        index: usize,
        address: &Address,
        transport: &Arc<Transport>,
        until: Option<Instant>,
    ) -> (Loss, Option<Instant>) {
        let runtime = self.runtime.clone();
        runtime.write_to(Some(transport.clone()));
        let mut state = runtime.state();
        let epoch = state.move_to;
        if state.stop {
            return (Loss::Closed, None);
        }
        state.transport = Some(transport.clone());
        state.connections += 1;
        state.link.open(address.clone(), epoch, Instant::now());
        if let Some(until) = until {
            state.link.expect_welcome(until);
        }
        drop(state);
        runtime.flush();

        let mut buffer = vec![0; READ_BYTES];
        let mut welcomed = None;
        loop {
            let deadline = runtime.state().link.next_deadline();
            let received = transport.read(&mut buffer, deadline);
            let now = Instant::now();
            let mut state = runtime.state();
            let before = state.link.progress();
            let moving = state.move_to.is_some();
            let link = &mut state.link;
            let result = match received {
                Ok(Received::Bytes(n)) => link.handle_bytes(&buffer[..n], now),
                Ok(Received::Nothing) => link.handle_time(now),
                Ok(Received::End) if moving => Err(link.handle_end(Some(Loss::Moved), now)),
                Ok(Received::End) => Err(link.handle_end(None, now)),
                Err(error) => Err(link.handle_end(Some(Loss::Broken(error.into())), now)),
            };
            let connected = state.link.connection().is_some();
            let live = state.link.view().is_live();
            if result.is_err() {
                state.transport = None;
            }
            runtime.publish(state, before);
            if connected && welcomed.is_none() {
                welcomed = Some(now);
                runtime.state().move_to = None;
                self.close_outgoing();
                self.start_probe(index);
            }
            if live {
                self.schedule.welcomed();
            }
            if let Err(loss) = result {
                if loss == Loss::Moved {
                    self.outgoing = Some(transport.clone());
                } else {
                    transport.close();
                }
                runtime.write_to(None);
                return (loss, welcomed);
            }
        }
    }

    /// Says GOODBYE to the engine that the worker moved away from.
    fn close_outgoing(&mut self) {
        if let Some(transport) = self.outgoing.take() {
            // An engine that has gone needs no GOODBYE.
            let _ = transport.write(&farewell());
            transport.close();
        }
    }

    /// If the address is not the first, starts a probe for the ones before it.
    fn start_probe(&mut self, index: usize) {
        let addresses: Vec<Address> = (0..index)
            .map(|it| self.schedule.address(it).clone())
            .collect();
        if addresses.is_empty() {
            return;
        }
        let identity = self.identity.clone();
        let probe = Probe::new(
            self.runtime.clone(),
            identity,
            self.token.clone(),
            addresses,
            self.random.random(),
        );
        let spawned = thread::Builder::new()
            .name("callboard-probe".to_owned())
            .spawn(move || probe.run());
        if let Err(error) = spawned {
            log::warn!("cannot start the thread that probes preferred engines: {error}");
        }
    }
}
