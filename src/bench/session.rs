//! A bench at one engine: its connections and function names, the engine's statistics, and the clean-up. The
//! measurements build on it. Blocks no longer than one turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::connection_set::ConnectionSet;
use super::descriptors;
use super::destination::Destination;
use super::engine_process::EngineProcess;
use super::error::BenchError;
use super::function_names::FunctionNames;
use super::hello::HelloConfig;
use super::progress::Progress;
use super::received_frame::ReceivedFrame;
use super::report_header::ReportHeader;
use super::sample::{Counters, Sample};
use crate::address::Address;
use crate::protocol::{Call, CallOptions, Failure, Message, Outcome, Text};

/// The longest wait of a turn, which bounds how soon a stop is noticed.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// The most connections that join at once, unless the measurement is about just that.
const MAX_JOINING: usize = 256;

/// How long the engine may take to close all connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The engine's function for statistics.
const STATS: &str = "engine::stats";

/// Id of requests that are made one at a time.
const REQUEST: u64 = 1;

/// The engine to measure, and the identity to use.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Tried in this order; the first that accepts is measured.
    pub addresses: Vec<Address>,
    /// Identity of the connections.
    pub hello: HelloConfig,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The engine's process, if it is known already.
    pub process: Option<EngineProcess>,
}

/// The connections of one bench at one engine.
pub struct Session {
    connection_set: ConnectionSet,
    destination: Destination,
    hello: HelloConfig,
    timeout: Duration,
    /// The address that was connected.
    address: Address,
    /// The engine's name.
    engine: String,
    process: Option<EngineProcess>,
    function_names: FunctionNames,
    /// The connection for the engine's statistics.
    control: usize,
    stop: Arc<AtomicBool>,
    observer: Box<dyn FnMut(Progress)>,
    began: Instant,
    next_progress: Instant,
}

impl Session {
    /// Connects and sends HELLO. `stop` ends measurements early once it is true; `observer` receives their
    /// progress.
    pub fn open(
        config: SessionConfig,
        stop: Arc<AtomicBool>,
        observer: impl FnMut(Progress) + 'static,
    ) -> Result<Self, BenchError> {
        let mut attempts = Vec::new();
        let mut found = None;
        for address in config.addresses {
            match Destination::find(&address, config.timeout) {
                Ok(it) => {
                    found = Some((address, it));
                    break;
                }
                Err(error) => attempts.push((address, error)),
            }
        }
        let Some((address, (destination, socket))) = found else {
            return Err(BenchError::NoEngine(attempts));
        };
        let mut connection_set = ConnectionSet::new()?;
        let control = connection_set.add(socket, &config.hello.frame(false), false)?;
        let now = Instant::now();
        let mut session = Self {
            connection_set,
            destination,
            hello: config.hello,
            timeout: config.timeout,
            address,
            engine: String::new(),
            process: config.process,
            function_names: FunctionNames::new()?,
            control,
            stop,
            observer: Box::new(observer),
            began: now,
            next_progress: now + PROGRESS_INTERVAL,
        };
        let mut name = String::new();
        while session.connection_set.joining() > 0 {
            session.turn_or_stop(|received| {
                if let Ok(Message::Welcome(welcome)) = Message::decode(received.body) {
                    welcome.engine.0.clone_into(&mut name);
                }
                Ok(())
            })?;
        }
        session.engine = name;
        if session.process.is_none() {
            session.process = EngineProcess::behind(&session.connection_set.peer(control).socket);
        }
        Ok(session)
    }

