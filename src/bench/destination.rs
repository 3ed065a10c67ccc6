//! Where the connections of a bench go: an address, resolved once, so that no connection waits for a name. Makes
//! sockets that do not block.

use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::Address;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Destination {
    at: SockAddr,
    /// For how long a connection may take to be made.
    timeout: Duration,
}

impl Destination {
    /// Connects to the address; what its name stands for is tried in turn, and the first that listens is kept.
    pub(super) fn find(address: &Address, timeout: Duration) -> io::Result<(Self, Socket)> {
        let candidates = match address {
            Address::Tcp(host) => host.to_socket_addrs()?.map(SockAddr::from).collect(),
            Address::Unix(path) => vec![SockAddr::unix(path)?],
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for at in candidates {
            let destination = Self { at, timeout };
            match destination.connect() {
                Ok(socket) => return Ok((destination, socket)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Another connection.
    pub(super) fn connect(&self) -> io::Result<Socket> {
        let domain = self.at.domain();
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if domain == Domain::UNIX {
            // A connect that waits for room in the backlog heeds it.
            socket.set_write_timeout(Some(self.timeout))?;
            socket.connect(&self.at)?;
        } else {
            socket.connect_timeout(&self.at, self.timeout)?;
            // A small frame shall not wait for the acknowledgement of the one before.
            socket.set_tcp_nodelay(true)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}
