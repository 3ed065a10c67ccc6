//! What the event loop asks of the kernel: events, streams, pending connections, the time. The loop is written against
//! these traits and runs over the system's; its tests also run it over a kernel that is driven by dice. Traits and values.

use std::io::{self, IoSlice};
use std::time::Duration;

use mio::Token;

use crate::engine::{ConnId, Peer, Time};
use crate::limits::Limits;

/// Events taken from the kernel at once; the rest come with the next wait.
pub(super) const EVENTS_PER_POLL: usize = 1024;

/// A kernel.
pub(super) trait Kernel {
    type Stream: Stream;
    type Listener: Accept<Stream = Self::Stream>;

    /// Microseconds since the start of the loop.
    fn now(&self) -> Time;

    /// Waits for events for `timeout` at most (`None`: for as long as it takes), and puts them in the place of those in
    /// `events`. Each is reported once, when its condition begins to hold.
    fn poll(&mut self, events: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()>;

    /// Reports events of both directions of a stream from now on.
    fn register(&mut self, stream: &mut Self::Stream, id: ConnId) -> io::Result<()>;

    fn deregister(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Stops listening.
    fn close(&mut self, listener: Self::Listener);
}

/// A nonblocking stream of bytes.
pub(super) trait Stream {
    /// Sets the options of an accepted stream.
    fn prepare(&self, limits: &Limits) -> io::Result<()>;
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Closes the sending half: the peer reads the rest, then the end of the stream.
    fn shutdown_write(&self) -> io::Result<()>;
}

/// A place where connections are pending.
pub(super) trait Accept {
    type Stream;

    /// Accepts a pending connection; `WouldBlock` if there is none.
    fn accept(&self) -> io::Result<(Self::Stream, Peer)>;
}

/// An event: the conditions that hold for the holder of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // One for each flag of epoll.
pub(super) struct Readiness {
    pub(super) token: Token,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer closed its sending half.
    pub(super) read_closed: bool,
    pub(super) write_closed: bool,
    pub(super) error: bool,
}
