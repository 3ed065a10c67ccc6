//! A connection as the event loop sees it: the socket and its readiness. Never looks at the bytes.

use std::io::{self, IoSlice};

use slab::Slab;

use super::kernel::Stream;
use crate::engine::{ConnId, Written};

/// The socket of one connection, with what the poll has reported about it.
#[derive(Debug)]
pub(super) struct PeerSocket<S> {
    pub(super) id: ConnId,
    pub(super) stream: S,
    pub(super) state: SocketState,
    /// The poll reported input, and no read since then has come up short.
    pub(super) readable: bool,
    /// A write returned `WouldBlock`, and the poll has not reported room since.
    pub(super) write_blocked: bool,
}

/// How far the end of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    Open,
    /// The poll reported that the peer closed its sending half or that the connection broke. The socket is read to
    /// the end even if the engine wants no input, so that a close is noticed on a paused connection too. The
    /// kernel's buffer bounds the rest.
    PeerClosed,
    /// The end of the stream was read and the engine knows. Writing continues.
    Eof,
    /// The connection broke and the engine knows.
    Broken,
}

impl<S: Stream> PeerSocket<S> {
    /// A connection that was just accepted.
    pub(super) fn new(id: ConnId, stream: S) -> Self {
        Self {
            id,
            stream,
            state: SocketState::Open,
            readable: false,
            write_blocked: false,
        }
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Written> {
        loop {
            match self.stream.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => return Ok(Written::Bytes(n)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.write_blocked = true;
                        return Ok(Written::Blocked);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// The socket with this id; none if its slot is empty or reused.
pub(super) fn find<S>(sockets: &mut Slab<PeerSocket<S>>, id: ConnId) -> Option<&mut PeerSocket<S>> {
    sockets.get_mut(id.key()).filter(|socket| socket.id == id)
}
