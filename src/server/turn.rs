//! The loop: turns with phases that always come in the same order. Wait; read what is ready; look at
//! the deadlines; let the engine seal; write what is due; close what is over; accept. Nothing is
//! closed or accepted in between, and what a turn leaves undone makes the next wait end at once.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use slab::Slab;

use super::acceptor::Acceptor;
use super::handle::Control;
use super::pulse::Pulse;
use super::service::Service;
use super::socket::Socket;
use super::{
    CredentialsFile, OWN_GENERATION, RunError, SIGNALS, Server, SignalSource, Spin, WAKER,
};
use crate::engine::{Close, ConnId, Engine, Peer, Time, Turn, Written};
use crate::limits::Limits;

/// Events taken from the kernel at once; what is left over comes with the next wait.
const EVENTS_PER_TURN: usize = 1024;

/// Bytes of the one buffer that all connections are read into.
const SCRATCH: usize = 64 * 1024;

/// Bytes read from one connection in one turn, rounded up to whole reads: a peer that floods does not
/// keep the others waiting for longer than it takes to handle this much.
const READ_BUDGET: usize = 256 * 1024;

/// What may be written in one turn to those who are owed answers, and to those who are told what all are told:
/// each has its own, so that neither waits for the other for ever.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Write calls.
    writes: usize,
    bytes: usize,
}

/// Answers. They were asked for, and reading goes on as soon as they are out.
const REPLIES: Budget = Budget {
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

/// Serves until told to end.
pub(super) fn serve(server: Server) -> Result<(), RunError> {
    let mut shell = Shell::new(server);
    let ended = shell.run();
    if !shell.control.is_killed() {
        shell.acceptor.close(shell.poll.registry());
    }
    ended
}

/// One connection as the loop knows it.
#[derive(Debug)]
struct Connection {
    id: ConnId,
    socket: Socket,
    life: Life,
    /// The poll said that there is something to read, and no read has found less than it could take since.
    readable: bool,
    /// On the ready list.
    queued: bool,
    /// A write said `WouldBlock`, and the poll has not said otherwise since.
    blocked: bool,
}

/// How far a connection's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// The poll said that the peer closed its half or that the connection broke: it is read to the end
    /// whatever the engine wants, so that a close is noticed also on a connection that is not read at
    /// the moment. What is left to read is bounded by the kernel's buffer.
    Ending,
    /// The end was read, and the engine told. Writing goes on.
    Ended,
    /// The engine was told that it broke.
    Broken,
}

struct Shell {
    poll: Poll,
    engine: Engine,
    acceptor: Acceptor,
    signals: Option<SignalSource>,
    service: Service,
    pulse: Pulse,
    control: Arc<Control>,
    credentials: Option<CredentialsFile>,
    limits: Limits,
    spin: Spin,
    fanout: Budget,
    connections: Slab<Connection>,
    /// How many connections were opened, as their ids count it.
    generation: u32,
    /// Connections to read in the next turn.
    ready: Vec<ConnId>,
    /// The memory of the list that was read last, for the one after the next.
    spare: Vec<ConnId>,
    /// Connections whose writing failed: told to the engine in the next turn, since a death in the
    /// middle of a fan-out would change what the fan-out is about.
    broken: Vec<(ConnId, io::Error)>,
    scratch: Box<[u8]>,
    start: Instant,
    /// When the last turn ended.
    ended: Time,
    /// When something last came in, or was left to do.
    active: Time,
    /// How often a shutdown was asked for.
    shutdowns: u32,
}

