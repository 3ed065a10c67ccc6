//! A blocking socket to an engine, TCP or Unix: connects, reads and writes with timeouts. Knows nothing of the
//! protocol.

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

/// The timeout for connecting to one address of a host, unless there is another deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The timeout for one write without progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Transport {
    socket: Stream,
    /// The read timeout that the socket has now.
    read_timeout: Mutex<Option<Duration>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The outcome of a read.
#[derive(Debug)]
pub(super) enum Received {
    /// This many bytes.
    Bytes(usize),
    /// No bytes until the deadline.
    Nothing,
    /// One side closed the connection.
    End,
}

impl Transport {
    /// Connects, by `until` if that is given; resolves the name each time.
    pub(super) fn dial(address: &Address, until: Option<Instant>) -> Result<Self, Loss> {
        let socket = match address {
            Address::Tcp(host) => Stream::Tcp(dial_tcp(host, until)?),
            Address::Unix(path) => Stream::Unix(dial_unix(path, until)?),
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
                // A small frame must not wait for the acknowledgement of the previous one.
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT))
            }
            Stream::Unix(socket) => socket.set_write_timeout(Some(WRITE_TIMEOUT)),
        }
    }

    /// Waits for bytes, until `deadline` at the latest.
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
                    // The next deadline may be later than the socket's timeout.
                    *lock(&self.read_timeout) = None;
                    Ok(Received::Nothing)
                }
                _ => Err(error),
            },
        }
    }

    /// Sets the socket's timeout, unless the present one is early enough: an early wake-up costs less than a system
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

    /// Writes all bytes, or fails.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.socket {
            Stream::Tcp(socket) => (&*socket).write_all(bytes),
            Stream::Unix(socket) => (&*socket).write_all(bytes),
        }
    }

    /// Closes both directions: current reads and writes end. Closing twice is no error.
    pub(super) fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    /// Wakes the thread that reads here; the peer does not notice.
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

fn dial_tcp(host: &str, until: Option<Instant>) -> Result<TcpStream, Loss> {
    let addresses = host
        .to_socket_addrs()
        .map_err(|error| Loss::Resolve(error.into()))?;
    let mut loss = Loss::Resolve(io::Error::from(io::ErrorKind::NotFound).into());
    let mut addresses = addresses.peekable();
    while let Some(address) = addresses.next() {
        let mut time = connect_time(until);
        if addresses.peek().is_some() {
            time = time.min(CONNECT_TIMEOUT);
        }
        match TcpStream::connect_timeout(&address, time) {
            // Linux connects a socket to itself if the port happens to be its own ephemeral port. An engine could
            // then not listen there again.
            Ok(socket) if socket.local_addr().ok() == Some(address) => loss = Loss::NobodyListens,
            Ok(socket) => return Ok(socket),
            Err(error) => loss = loss_of(error),
        }
    }
    Err(loss)
}

/// How long connecting may take.
fn connect_time(until: Option<Instant>) -> Duration {
    let left = until.map(|at| at.saturating_duration_since(Instant::now()));
    // The kernel takes zero for no limit.
    left.map_or(CONNECT_TIMEOUT, |left| left.max(Duration::from_millis(1)))
}

fn dial_unix(path: &Path, until: Option<Instant>) -> Result<UnixStream, Loss> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The kernel also applies this timeout to the wait for the listener's backlog.
        socket.set_write_timeout(Some(connect_time(until)))?;
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
