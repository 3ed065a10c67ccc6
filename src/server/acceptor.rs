//! Who waits at the listeners: the listeners, which of them have somebody waiting, and what to do when
//! the system has no descriptor left for another connection. Opens no connection beyond the accept.

use std::io;
use std::time::Duration;

use mio::Registry;

use super::listener::Listener;
use super::socket::Socket;
use crate::engine::{Peer, Time};

/// The pause after the first failure for lack of descriptors or memory; it doubles with each further
/// one.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The listeners and their state.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<ListenerState>,
    /// The listener to look at first, so that a flood at one does not close the others.
    next: usize,
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct ListenerState {
    listener: Listener,
    /// Somebody may wait. Only a `WouldBlock` takes it back: the poll tells of newcomers once.
    pending: bool,
}

/// The system refused to accept. It lasts until nobody waits any more: while more come than go, each
/// descriptor that is freed lets one in, and to call every one of those an end would fill the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shortage {
    retry_at: Time,
    pause: Duration,
}

impl Shortage {
    fn after_failure(before: Option<Self>, now: Time) -> Self {
        let pause = before.map_or(FIRST_BACKOFF, |shortage| shortage.pause);
        Self {
            retry_at: now.after(pause),
            pause: MAX_BACKOFF.min(pause * 2),
        }
    }
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<Listener>) -> Self {
        let states = listeners.into_iter().map(|listener| ListenerState {
            listener,
            pending: true,
        });
        Self {
            listeners: states.collect(),
            next: 0,
            shortage: None,
        }
    }

    /// The poll says that somebody waits at the listener of this index.
    pub(super) fn handle_ready(&mut self, index: usize) {
        if let Some(state) = self.listeners.get_mut(index) {
            state.pending = true;
        }
    }

    /// When [`Acceptor::accept`] is worth a call: a time that has passed means at once.
    pub(super) fn next_attempt(&self) -> Option<Time> {
        let pending = self.listeners.iter().any(|state| state.pending);
        pending.then(|| {
            self.shortage
                .map_or(Time::default(), |shortage| shortage.retry_at)
        })
    }

    /// The next connection that waits.
    pub(super) fn accept(&mut self, now: Time) -> Option<(Socket, Peer)> {
        if self
            .shortage
            .is_some_and(|shortage| now < shortage.retry_at)
        {
            return None;
        }
        for _ in 0..self.listeners.len() {
            let state = &mut self.listeners[self.next];
            while state.pending {
                match state.listener.accept() {
                    Ok(accepted) => {
                        self.next = (self.next + 1) % self.listeners.len();
                        if let Some(shortage) = &mut self.shortage {
                            shortage.pause = FIRST_BACKOFF;
                        }
                        return Some(accepted);
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => state.pending = false,
                        // It went away while it waited; the next one may still be there.
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                        _ => {
                            self.handle_refusal(&error, now);
                            return None;
                        }
                    },
                }
            }
            self.next = (self.next + 1) % self.listeners.len();
        }
        if self.shortage.take().is_some() {
            log::info!("connections are accepted again, none is left waiting");
        }
        None
    }

    /// EMFILE, ENFILE, ENOBUFS, ENOMEM, or an error that nobody foresaw: the connections wait in the
    /// kernel, and asking again at once would only burn the processor.
    fn handle_refusal(&mut self, error: &io::Error, now: Time) {
        if self.shortage.is_none() {
            log::warn!(
                "cannot accept connections: {error}. Those that wait are served as soon as the \
                 system allows (LimitNOFILE= of the unit or `ulimit -n` raises the limit)"
            );
        }
        self.shortage = Some(Shortage::after_failure(self.shortage, now));
    }

    /// Ends listening. Socket files that are ours are removed.
    pub(super) fn close(&mut self, registry: &Registry) {
        for state in self.listeners.drain(..) {
            state.listener.close(registry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_10_ms_to_a_second() {
        let mut shortage = None;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let next = Shortage::after_failure(shortage, Time(0));
            pauses.push(next.retry_at.0 / 1000);
            shortage = Some(next);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn all_that_wait_are_accepted_over_several_listeners() {
        let bind = || {
            Listener::bind(&"127.0.0.1:0".parse().unwrap())
                .unwrap()
                .remove(0)
        };
        let listeners = vec![bind(), bind()];
        let mut peers = Vec::new();
        for listener in &listeners {
            let address = listener.address().to_string();
            for _ in 0..3 {
                peers.push(std::net::TcpStream::connect(&address).unwrap());
            }
        }
        let mut acceptor = Acceptor::new(listeners);
        assert_eq!(acceptor.next_attempt(), Some(Time(0)));
        let mut accepted = Vec::new();
        while let Some((socket, _)) = acceptor.accept(Time(0)) {
            accepted.push(socket);
        }
        assert_eq!(accepted.len(), 6);
        assert_eq!(acceptor.next_attempt(), None, "until the poll says so");
        acceptor.handle_ready(1);
        assert!(acceptor.next_attempt().is_some());
    }
}