impl Shell {
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
            pulse: Pulse::new(server.stats_every),
            spin: server.spin,
            fanout: Budget {
                writes: server.fanout_writes,
                bytes: FANOUT_BYTES,
            },
            control: server.control,
            connections: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            spare: Vec::new(),
            broken: Vec::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            start,
            ended: Time(0),
            active: Time(0),
            shutdowns: 0,
        }
    }

    fn run(&mut self) -> Result<(), RunError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.service.handle_ready(self.now(), self.engine.size());
        loop {
            let patience = self.timeout();
            let spins = patience != Some(Duration::ZERO) && self.is_spinning();
            let timeout = if spins {
                Some(Duration::ZERO)
            } else {
                patience
            };
            if timeout != Some(Duration::ZERO) {
                self.control.counting.sleeps.add(1);
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.ended = self.now();
                    continue;
                }
                Err(error) => return Err(RunError::Poll(error)),
            }
            if self.control.is_killed() {
                return Ok(());
            }
            // A look that found nothing is no turn.
            if spins && events.is_empty() && !self.is_due(patience) {
                self.control.counting.looks.add(1);
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
        self.control.counting.turns.add(1);
        if !(events.is_empty() && self.ready.is_empty()) {
            self.active = now;
        }
        self.handle_events(events, now);
        for (id, error) in std::mem::take(&mut self.broken) {
            self.report_reset(id, &error, now);
        }
        self.read_ready(now);
        self.expire(now);
        self.engine.seal(now);
        let sealed = self.now();
        self.flush(now);
        let flushed = self.now();
        if self.engine.take_drain() && self.shutdowns == 0 {
            self.stop(1, now);
        }
        self.reap();
        self.accept(now);
        self.service.handle_turn(now, || self.engine.size());
        self.pulse.handle_turn(now, || self.engine.stats());
        // The wait that follows is reckoned from here: one look at the clock serves both.
        self.ended = self.now();
        self.engine.note_turn(Turn {
            began: now,
            sealed,
            flushed,
            ended: self.ended,
        });
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// How long to wait for events. The poll rounds up to whole milliseconds, so that a deadline has
    /// passed when the wait for it ends.
    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.broken.is_empty() || self.engine.has_more() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.engine.next_deadline(),
            self.acceptor.next_attempt(),
            self.service.next_due(self.ended),
            self.pulse.next_due(),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(Duration::from_micros(next.0.saturating_sub(self.ended.0)))
    }

    /// Whether to look for events again instead of sleeping until there are some.
    fn is_spinning(&self) -> bool {
        match self.spin {
            Spin::Never => false,
            Spin::For(while_) => self.now() < self.active.after(while_),
            Spin::Always => true,
        }
    }

    /// Whether a sleep that began when the last turn ended would be over.
    fn is_due(&self, patience: Option<Duration>) -> bool {
        patience.is_some_and(|patience| self.ended.after(patience) <= self.now())
    }

    fn is_over(&self) -> bool {
        match self.shutdowns {
            0 => false,
            1 => self.engine.is_finished() && self.connections.is_empty(),
            _ => true,
        }
    }

    // Events.

    /// Handles what the wait brought. If a deadline has passed, the rest as well: after a stall of this
    /// process, what saves a connection may stand behind more events than one wait brings.
    fn handle_events(&mut self, events: &mut Events, now: Time) {
        for _ in 0..=self.connections.len() / EVENTS_PER_TURN {
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
            return self.handle_own_event(id.key() as u32, now);
        }
        // A slot that was given away again has another generation: the event is stale.
        let Some(connection) = find(&mut self.connections, id) else {
            return;
        };
        let broken = event.is_error() || event.is_write_closed();
        if connection.blocked && (event.is_writable() || broken) {
            connection.blocked = false;
            self.engine.handle_writable(id);
        }
        if event.is_readable() || event.is_read_closed() || broken {
            connection.readable = true;
            if connection.life == Life::Open && (event.is_read_closed() || broken) {
                connection.life = Life::Ending;
            }
            enqueue(&mut self.ready, connection);
        }
    }

    fn handle_own_event(&mut self, which: u32, now: Time) {
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
                self.control.answer(|| self.engine.stats());
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
            self.shutdowns += 1;
            if self.shutdowns == 1 {
                log::info!(
                    "shutting down: {} connections are told; asking again ends at once",
                    self.connections.len()
                );
                self.service.handle_stop(&self.limits);
            }
            self.engine.handle_shutdown(now);
        }
    }

    /// Reads anew what may change while the engine runs. Limits and addresses may not: whoever is connected
    /// was told them.
    fn reload(&mut self, now: Time) {
        if self.shutdowns > 0 {
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
        if let Some(connection) = find(&mut self.connections, id)
            && connection.life != Life::Broken
        {
            connection.life = Life::Broken;
            self.engine.handle_reset(id, &error.to_string(), now);
        }
    }

    // Reading.

    fn read_ready(&mut self, now: Time) {
        // What a read leaves over goes onto the next turn's list, not behind this one.
        let mut batch = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare));
        for id in batch.drain(..) {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.queued = false;
                self.read(id, now);
            }
        }
        self.spare = batch;
    }

    /// Reads until there is nothing left, the engine wants no more, or the budget is used up; then
    /// the rest is for the next turn.
    fn read(&mut self, id: ConnId, now: Time) {
        let Some(connection) = find(&mut self.connections, id) else {
            return;
        };
        let counting = &self.control.counting;
        let mut budget = READ_BUDGET;
        while connection.readable {
            match connection.life {
                Life::Open if self.engine.wants_read(id) => {}
                Life::Ending => {}
                Life::Open | Life::Ended | Life::Broken => return,
            }
            if budget == 0 {
                return enqueue(&mut self.ready, connection);
            }
            counting.reads.add(1);
            match connection.socket.read(&mut self.scratch) {
                Ok(0) => {
                    connection.life = Life::Ended;
                    self.engine.handle_eof(id, now);
                }
                Ok(n) => {
                    counting.read_bytes.add(n);
                    budget = budget.saturating_sub(n);
                    // A short read took all that there was, and what comes later is another event. Only
                    // an end may be announced already, with the bytes that were read.
                    if n < self.scratch.len() && connection.life == Life::Open {
                        connection.readable = false;
                    }
                    self.engine.handle_bytes(id, &self.scratch[..n], now);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => connection.readable = false,
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
            if let Some(connection) = find(&mut self.connections, id) {
                connection.readable = true;
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
        let all = Budget {
            writes: 2 * self.connections.len(),
            bytes: usize::MAX,
        };
        let is_last = self.shutdowns > 1;
        let (replies, fanout) = if is_last {
            (all, all)
        } else {
            (REPLIES, self.fanout)
        };
        self.write_due(now, Engine::poll_reply, replies);
        self.write_due(now, Engine::poll_news, fanout);
    }

    /// Writes to those whom `next` names, within a budget.
    fn write_due(
        &mut self,
        now: Time,
        next: impl Fn(&mut Engine) -> Option<ConnId>,
        budget: Budget,
    ) {
        let (mut writes, mut bytes) = (0, 0);
        while writes < budget.writes && bytes < budget.bytes {
            let Some(id) = next(&mut self.engine) else {
                return;
            };
            let Some(connection) = find(&mut self.connections, id) else {
                debug_assert!(false, "the engine writes to {id:?}, which was dropped");
                continue;
            };
            let (broken, counting) = (&mut self.broken, &self.control.counting);
            self.engine.flush(id, now, |slices| {
                counting.writes.add(1);
                writes += 1;
                match write(connection, slices) {
                    Ok(Written::Bytes(n)) => {
                        counting.written_bytes.add(n);
                        bytes += n;
                        Written::Bytes(n)
                    }
                    Ok(other) => other,
                    Err(error) => {
                        broken.push((id, error));
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
                    if let Some(connection) = find(&mut self.connections, id)
                        && let Err(error) = connection.socket.shutdown_write()
                    {
                        // The peer broke the connection meanwhile.
                        self.broken.push((id, error));
                    }
                }
                Close::Socket(id) => {
                    if find(&mut self.connections, id).is_some() {
                        let mut connection = self.connections.remove(id.key());
                        if let Err(error) = connection.socket.deregister(self.poll.registry()) {
                            log::debug!("a connection was not registered: {error}");
                        }
                        self.control.counting.closed.add(1);
                    }
                }
            }
        }
        while let Some(id) = self.engine.poll_resume() {
            if let Some(connection) = find(&mut self.connections, id)
                && connection.readable
            {
                enqueue(&mut self.ready, connection);
            }
        }
    }

    fn accept(&mut self, now: Time) {
        let stopping = self.shutdowns > 0;
        let most = if stopping {
            LAST_ACCEPTS
        } else {
            ACCEPTS_PER_TURN
        };
        for _ in 0..most {
            let Some((socket, peer)) = self.acceptor.accept(now) else {
                break;
            };
            self.open(socket, peer, now);
        }
        if stopping {
            self.acceptor.close(self.poll.registry());
        }
    }

    fn open(&mut self, mut socket: Socket, peer: Peer, now: Time) {
        self.control.counting.accepted.add(1);
        let slot = self.connections.vacant_entry();
        let id = ConnId::new(self.generation, slot.key() as u32);
        if let Err(error) = socket.prepare(&self.limits) {
            log::debug!("{peer}: a socket option was refused: {error}");
        }
        if let Err(error) = socket.register(self.poll.registry(), Token(id.token())) {
            if self.engine.may_log(now) {
                log::warn!("{peer}: refused, the connection cannot be watched: {error}");
            }
            self.control.counting.closed.add(1);
            return;
        }
        slot.insert(Connection {
            id,
            socket,
            life: Life::Open,
            readable: false,
            queued: false,
            blocked: false,
        });
        self.generation = (self.generation + 1) % OWN_GENERATION;
        self.engine.handle_open(id, peer, now);
    }
}

/// The connection of this id; none if its slot is empty or another's by now.
fn find(connections: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    connections
        .get_mut(id.key())
        .filter(|connection| connection.id == id)
}

fn enqueue(ready: &mut Vec<ConnId>, connection: &mut Connection) {
    if !std::mem::replace(&mut connection.queued, true) {
        ready.push(connection.id);
    }
}

fn write(connection: &mut Connection, slices: &[IoSlice<'_>]) -> io::Result<Written> {
    loop {
        match connection.socket.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => return Ok(Written::Bytes(n)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    return Ok(Written::Blocked);
                }
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests;
