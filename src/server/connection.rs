//! One connection as the loop knows it: its socket, and what the poll said of it. What is said over it is the
//! engine's business.

use std::io::{self, IoSlice};

use slab::Slab;

use super::socket::Socket;
use crate::engine::{ConnId, Written};

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) socket: Socket,
    pub(super) life: Life,
    /// The poll said that there is something to read, and no read has found less than it could take since.
    pub(super) readable: bool,
    /// On the ready list.
    pub(super) queued: bool,
    /// A write said `WouldBlock`, and the poll has not said otherwise since.
    pub(super) blocked: bool,
}

/// How far a connection's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
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

impl Connection {
    /// One that was accepted just now.
    pub(super) fn new(id: ConnId, socket: Socket) -> Self {
        Self {
            id,
            socket,
            life: Life::Open,
            readable: false,
            queued: false,
            blocked: false,
        }
    }

    /// Writes as much as the socket takes at once.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Written> {
        loop {
            match self.socket.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => return Ok(Written::Bytes(n)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.blocked = true;
                        return Ok(Written::Blocked);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// The connection of this id; none if its slot is empty or another's by now.
pub(super) fn find(connections: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    connections
        .get_mut(id.key())
        .filter(|connection| connection.id == id)
}
