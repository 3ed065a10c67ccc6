//! Accepts connections from all listeners, in turn, and backs off when the system is out of descriptors. Does
//! nothing with a connection beyond the accept.

use std::io;
use std::time::Duration;

use super::kernel::Accept;
use crate::engine::{Peer, Time};

/// The backoff after the first failure for lack of descriptors or memory. It doubles with each further failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// The longest backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Accepts from all listeners.
#[derive(Debug)]
pub(super) struct Acceptor<L> {
    listeners: Vec<ListenerState<L>>,
    /// The listener to try first, so that a flood at one does not starve the others.
    next: usize,
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct ListenerState<L> {
    listener: L,
    /// A connection may be pending. Only `WouldBlock` clears this, because the poll reports new connections once.
    pending: bool,
}

/// The system refused an accept. A shortage lasts until no connection is pending: while more arrive than leave,
/// each freed descriptor admits one, and logging each of those as the end would fill the log.
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

impl<L: Accept> Acceptor<L> {
    pub(super) fn new(listeners: Vec<L>) -> Self {
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

    /// The poll reported pending connections at the listener with this index.
    pub(super) fn handle_ready(&mut self, index: usize) {
        if let Some(state) = self.listeners.get_mut(index) {
            state.pending = true;
        }
    }

    /// When to call [`Acceptor::accept`] again; a time in the past means at once.
    pub(super) fn next_attempt(&self) -> Option<Time> {
        let pending = self.listeners.iter().any(|state| state.pending);
        pending.then(|| {
            self.shortage
                .map_or(Time::default(), |shortage| shortage.retry_at)
        })
    }

    /// The next pending connection.
    pub(super) fn accept(&mut self, now: Time) -> Option<(L::Stream, Peer)> {
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
                        // The peer gave up while it was pending; the next one may still be there.
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
            log::info!("accepting connections again, none is pending");
        }
        None
    }

    /// EMFILE, ENFILE, ENOBUFS, ENOMEM, or an unforeseen error. The connections stay pending in the kernel, and an
    /// immediate retry would only burn processor time.
    fn handle_refusal(&mut self, error: &io::Error, now: Time) {
        if self.shortage.is_none() {
            log::warn!(
                "cannot accept connections: {error}; pending ones are accepted as soon as the system allows \
                 (LimitNOFILE= of the unit or `ulimit -n` raises the limit)"
            );
        }
        self.shortage = Some(Shortage::after_failure(self.shortage, now));
    }

    /// The listeners, to be closed: nothing is accepted any more.
    pub(super) fn take_listeners(&mut self) -> impl Iterator<Item = L> {
        self.listeners.drain(..).map(|state| state.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::listener::Listener;

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