    /// The address that was connected.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.hello.namespace
    }

    /// The header of a report.
    pub(super) fn header(&self, bench: &'static str) -> ReportHeader {
        ReportHeader {
            bench,
            address: self.address.to_string(),
            engine: self.engine.clone(),
            engine_pid: self.process.map(EngineProcess::id),
            namespace: self.hello.namespace.clone(),
        }
    }

    /// The engine's process, if known.
    #[must_use]
    pub fn process(&self) -> Option<EngineProcess> {
        self.process
    }

    /// Whether measurements should end early.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn function_names(&self) -> &FunctionNames {
        &self.function_names
    }

    pub(super) fn connection_set(&mut self) -> &mut ConnectionSet {
        &mut self.connection_set
    }

    /// Makes room for this many more connections.
    pub(super) fn make_room(&self, connections: usize) -> Result<(), BenchError> {
        descriptors::make_room(self.connection_set.keys().len() + connections)
    }

    /// Makes another connection and sends HELLO.
    pub(super) fn connect(&mut self, watching: bool) -> Result<usize, BenchError> {
        let socket = self.destination.connect();
        let socket =
            socket.map_err(|error| BenchError::NoEngine(vec![(self.address.clone(), error)]))?;
        self.connection_set
            .add(socket, &self.hello.frame(watching), watching)
    }

    /// Makes this many more connections, and waits until all have WELCOME and, if they watch, the board.
    pub(super) fn join(
        &mut self,
        count: usize,
        watching: bool,
        mut on_frame: impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<Vec<usize>, BenchError> {
        self.make_room(count)?;
        let mut keys = Vec::with_capacity(count);
        while keys.len() < count || self.connection_set.joining() > 0 {
            while keys.len() < count && self.connection_set.joining() < MAX_JOINING {
                keys.push(self.connect(watching)?);
            }
            self.turn_or_stop(&mut on_frame)?;
            self.report_progress(
                "joined",
                (keys.len() - self.connection_set.joining()) as u64,
            );
        }
        Ok(keys)
    }

    /// Runs a turn in which the engine owes something.
    pub(super) fn turn(
        &mut self,
        on_frame: impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        self.turn_waiting(true, on_frame)
    }

    /// The same, optionally without waiting.
    pub(super) fn turn_waiting(
        &mut self,
        wait: bool,
        on_frame: impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let wait = if wait { MAX_WAIT } else { Duration::ZERO };
        self.connection_set.turn(wait, on_frame)?;
        let silence = self.connection_set.silence();
        match self.connection_set.joining() {
            _ if silence < self.timeout => Ok(()),
            0 => Err(BenchError::Silent(silence)),
            waiting => Err(BenchError::Unwelcome {
                waiting,
                time: silence,
            }),
        }
    }

    /// The same; an error if the measurement was stopped, for phases without anything to report.
    pub(super) fn turn_or_stop(
        &mut self,
        on_frame: impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        if self.is_stopped() {
            return Err(BenchError::Stopped);
        }
        self.turn(on_frame)
    }

    /// Sends a frame over a connection.
    pub(super) fn send(&mut self, key: usize, frame: &[u8]) -> Result<(), BenchError> {
        self.connection_set.send(key, frame)
    }

    /// Reads the engine's statistics and resource use. No other request may be in flight: other frames are ignored.
    pub(super) fn sample(&mut self) -> Result<Sample, BenchError> {
        let call = Call {
            id: REQUEST,
            function: Text(STATS),
            ext: CallOptions {
                timeout_ms: Some(self.timeout.as_millis() as u64),
                ..CallOptions::default()
            },
            ..Call::default()
        };
        let control = self.control;
        self.send(control, &call.to_frame())?;
        let mut counters: Option<Option<Counters>> = None;
        while counters.is_none() {
            self.turn(|received| {
                if received.peer != control {
                    return Ok(());
                }
                match Message::decode(received.body) {
                    Ok(Message::Outcome(outcome)) => {
                        counters = Some(rmp_serde::from_slice(outcome.payload.0).ok());
                    }
                    // The engine does not tell every caller.
                    Ok(Message::Failure(_)) => counters = Some(None),
                    _ => return Err(BenchError::unexpected(received.body)),
                }
                Ok(())
            })?;
        }
        Ok(Sample {
            at: Instant::now(),
            counters: counters.flatten(),
            load_cpu: EngineProcess::of_id(std::process::id())
                .ok()
                .and_then(EngineProcess::cpu),
            cpu: self.process.and_then(EngineProcess::cpu),
            memory: self.process.and_then(EngineProcess::memory),
        })
    }

    /// Reports progress, unless it did so a moment ago.
    pub(super) fn report_progress(&mut self, what: &'static str, done: u64) {
        let now = Instant::now();
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_INTERVAL;
            (self.observer)(Progress {
                what,
                done,
                elapsed: now - self.began,
            });
        }
    }

    /// Closes these connections, which removes their functions.
    pub(super) fn leave(&mut self, keys: &[usize]) {
        self.connection_set.leave(keys, CLOSE_TIMEOUT);
    }

    /// Leaves: when this returns, nothing remains on the board. Dropping the session has the same effect a little
    /// later.
    pub fn close(mut self) {
        let keys = self.connection_set.keys();
        self.leave(&keys);
    }
}

/// The end of a request: its id, or why it failed.
pub(super) fn end_of(received: &ReceivedFrame<'_>) -> Result<Option<u64>, BenchError> {
    match received.kind {
        Outcome::KIND => Ok(Some(received.number)),
        Failure::KIND => Err(BenchError::unexpected(received.body)),
        _ => Ok(None),
    }
}
