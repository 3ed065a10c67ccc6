//! A connection as the event loop sees it: the socket and its readiness. Never looks at the bytes.

use std::io::{self, IoSlice};

use slab::Slab;

use super::socket::Socket;
use crate::engine::{ConnId, Written};

/// The socket of one connection, with what the poll has reported about it.
#[derive(Debug)]
pub(super) struct PeerSocket {
    pub(super) id: ConnId,
    pub(super) stream: Socket,
    pub(super) state: SocketState,
    /// The poll said that there is something to read, and no read has found less than it could take since.
    pub(super) readable: bool,
    /// On the ready list.
    pub(super) in_ready_list: bool,
    /// A write said `WouldBlock`, and the poll has not said otherwise since.
    pub(super) write_blocked: bool,
}

/// How far a socket's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    Open,
    /// The poll said that the peer closed its half or that the socket broke: it is read to the end
    /// whatever the engine wants, so that a close is noticed also on a socket that is not read at
    /// the moment. What is left to read is bounded by the kernel's buffer.
    PeerClosed,
    /// The end was read, and the engine told. Writing goes on.
    Eof,
    /// The engine was told that it broke.
    Broken,
}

impl PeerSocket {
    /// One that was accepted just now.
    pub(super) fn new(id: ConnId, stream: Socket) -> Self {
        Self {
            id,
            stream,
            state: SocketState::Open,
            readable: false,
            in_ready_list: false,
            write_blocked: false,
        }
    }

    /// Writes as much as the socket takes at once.
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

/// The socket of this id; none if its slot is empty or another's by now.
pub(super) fn find(sockets: &mut Slab<PeerSocket>, id: ConnId) -> Option<&mut PeerSocket> {
    sockets.get_mut(id.key()).filter(|socket| socket.id == id)
}
