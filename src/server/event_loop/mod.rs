//! The event loop. A turn has fixed phases: wait; read; check deadlines; seal; write; close; accept. Connections
//! are closed and accepted in their phase only. Work that a turn leaves undone makes the next wait return at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;
use slab::Slab;

use super::acceptor::Acceptor;
use super::config::Spin;
use super::control::Control;
use super::credentials::CredentialsFile;
use super::error::RunError;
use super::kernel::{EVENTS_PER_POLL, Kernel, Readiness, Stream};
use super::peer_socket::{PeerSocket, SocketState, find};
use super::poll_token::{OWN_GENERATION, SIGNALS, WAKER};
use super::server::{Server, ServerParts};
use super::service::Service;
use super::signals::SignalSource;
use super::stats_log::StatsLog;
use super::system::System;
use crate::engine::{Close, ConnId, Engine, Peer, Time, Turn, Written};
use crate::limits::Limits;

/// Size of the one buffer that all connections are read into.
const READ_BUFFER: usize = 64 * 1024;

/// What a turn may write to one class of readers. Replies and fan-out have a budget each, so that neither can
/// starve the other.
#[derive(Debug, Clone, Copy)]
struct WriteBudget {
    /// Write calls.
    writes: usize,
    bytes: usize,
}

/// For replies. Peers wait for them, and reading from a peer resumes once they are out.
const REPLY_BUDGET: WriteBudget = WriteBudget {
    writes: 512,
    bytes: 4 * 1024 * 1024,
};

/// Bytes of fan-out in one turn, for snapshots of a large board to a whole fleet. Like
/// [`ServerConfig::fanout_writes`](super::ServerConfig::fanout_writes), about half a millisecond of the loop's time.
const FANOUT_BYTES: usize = 1024 * 1024;

/// Connections accepted in one turn, so that a reconnecting fleet is accepted in between its own requests.
const ACCEPTS_PER_TURN: usize = 64;

/// Sockets closed in one turn.
const CLOSES_PER_TURN: usize = 64;

/// Connections accepted in the last turn, to be told that the engine stops: the length of the backlog.
const LAST_ACCEPTS: usize = 4096;

impl Server {
    /// Serves until it is shut down. The engine lives on the calling thread.
    ///
    /// # Errors
    /// [`RunError::Poll`] when waiting for events fails.
    pub fn run(mut self) -> Result<(), RunError> {
        let listeners = std::mem::take(&mut self.listeners);
        let kernel = System::new(self.poll);
        let mut event_loop = EventLoop::new(kernel, listeners, self.parts);
        let result = event_loop.run();
        if !event_loop.control.is_killed() {
            event_loop.close_listeners();
        }
        result
    }
}

struct EventLoop<K: Kernel> {
    kernel: K,
    engine: Engine,
    acceptor: Acceptor<K::Listener>,
    signals: Option<SignalSource>,
    service: Service,
    stats_log: StatsLog,
    control: Arc<Control>,
    credentials: Option<CredentialsFile>,
    limits: Limits,
    spin: Spin,
    fanout: WriteBudget,
    sockets: Slab<PeerSocket<K::Stream>>,
    /// The generation of the next connection's id.
    generation: u32,
    /// Connections whose write failed. The engine learns of them in the next turn, since a death in the middle of a
    /// fan-out would change what the fan-out is about.
    failed_writes: Vec<(ConnId, io::Error)>,
    read_buffer: Box<[u8]>,
    /// When the last turn ended.
    turn_ended: Time,
    /// When input last arrived, or work was last left over.
    last_active: Time,
    /// Number of shutdown requests.
    shutdown_requests: u32,
}

