//! The loop: turns with phases that always come in the same order. Wait; read what is ready; look at
//! the deadlines; let the engine seal; write what is due; close what is over; accept. Nothing is
//! closed or accepted in between, and what a turn leaves undone makes the next wait end at once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::acceptor::Acceptor;
use super::config::Spin;
use super::control::Control;
use super::credentials::CredentialsFile;
use super::error::RunError;
use super::peer_socket::{PeerSocket, SocketState, find};
use super::poll_token::{OWN_GENERATION, SIGNALS, WAKER};
use super::server::Server;
use super::service::Service;
use super::signals::SignalSource;
use super::socket::Socket;
use super::stats_log::StatsLog;
use crate::engine::{Close, ConnId, Engine, Peer, Time, Turn, Written};
use crate::limits::Limits;

/// Events taken from the kernel at once; what is left over comes with the next wait.
const EVENTS_PER_TURN: usize = 1024;

/// Bytes of the one buffer that all connections are read into.
const READ_BUFFER: usize = 64 * 1024;

/// Bytes read from one connection in one turn, rounded up to whole reads: a peer that floods does not
/// keep the others waiting for longer than it takes to handle this much.
const READ_BUDGET: usize = 256 * 1024;

/// What may be written in one turn to those who are owed answers, and to those who are told what all are told:
/// each has its own, so that neither waits for the other for ever.
#[derive(Debug, Clone, Copy)]
struct WriteBudget {
    /// Write calls.
    writes: usize,
    bytes: usize,
}

/// Answers. They were asked for, and reading goes on as soon as they are out.
const REPLY_BUDGET: WriteBudget = WriteBudget {
    writes: 4096,
    bytes: 16 * 1024 * 1024,
};

/// Bytes that a turn writes to those who look on: snapshots of a large board to a whole fleet. Like
/// [`ServerConfig::fanout_writes`], about half a millisecond of the loop's time.
const FANOUT_BYTES: usize = 1024 * 1024;

/// Connections accepted in one turn: a fleet that reconnects is taken in between its own requests.
const ACCEPTS_PER_TURN: usize = 128;

/// Connections taken in at the very end, to be told that the engine stops: as many as may wait.
const LAST_ACCEPTS: usize = 4096;

impl Server {
    /// Serves until it is shut down. The engine lives and dies on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Poll`] when the system does not let the loop wait for events.
    pub fn run(self) -> Result<(), RunError> {
        let mut event_loop = EventLoop::new(self);
        let result = event_loop.run();
        if !event_loop.control.is_killed() {
            event_loop.acceptor.close(event_loop.poll.registry());
        }
        result
    }
}

struct EventLoop {
    poll: Poll,
    engine: Engine,
    acceptor: Acceptor,
    signals: Option<SignalSource>,
    service: Service,
    stats_log: StatsLog,
    control: Arc<Control>,
    credentials: Option<CredentialsFile>,
    limits: Limits,
    spin: Spin,
    fanout: WriteBudget,
    sockets: Slab<PeerSocket>,
    /// How many connections were opened, as their ids count it.
    generation: u32,
    /// Connections to read in the next turn.
    ready: Vec<ConnId>,
    /// The memory of the list that was read last, for the one after the next.
    spare_list: Vec<ConnId>,
    /// Connections whose writing failed: told to the engine in the next turn, since a death in the
    /// middle of a fan-out would change what the fan-out is about.
    failed_writes: Vec<(ConnId, io::Error)>,
    read_buffer: Box<[u8]>,
    start: Instant,
    /// When the last turn ended.
    turn_ended: Time,
    /// When something last came in, or was left to do.
    last_active: Time,
    /// How often a shutdown was asked for.
    shutdown_requests: u32,
}

impl EventLoop {
    fn new(server: Server) -> Self {
        let start = Instant::now();
        let limits = server.engine.limits.clone();
        let mut engine = Engine::new(server.engine, Time(0));
        engine.set_owner(rustix::process::geteuid().as_raw());
        let credentials = server.credentials.map(|(file, credentials)| {
            engine.handle_credentials(&credentials, Time(0));
            file
        });
        Self {
            limits,
            engine,
            credentials,
            poll: server.poll,
            acceptor: Acceptor::new(server.listeners),
            signals: server.signals,
            service: server.service,
            stats_log: StatsLog::new(server.stats_every),
            spin: server.spin,
            fanout: WriteBudget {
                writes: server.fanout_writes,
                bytes: FANOUT_BYTES,
            },
            control: server.control,
            sockets: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            spare_list: Vec::new(),
            failed_writes: Vec::new(),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            start,
            turn_ended: Time(0),
            last_active: Time(0),
            shutdown_requests: 0,
        }
    }

