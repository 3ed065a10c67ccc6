//! The kernel of this system, through `mio`. Adds nothing to it.

use std::io;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::kernel::{EVENTS_PER_POLL, Kernel, Readiness};
use super::listener::Listener;
use super::socket::Socket;
use crate::engine::{ConnId, Time};

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Self {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        }
    }
}

/// The kernel of this system, through `mio`.
#[derive(Debug)]
pub(super) struct System {
    poll: Poll,
    events: Events,
    start: Instant,
}

impl System {
    pub(super) fn new(poll: Poll) -> Self {
        Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            start: Instant::now(),
        }
    }
}

impl Kernel for System {
    type Stream = Socket;
    type Listener = Listener;

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn poll(&mut self, events: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        self.poll.poll(&mut self.events, timeout)?;
        events.extend(self.events.iter().map(Readiness::from));
        Ok(())
    }

    fn register(&mut self, socket: &mut Socket, id: ConnId) -> io::Result<()> {
        socket.register(self.poll.registry(), Token(id.token()))
    }

    fn deregister(&mut self, socket: &mut Socket) -> io::Result<()> {
        socket.deregister(self.poll.registry())
    }

    fn close(&mut self, listener: Listener) {
        listener.close(self.poll.registry());
    }
}
