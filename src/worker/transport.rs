//! A socket to an engine, TCP or Unix: made within a time, read until a deadline, written to within a
//! time. It knows nothing of what travels.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::error::Loss;
use super::lock::lock;
use crate::address::Address;

/// To make a connection to one of a host's addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For one write without any progress: an engine that takes nothing for so long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Transport {
    socket: Stream,
    /// What the kernel was last told to wait for bytes.
    read_timeout: Mutex<Option<Duration>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What came of reading.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// None until the deadline.
    Nothing,
    /// The peer closed its side, or we closed ours.
    End,
}

impl Transport {
    /// Connects, resolving the name anew.
    pub(super) fn dial(address: &Address) -> Result<Self, Loss> {
        let socket = match address {
            Address::Tcp(host) => Stream::Tcp(dial_tcp(host)?),
            Address::Unix(path) => Stream::Unix(dial_unix(path)?),
        };
        let transport = Self {
            socket,
            read_timeout: Mutex::new(None),
        };
        transport
            .prepare()
            .map_err(|error| Loss::Broken(error.into()))?;
        Ok(transport)
    }

    fn prepare(&self) -> io::Result<()> {
        match &self.socket {
            Stream::Tcp(socket) => {
                // A small frame shall not wait for the acknowledgement of the one before.
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT))
            }
            Stream::Unix(socket) => socket.set_write_timeout(Some(WRITE_TIMEOUT)),
        }
    }

    /// Waits for bytes, at the longest until `deadline`.
    pub(super) fn read(
        &self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Received> {
        self.limit_read(deadline)?;
        let result = match &self.socket {
            Stream::Tcp(socket) => (&*socket).read(buffer),
            Stream::Unix(socket) => (&*socket).read(buffer),
        };
        match result {
            Ok(0) => Ok(Received::End),
            Ok(n) => Ok(Received::Bytes(n)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => {
                    // The next deadline may be further away than what the kernel knows.
                    *lock(&self.read_timeout) = None;
                    Ok(Received::Nothing)
                }
                _ => Err(error),
            },
        }
    }

    /// Tells the kernel, unless what it knows is early enough: waking up early costs less than a system
    /// call before each read.
    fn limit_read(&self, deadline: Option<Instant>) -> io::Result<()> {
        let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.map(|it| it.max(Duration::from_millis(1)));
        let mut kernel_timeout = lock(&self.read_timeout);
        match (wait, *kernel_timeout) {
            (Some(wait), Some(kernel_timeout)) if kernel_timeout <= wait => return Ok(()),
            (None, Some(_)) => return Ok(()),
            _ => {}
        }
        match &self.socket {
            Stream::Tcp(socket) => socket.set_read_timeout(wait)?,
            Stream::Unix(socket) => socket.set_read_timeout(wait)?,
        }
        *kernel_timeout = wait;
        Ok(())
    }

    /// Writes all of it, or fails.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.socket {
            Stream::Tcp(socket) => (&*socket).write_all(bytes),
            Stream::Unix(socket) => (&*socket).write_all(bytes),
        }
    }

    /// Ends both directions: whoever reads or writes here at the moment stops. That it was closed
    /// already is no error.
    pub(super) fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    /// Wakes whoever reads here at the moment; the peer notices nothing.
    pub(super) fn stop_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.socket {
            Stream::Tcp(socket) => socket.shutdown(how),
            Stream::Unix(socket) => socket.shutdown(how),
        }
    }
}

fn dial_tcp(host: &str) -> Result<TcpStream, Loss> {
    let addresses = host
        .to_socket_addrs()
        .map_err(|error| Loss::Resolve(error.into()))?;
    let mut loss = Loss::Resolve(io::Error::from(io::ErrorKind::NotFound).into());
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            // Linux connects a socket to itself if the port is a free one of the range that it takes
            // its own ports from. An engine that wants to listen there again could not.
            Ok(socket) if socket.local_addr().ok() == Some(address) => loss = Loss::NobodyListens,
            Ok(socket) => return Ok(socket),
            Err(error) => loss = loss_of(error),
        }
    }
    Err(loss)
}

fn dial_unix(path: &Path) -> Result<UnixStream, Loss> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The kernel takes this as the time to wait for a place in the listener's queue, too.
        socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(socket.into())
    };
    connect().map_err(loss_of)
}

fn loss_of(error: io::Error) -> Loss {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Loss::NobodyListens,
        io::ErrorKind::WouldBlock => {
            Loss::Unreachable(io::Error::from(io::ErrorKind::TimedOut).into())
        }
        _ => Loss::Unreachable(error.into()),
    }
}