    fn run(&mut self) -> Result<(), RunError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.service.handle_ready(self.now(), self.engine.size());
        loop {
            let wait = self.timeout();
            let spins = wait != Some(Duration::ZERO) && self.is_spinning();
            let timeout = if spins { Some(Duration::ZERO) } else { wait };
            if timeout != Some(Duration::ZERO) {
                self.control.counters.sleeps.add(1);
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.turn_ended = self.now();
                    continue;
                }
                Err(error) => return Err(RunError::Poll(error)),
            }
            if self.control.is_killed() {
                return Ok(());
            }
            // A look that found nothing is no turn.
            if spins && events.is_empty() && !self.is_wait_over(wait) {
                self.control.counters.looks.add(1);
                continue;
            }
            self.turn(&mut events);
            if self.is_over() {
                log::info!("stopped");
                return Ok(());
            }
        }
    }

    fn turn(&mut self, events: &mut Events) {
        let now = self.now();
        self.control.counters.turns.add(1);
        if !(events.is_empty() && self.ready.is_empty()) {
            self.last_active = now;
        }
        self.handle_events(events, now);
        for (id, error) in std::mem::take(&mut self.failed_writes) {
            self.report_reset(id, &error, now);
        }
        self.read_ready(now);
        self.expire(now);
        self.engine.seal(now);
        let sealed = self.now();
        self.flush(now);
        let flushed = self.now();
        if self.engine.take_drain() && self.shutdown_requests == 0 {
            self.stop(1, now);
        }
        self.reap();
        self.accept(now);
        self.service.handle_turn(now, || self.engine.size());
        self.stats_log.handle_turn(now, || self.engine.stats());
        // The wait that follows is reckoned from here: one look at the clock serves both.
        self.turn_ended = self.now();
        self.engine.note_turn(Turn {
            began: now,
            sealed,
            flushed,
            ended: self.turn_ended,
        });
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// How long to wait for events. The poll rounds up to whole milliseconds, so that a deadline has
    /// passed when the wait for it ends.
    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.failed_writes.is_empty() || self.engine.has_more() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.engine.next_deadline(),
            self.acceptor.next_attempt(),
            self.service.next_due(self.turn_ended),
            self.stats_log.next_due(),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(Duration::from_micros(
            next.0.saturating_sub(self.turn_ended.0),
        ))
    }

    /// Whether to look for events again instead of sleeping until there are some.
    fn is_spinning(&self) -> bool {
        match self.spin {
            Spin::Never => false,
            Spin::For(while_) => self.now() < self.last_active.after(while_),
            Spin::Always => true,
        }
    }

    /// Whether a sleep that began when the last turn ended would be over.
    fn is_wait_over(&self, wait: Option<Duration>) -> bool {
        wait.is_some_and(|wait| self.turn_ended.after(wait) <= self.now())
    }

    fn is_over(&self) -> bool {
        match self.shutdown_requests {
            0 => false,
            1 => self.engine.is_finished() && self.sockets.is_empty(),
            _ => true,
        }
    }

    // Events.

    /// Handles what the wait brought. If a deadline has passed, the rest as well: after a stall of this
    /// process, what saves a connection may stand behind more events than one wait brings.
    fn handle_events(&mut self, events: &mut Events, now: Time) {
        for _ in 0..=self.sockets.len() / EVENTS_PER_TURN {
            for event in &*events {
                self.handle_event(event, now);
            }
            let more = events.iter().count() >= EVENTS_PER_TURN;
            let due = self.engine.next_deadline().is_some_and(|at| at <= now);
            if !(more && due) {
                return;
            }
            if let Err(error) = self.poll.poll(events, Some(Duration::ZERO)) {
                // The next wait meets it again, or it has passed.
                log::debug!("asking for more events failed: {error}");
                return;
            }
        }
    }

    fn handle_event(&mut self, event: &Event, now: Time) {
        let Token(token) = event.token();
        let id = ConnId::from_token(token);
        if (token >> 32) as u32 == OWN_GENERATION {
            return self.handle_server_event(id.key() as u32, now);
        }
        // A slot that was given away again has another generation: the event is stale.
        let Some(socket) = find(&mut self.sockets, id) else {
            return;
        };
        let broken = event.is_error() || event.is_write_closed();
        if socket.write_blocked && (event.is_writable() || broken) {
            socket.write_blocked = false;
            self.engine.handle_writable(id);
        }
        if event.is_readable() || event.is_read_closed() || broken {
            socket.readable = true;
            if socket.state == SocketState::Open && (event.is_read_closed() || broken) {
                socket.state = SocketState::PeerClosed;
            }
            enqueue(&mut self.ready, socket);
        }
    }

    fn handle_server_event(&mut self, which: u32, now: Time) {
        let asked = match which {
            SIGNALS => {
                let signalled = self.signals.as_mut().map(SignalSource::take);
                let signalled = signalled.unwrap_or_default();
                if signalled.reload {
                    self.reload(now);
                }
                signalled.stops
            }
            WAKER => {
                self.control.answer_stats(|| self.engine.stats());
                if self.control.take_reload() {
                    self.reload(now);
                }
                self.control.take_shutdowns()
            }
            listener => return self.acceptor.handle_ready(listener as usize),
        };
        self.stop(asked, now);
    }

    /// The engine was asked so often to end.
    fn stop(&mut self, asked: u32, now: Time) {
        for _ in 0..asked {
            self.shutdown_requests += 1;
            if self.shutdown_requests == 1 {
                log::info!(
                    "shutting down: {} connections are told; asking again ends at once",
                    self.sockets.len()
                );
                self.service.handle_stop(&self.limits);
            }
            self.engine.handle_shutdown(now);
        }
    }

    /// Reads anew what may change while the engine runs. Limits and addresses may not: whoever is connected
    /// was told them.
    fn reload(&mut self, now: Time) {
        if self.shutdown_requests > 0 {
            return;
        }
        self.service.handle_reload();
        match self.credentials.as_ref().map(CredentialsFile::read) {
            Some(Ok(credentials)) => self.engine.handle_credentials(&credentials, now),
            Some(Err(error)) => log::error!("the credentials stay as they were: {error}"),
            None => {
                log::info!("asked to reload: there is nothing to read anew, all stays as it is");
            }
        }
        self.service.handle_ready(now, self.engine.size());
    }

    fn report_reset(&mut self, id: ConnId, error: &io::Error, now: Time) {
        if let Some(socket) = find(&mut self.sockets, id)
            && socket.state != SocketState::Broken
        {
            socket.state = SocketState::Broken;
            self.engine.handle_reset(id, &error.to_string(), now);
        }
    }

    // Reading.

    fn read_ready(&mut self, now: Time) {
        // What a read leaves over goes onto the next turn's list, not behind this one.
        let mut batch = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare_list));
        for id in batch.drain(..) {
            if let Some(socket) = find(&mut self.sockets, id) {
                socket.in_ready_list = false;
                self.read(id, now);
            }
        }
        self.spare_list = batch;
    }

    /// Reads until there is nothing left, the engine wants no more, or the budget is used up; then
    /// the rest is for the next turn.
    fn read(&mut self, id: ConnId, now: Time) {
        let Some(socket) = find(&mut self.sockets, id) else {
            return;
        };
        let counters = &self.control.counters;
        let mut budget = READ_BUDGET;
        while socket.readable {
            match socket.state {
                SocketState::Open if self.engine.wants_read(id) => {}
                SocketState::PeerClosed => {}
                SocketState::Open | SocketState::Eof | SocketState::Broken => return,
            }
            if budget == 0 {
                return enqueue(&mut self.ready, socket);
            }
            counters.reads.add(1);
            match socket.stream.read(&mut self.read_buffer) {
                Ok(0) => {
                    socket.state = SocketState::Eof;
                    self.engine.handle_eof(id, now);
                }
                Ok(n) => {
                    counters.read_bytes.add(n);
                    budget = budget.saturating_sub(n);
                    // A short read took all that there was, and what comes later is another event. Only
                    // an end may be announced already, with the bytes that were read.
                    if n < self.read_buffer.len() && socket.state == SocketState::Open {
                        socket.readable = false;
                    }
                    self.engine.handle_bytes(id, &self.read_buffer[..n], now);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => socket.readable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.report_reset(id, &error, now),
                },
            }
        }
    }

    /// Before a deadline ends anybody, its connection is read once more: bytes that keep it alive may
    /// have come after the wait, or wait behind the budget.
    fn expire(&mut self, now: Time) {
        while let Some(id) = self.engine.poll_expired(now) {
            if let Some(socket) = find(&mut self.sockets, id) {
                socket.readable = true;
                self.read(id, now);
            }
            self.engine.handle_expired(id, now);
        }
    }

    // Writing.

    /// Answers first, then what all are told. What is over a budget is for the next turn, behind what comes in
    /// until then.
    fn flush(&mut self, now: Time) {
        // Asked twice to end, this is the last turn: whoever can be told is told.
        let all = WriteBudget {
            writes: 2 * self.sockets.len(),
            bytes: usize::MAX,
        };
        let is_last = self.shutdown_requests > 1;
        let (replies, fanout) = if is_last {
            (all, all)
        } else {
            (REPLY_BUDGET, self.fanout)
        };
        self.write_due(now, Engine::poll_reply, replies);
        self.write_due(now, Engine::poll_news, fanout);
    }

    /// Writes to those whom `next` names, within a budget.
    fn write_due(
        &mut self,
        now: Time,
        next: impl Fn(&mut Engine) -> Option<ConnId>,
        budget: WriteBudget,
    ) {
        let (mut writes, mut bytes) = (0, 0);
        while writes < budget.writes && bytes < budget.bytes {
            let Some(id) = next(&mut self.engine) else {
                return;
            };
            let Some(socket) = find(&mut self.sockets, id) else {
                debug_assert!(false, "the engine writes to {id:?}, which was dropped");
                continue;
            };
            let (failed_writes, counters) = (&mut self.failed_writes, &self.control.counters);
            self.engine.flush(id, now, |slices| {
                counters.writes.add(1);
                writes += 1;
                match socket.write(slices) {
                    Ok(Written::Bytes(n)) => {
                        counters.written_bytes.add(n);
                        bytes += n;
                        Written::Bytes(n)
                    }
                    Ok(other) => other,
                    Err(error) => {
                        failed_writes.push((id, error));
                        Written::Broken
                    }
                }
            });
        }
    }

    // Closing and opening.

    fn reap(&mut self) {
        while let Some(close) = self.engine.poll_close() {
            match close {
                Close::SendingHalf(id) => {
                    if let Some(socket) = find(&mut self.sockets, id)
                        && let Err(error) = socket.stream.shutdown_write()
                    {
                        // The peer broke the connection meanwhile.
                        self.failed_writes.push((id, error));
                    }
                }
                Close::Socket(id) => {
                    if find(&mut self.sockets, id).is_some() {
                        let mut socket = self.sockets.remove(id.key());
                        if let Err(error) = socket.stream.deregister(self.poll.registry()) {
                            log::debug!("a connection was not registered: {error}");
                        }
                        self.control.counters.closed.add(1);
                    }
                }
            }
        }
        while let Some(id) = self.engine.poll_resume() {
            if let Some(socket) = find(&mut self.sockets, id)
                && socket.readable
            {
                enqueue(&mut self.ready, socket);
            }
        }
    }

    fn accept(&mut self, now: Time) {
        let stopping = self.shutdown_requests > 0;
        let most = if stopping {
            LAST_ACCEPTS
        } else {
            ACCEPTS_PER_TURN
        };
        for _ in 0..most {
            let Some((stream, peer)) = self.acceptor.accept(now) else {
                break;
            };
            self.open(stream, peer, now);
        }
        if stopping {
            self.acceptor.close(self.poll.registry());
        }
    }

    fn open(&mut self, mut stream: Socket, peer: Peer, now: Time) {
        self.control.counters.accepted.add(1);
        let slot = self.sockets.vacant_entry();
        let id = ConnId::new(self.generation, slot.key() as u32);
        if let Err(error) = stream.prepare(&self.limits) {
            log::debug!("{peer}: a socket option was refused: {error}");
        }
        if let Err(error) = stream.register(self.poll.registry(), Token(id.token())) {
            if self.engine.may_log(now) {
                log::warn!("{peer}: refused, the connection cannot be watched: {error}");
            }
            self.control.counters.closed.add(1);
            return;
        }
        slot.insert(PeerSocket::new(id, stream));
        self.generation = (self.generation + 1) % OWN_GENERATION;
        self.engine.handle_open(id, peer, now);
    }
}

fn enqueue(ready: &mut Vec<ConnId>, socket: &mut PeerSocket) {
    if !std::mem::replace(&mut socket.in_ready_list, true) {
        ready.push(socket.id);
    }
}

#[cfg(test)]
mod tests;