impl<K: Kernel> EventLoop<K> {
    fn new(kernel: K, listeners: Vec<K::Listener>, server: ServerParts) -> Self {
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
            kernel,
            acceptor: Acceptor::new(listeners),
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
            failed_writes: Vec::new(),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            turn_ended: Time(0),
            last_active: Time(0),
            shutdown_requests: 0,
        }
    }

    fn run(&mut self) -> Result<(), RunError> {
        let mut events = Vec::with_capacity(EVENTS_PER_POLL);
        self.service.handle_ready(self.now(), self.engine.size());
        loop {
            let wait = self.timeout();
            let spins = wait != Some(Duration::ZERO) && self.is_spinning();
            let timeout = if spins { Some(Duration::ZERO) } else { wait };
            if timeout != Some(Duration::ZERO) {
                self.control.counters.sleeps.add(1);
            }
            match self.kernel.poll(&mut events, timeout) {
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
            // A poll that found nothing is no turn.
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

    fn turn(&mut self, events: &mut Vec<Readiness>) {
        let now = self.now();
        self.control.counters.turns.add(1);
        if !events.is_empty() || self.engine.has_more() {
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
        // The next wait counts from here; one clock read serves both.
        self.turn_ended = self.now();
        self.engine.note_turn(Turn {
            began: now,
            sealed,
            flushed,
            ended: self.turn_ended,
        });
    }

    fn now(&self) -> Time {
        self.kernel.now()
    }

    /// How long to wait for events. The poll rounds up to whole milliseconds, so a deadline has passed when its
    /// wait ends.
    fn timeout(&self) -> Option<Duration> {
        if !self.failed_writes.is_empty() || self.engine.has_more() {
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

    /// Whether to poll again instead of sleeping.
    fn is_spinning(&self) -> bool {
        match self.spin {
            Spin::Never => false,
            Spin::For(while_) => self.now() < self.last_active.after(while_),
            Spin::Always => true,
        }
    }

    /// Whether a wait that began at the end of the last turn would be over.
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

    /// Handles the events of the wait. If a deadline has passed, fetches and handles further events first: after a
    /// stall of this process, the bytes that keep a connection alive may come in a later batch.
    fn handle_events(&mut self, events: &mut Vec<Readiness>, now: Time) {
        for _ in 0..=self.sockets.len() / EVENTS_PER_POLL {
            for event in &*events {
                self.handle_event(event, now);
            }
            let more = events.len() >= EVENTS_PER_POLL;
            let due = self.engine.next_deadline().is_some_and(|at| at <= now);
            if !(more && due) {
                return;
            }
            if let Err(error) = self.kernel.poll(events, Some(Duration::ZERO)) {
                // The next wait reports the error again, or it has passed.
                log::debug!("cannot poll for more events: {error}");
                return;
            }
        }
    }

    fn handle_event(&mut self, event: &Readiness, now: Time) {
        let Token(token) = event.token;
        let id = ConnId::from_token(token);
        if (token >> 32) as u32 == OWN_GENERATION {
            return self.handle_server_event(id.key() as u32, now);
        }
        // A reused slot has another generation: the event is stale.
        let Some(socket) = find(&mut self.sockets, id) else {
            return;
        };
        let broken = event.error || event.write_closed;
        if socket.write_blocked && (event.writable || broken) {
            socket.write_blocked = false;
            self.engine.handle_writable(id);
        }
        if event.readable || event.read_closed || broken {
            socket.readable = true;
            if socket.state == SocketState::Open && (event.read_closed || broken) {
                socket.state = SocketState::PeerClosed;
            }
            self.engine.handle_readable(id);
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

    /// Handles this many shutdown requests.
    fn stop(&mut self, asked: u32, now: Time) {
        for _ in 0..asked {
            self.shutdown_requests += 1;
            if self.shutdown_requests == 1 {
                log::info!(
                    "shutting down: draining {} connections (signal again to exit immediately)",
                    self.sockets.len()
                );
                self.service.handle_stop(&self.limits);
            }
            self.engine.handle_shutdown(now);
        }
    }

    /// Reloads what may change at run time: the credentials. Limits and addresses may not, because connected
    /// workers were told them.
    fn reload(&mut self, now: Time) {
        if self.shutdown_requests > 0 {
            return;
        }
        self.service.handle_reload();
        match self.credentials.as_ref().map(CredentialsFile::read) {
            Some(Ok(credentials)) => self.engine.handle_credentials(&credentials, now),
            Some(Err(error)) => log::error!(
                "credentials reload failed, keeping the previous credentials: \
                {error}"
            ),
            None => {
                log::info!("reload: no credentials file is configured, nothing to do");
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

    /// Reads connections in the order of the engine, as long as the turn has room.
    fn read_ready(&mut self, now: Time) {
        while let Some(id) = self.engine.poll_read(now) {
            self.read(id, now);
        }
    }

    /// Reads a connection once, if the engine wants that. If more may wait, the engine names it again.
    fn read(&mut self, id: ConnId, now: Time) {
        let Some(socket) = find(&mut self.sockets, id) else {
            return;
        };
        let counters = &self.control.counters;
        match socket.state {
            SocketState::Open if self.engine.wants_read(id) => {}
            SocketState::PeerClosed => {}
            SocketState::Open | SocketState::Eof | SocketState::Broken => return,
        }
        while socket.readable {
            counters.reads.add(1);
            match socket.stream.read(&mut self.read_buffer) {
                Ok(0) => {
                    socket.state = SocketState::Eof;
                    return self.engine.handle_eof(id, now);
                }
                Ok(n) => {
                    counters.read_bytes.add(n);
                    // A short read emptied the socket, and further input raises another event. But an end that was
                    // reported already may have come with these bytes.
                    if n < self.read_buffer.len() && socket.state == SocketState::Open {
                        socket.readable = false;
                    }
                    self.engine.handle_bytes(id, &self.read_buffer[..n], now);
                    if socket.readable {
                        self.engine.handle_readable(id);
                    }
                    return;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => socket.readable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.report_reset(id, &error, now),
                },
            }
        }
    }

    /// Before a deadline closes a connection, reads it once more: bytes that keep it alive may have arrived after
    /// the wait, or may be waiting behind the budget.
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

    /// Writes replies first, then fan-out. Writes beyond the budget wait for the next turn, after its input.
    fn flush(&mut self, now: Time) {
        // The second shutdown request makes this the last turn: tell every reachable peer.
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

    /// Writes to the connections that `next` names, within a budget.
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
        for _ in 0..CLOSES_PER_TURN {
            let Some(close) = self.engine.poll_close() else {
                break;
            };
            match close {
                Close::SendingHalf(id) => {
                    if let Some(socket) = find(&mut self.sockets, id)
                        && let Err(error) = socket.stream.shutdown_write()
                    {
                        // The peer broke the connection in the meantime.
                        self.failed_writes.push((id, error));
                    }
                }
                Close::Socket(id) => {
                    if find(&mut self.sockets, id).is_some() {
                        let mut socket = self.sockets.remove(id.key());
                        if let Err(error) = self.kernel.deregister(&mut socket.stream) {
                            log::debug!("cannot deregister a connection: {error}");
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
                self.engine.handle_readable(id);
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
            self.close_listeners();
        }
    }

    fn close_listeners(&mut self) {
        for listener in self.acceptor.take_listeners() {
            self.kernel.close(listener);
        }
    }

    fn open(&mut self, mut stream: K::Stream, peer: Peer, now: Time) {
        self.control.counters.accepted.add(1);
        let slot = self.sockets.vacant_entry();
        let id = ConnId::new(self.generation, slot.key() as u32);
        if let Err(error) = stream.prepare(&self.limits) {
            log::debug!("{peer}: cannot set a socket option: {error}");
        }
        if let Err(error) = self.kernel.register(&mut stream, id) {
            if self.engine.may_log(now) {
                log::warn!("{peer}: refused, cannot register the connection: {error}");
            }
            self.control.counters.closed.add(1);
            return;
        }
        slot.insert(PeerSocket::new(id, stream));
        self.generation = (self.generation + 1) % OWN_GENERATION;
        self.engine.handle_open(id, peer, now);
    }
}

#[cfg(test)]
mod tests;
