//! All connections of a bench in one poll. A turn waits for events, reads, passes on each frame, and writes the
//! replies. Decides nothing about what is measured.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;
use socket2::Socket;

use super::error::BenchError;
use super::peer::{JoinState, Peer};
use super::received_frame::ReceivedFrame;
use crate::protocol::{Code, Goodbye, Ping, Text};

/// The size of one read.
const READ_BUFFER: usize = 256 * 1024;

const EVENTS_AT_ONCE: usize = 1024;

/// How often stalled connections send PING: well below the silence that ends a connection.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Token of the timer; connections count from 0.
const TIMER: Token = Token(usize::MAX);

/// The connections of a bench.
#[derive(Debug)]
pub(super) struct ConnectionSet {
    poll: Poll,
    events: Events,
    peers: Slab<Peer>,
    read_buffer: Box<[u8]>,
    /// When bytes were last read.
    last_read: Instant,
    /// Connections that are still joining.
    joining: usize,
    /// Connections that do not read.
    stalled: Vec<usize>,
    next_heartbeat: Instant,
}

impl ConnectionSet {
    pub(super) fn new() -> Result<Self, BenchError> {
        Ok(Self {
            poll: Poll::new().map_err(BenchError::System)?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            peers: Slab::new(),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            last_read: Instant::now(),
            joining: 0,
            stalled: Vec::new(),
            next_heartbeat: Instant::now(),
        })
    }

    /// Adds a connection that was just made, and sends this HELLO.
    pub(super) fn add(
        &mut self,
        socket: Socket,
        hello: &[u8],
        watching: bool,
    ) -> Result<usize, BenchError> {
        let entry = self.peers.vacant_entry();
        let key = entry.key();
        let registry = self.poll.registry();
        let mut source = SourceFd(&socket.as_raw_fd());
        registry
            .register(&mut source, Token(key), Interest::READABLE)
            .map_err(BenchError::System)?;
        entry.insert(Peer::new(socket, watching));
        self.joining += 1;
        self.send(key, hello)?;
        Ok(key)
    }

    /// Sends a frame over a connection.
    pub(super) fn send(&mut self, key: usize, frame: &[u8]) -> Result<(), BenchError> {
        let peer = &mut self.peers[key];
        peer.out().extend_from_slice(frame);
        peer.flush();
        // Its answer is due from now on.
        self.last_read = Instant::now();
        watch_if_full(self.poll.registry(), key, peer)
    }

    /// Adds a descriptor that only wakes the turn.
    pub(super) fn add_timer(&mut self, timer: &impl AsRawFd) -> Result<(), BenchError> {
        let registry = self.poll.registry();
        registry
            .register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)
            .map_err(BenchError::System)
    }

    pub(super) fn remove_timer(&mut self, timer: &impl AsRawFd) -> Result<(), BenchError> {
        let registry = self.poll.registry();
        registry
            .deregister(&mut SourceFd(&timer.as_raw_fd()))
            .map_err(BenchError::System)
    }

    pub(super) fn peer(&mut self, key: usize) -> &mut Peer {
        &mut self.peers[key]
    }

    /// Connections that sent HELLO and have neither WELCOME nor, if they watch, the board.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// How long ago bytes were last read.
    pub(super) fn silence(&self) -> Duration {
        self.last_read.elapsed()
    }

    /// Ends an intended silence: it counts from now.
    pub(super) fn forgive_silence(&mut self) {
        self.last_read = Instant::now();
    }

    /// Stops reading from a connection; it sends PING, so that the engine does not close it.
    pub(super) fn stall(&mut self, key: usize) {
        self.peers[key].stalled = true;
        self.stalled.push(key);
    }

    /// Waits for events up to `wait`, and handles them.
    pub(super) fn turn(
        &mut self,
        wait: Duration,
        mut on_frame: impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(BenchError::System)?,
        }
        for event in &self.events {
            let Some(peer) = self.peers.get_mut(event.token().0) else {
                continue;
            };
            if event.is_writable() && peer.is_full() {
                peer.flush();
            }
            let ended = event.is_read_closed() || event.is_error();
            let is_due = event.is_readable() || ended;
            if !is_due || peer.stalled || peer.join_state == JoinState::Closed {
                continue;
            }
            let key = event.token().0;
            let was_joining = peer.join_state.is_joining();
            let any = peer.read(key, &mut self.read_buffer, ended, &mut on_frame)?;
            watch_if_full(self.poll.registry(), key, peer)?;
            if was_joining && !peer.join_state.is_joining() {
                self.joining -= 1;
            }
            if any {
                self.last_read = Instant::now();
            }
        }
        self.heartbeat()
    }

    fn heartbeat(&mut self) -> Result<(), BenchError> {
        if self.stalled.is_empty() || Instant::now() < self.next_heartbeat {
            return Ok(());
        }
        self.next_heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
        for &key in &self.stalled {
            let peer = &mut self.peers[key];
            Ping::default().encode(peer.out());
            peer.flush();
            watch_if_full(self.poll.registry(), key, peer)?;
        }
        Ok(())
    }

    /// Sends GOODBYE over these connections and waits until the engine has closed them, and so removed their
    /// functions. Closes the rest after `timeout`.
    pub(super) fn leave(&mut self, keys: &[usize], timeout: Duration) {
        let goodbye = Goodbye {
            code: Text(Code::Bye.as_str()),
            ..Goodbye::default()
        };
        let goodbye = goodbye.to_frame();
        for &key in keys {
            let peer = &mut self.peers[key];
            self.joining -= usize::from(peer.join_state.is_joining());
            peer.join_state = JoinState::Leaving;
            // If the poll refuses it, it is closed below.
            let _ = self.send(key, &goodbye);
            let peer = &mut self.peers[key];
            if std::mem::take(&mut peer.stalled) {
                self.stalled.retain(|it| *it != key);
                // Its events were ignored until now.
                let read = peer.read(key, &mut self.read_buffer, true, &mut |_| Ok(()));
                if read.is_err() {
                    peer.join_state = JoinState::Closed;
                }
            }
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let gone = |key: &usize| self.peers[*key].join_state == JoinState::Closed;
            if keys.iter().all(gone) || left.is_zero() {
                break;
            }
            // An error of another connection must not stop these from leaving; it will come up again.
            if self.turn(left, |_| Ok(())).is_err() {
                break;
            }
        }
        for &key in keys {
            let peer = self.peers.remove(key);
            let fd = peer.socket.as_raw_fd();
            // It is closed together with the peer anyway.
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
    }

    /// Keys of all connections.
    pub(super) fn keys(&self) -> Vec<usize> {
        self.peers.iter().map(|(key, _)| key).collect()
    }
}

/// Once a socket was full, polls for writability too. Not from the start: a Unix socket would wake the poll each
/// time its peer reads.
fn watch_if_full(registry: &Registry, key: usize, peer: &mut Peer) -> Result<(), BenchError> {
    if !peer.is_full() || std::mem::replace(&mut peer.is_watched, true) {
        return Ok(());
    }
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry
        .reregister(
            &mut SourceFd(&peer.socket.as_raw_fd()),
            Token(key),
            interest,
        )
        .map_err(BenchError::System)
}
