//! The engine's address, resolved once, so that no connection waits for name resolution. Makes nonblocking sockets.

use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::Address;

/// A resolved address of the engine.
#[derive(Debug)]
pub(super) struct Destination {
    at: SockAddr,
    /// The timeout for connecting.
    timeout: Duration,
}

impl Destination {
    /// Connects to the address: tries what its name resolves to, and keeps the first that accepts.
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

    /// Makes another connection.
    pub(super) fn connect(&self) -> io::Result<Socket> {
        let domain = self.at.domain();
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if domain == Domain::UNIX {
            // The timeout also applies to a connect that waits for the backlog.
            socket.set_write_timeout(Some(self.timeout))?;
            socket.connect(&self.at)?;
        } else {
            socket.connect_timeout(&self.at, self.timeout)?;
            // A small frame must not wait for the acknowledgement of the previous one.
            socket.set_tcp_nodelay(true)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}
