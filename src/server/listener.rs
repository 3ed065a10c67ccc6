//! Listening sockets, TCP and Unix: binds them or takes over those of another process, accepts, and manages the
//! file of a Unix socket: replaces a stale one, removes its own. Never blocks, never reads a byte.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Type};

use super::error::BindError;
use super::kernel::Accept;
use super::socket::Socket;
use crate::address::Address;
use rustix::net::sockopt::socket_peercred;

use crate::engine::Peer;

/// Connections that the kernel completes and keeps until they are accepted, so that a whole fleet can reconnect at
/// once (the kernel caps it at `net.core.somaxconn`, 4096 by default).
const BACKLOG: i32 = 4096;

/// One listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode when this process created the file, or none if another process did. The creator removes it.
    made: Option<(u64, u64)>,
}

impl Listener {
    /// Listens on an address. A host name is bound on each of its addresses on this host, but with port 0 on the
    /// first only: several could not be sure of the same free port.
    pub(super) fn bind(address: &Address) -> Result<Vec<Self>, BindError> {
        match address {
            Address::Tcp(text) => bind_host(address, text),
            Address::Unix(path) => Ok(vec![bind_path(address, path)?]),
        }
    }

    /// Takes over a listening TCP socket.
    pub(super) fn from_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        Ok(Self::Tcp(TcpListener::from_std(listener), at))
    }

    /// Takes over a listening Unix socket. Its file belongs to another process.
    pub(super) fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let path = match (at.as_pathname(), at.as_abstract_name()) {
            (Some(path), _) => path.to_owned(),
            // The way systemd and `ss` write an abstract name.
            (None, Some(name)) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name))),
            (None, None) => PathBuf::new(),
        };
        let file = SocketFile { path, made: None };
        Ok(Self::Unix(UnixListener::from_std(listener), file))
    }

    /// The address it listens on; the port is never 0.
    pub(super) fn address(&self) -> Address {
        match self {
            Self::Tcp(_, at) => Address::Tcp(at.to_string()),
            Self::Unix(_, file) => Address::Unix(file.path.clone()),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source().register(registry, token, Interest::READABLE)
    }

    /// Stops listening. Removes the file of a Unix socket if it is still the one this process created.
    pub(super) fn close(mut self, registry: &Registry) {
        // It may never have been registered; then there is nothing to undo.
        let _ = self.source().deregister(registry);
        // While the socket is open, its inode cannot be reused: compare first, then drop.
        if let Self::Unix(_, file) = &self {
            file.remove_if_ours();
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener, _) => listener,
            Self::Unix(listener, _) => listener,
        }
    }
}

impl Accept for Listener {
    type Stream = Socket;

    fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, from) = listener.accept()?;
                // A listener on [::] reports IPv4 peers as ::ffff:a.b.c.d; a log search for a.b.c.d must find them.
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                Ok((Socket::Tcp(stream), Peer::Tcp(from)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                // The kernel knows who connected, unless the peer has gone.
                let who = socket_peercred(&stream).ok();
                let peer = Peer::Unix {
                    pid: who.map(|who| who.pid.as_raw_nonzero().get().cast_unsigned()),
                    uid: who.map(|who| who.uid.as_raw()),
                };
                Ok((Socket::Unix(stream), peer))
            }
        }
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            made: Some((found.dev(), found.ino())),
        })
    }

    fn remove_if_ours(&self) {
        let Some(made) = self.made else {
            return;
        };
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == made);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

fn bind_host(address: &Address, text: &str) -> Result<Vec<Listener>, BindError> {
    let resolved = text
        .to_socket_addrs()
        .map_err(|error| BindError::CannotResolve(address.clone(), error))?;
    bind_all(address, resolved)
}

/// Listens on the addresses of a host.
fn bind_all(
    address: &Address,
    resolved: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<Listener>, BindError> {
    let mut bound = Vec::new();
    let mut refused = None;
    for at in resolved {
        match bind_tcp(at) {
            Ok(listener) => bound.push(listener),
            Err(error) if is_taken(&error) => return Err(explain(address, error)),
            // A name may resolve to ::1 on a host without IPv6: the other addresses will do.
            Err(error) => refused = Some(error),
        }
        if at.port() == 0 && !bound.is_empty() {
            break;
        }
    }
    match (bound.is_empty(), refused) {
        (false, _) => Ok(bound),
        (true, Some(error)) => Err(explain(address, error)),
        (true, None) => Err(BindError::CannotResolve(
            address.clone(),
            io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        )),
    }
}

fn bind_tcp(at: SocketAddr) -> io::Result<Listener> {
    let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections of a previous engine in TIME_WAIT must not delay the restart.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into());
    let at = listener.local_addr()?;
    Ok(Listener::Tcp(listener, at))
}

fn bind_path(address: &Address, path: &Path) -> Result<Listener, BindError> {
    clear_stale(address, path)?;
    let bind = || -> io::Result<Listener> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path)?;
        socket.listen(BACKLOG)?;
        Ok(Listener::Unix(UnixListener::from_std(socket.into()), file))
    };
    bind().map_err(|error| explain(address, error))
}

/// Removes the socket file that a crashed engine left behind, if no process listens on it. Two engines that start
/// in the same instant may both find it stale. The later one then owns the path, and the earlier one sees by the
/// inode that the file is no longer its own.
fn clear_stale(address: &Address, path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(explain(address, error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match probe(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!(
                "replacing the stale socket {}, on which no process listens",
                path.display()
            );
            fs::remove_file(path).map_err(|error| explain(address, error))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(BindError::PermissionDenied(address.clone()))
        }
        // Connected, or the backlog was full: a process listens.
        Ok(()) | Err(_) => Err(BindError::InUse(address.clone())),
    }
}

/// Connects without waiting: a stopped engine with a full backlog must not block this one.
fn probe(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Another process holds the address, or may hold it and this process may not. Going on without it would split the
/// fleet.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

fn explain(address: &Address, error: io::Error) -> BindError {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, _) => BindError::InUse(address.clone()),
        (io::ErrorKind::PermissionDenied, _) => BindError::PermissionDenied(address.clone()),
        (io::ErrorKind::AddrNotAvailable, _) => BindError::NotLocal(address.clone()),
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, Address::Unix(path)) => {
            BindError::NoDirectory(path.clone())
        }
        _ => BindError::Listen(address.clone(), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<Vec<Listener>, BindError> {
        Listener::bind(&text.parse().unwrap())
    }

    fn unix_address(dir: &tempfile::TempDir) -> (Address, PathBuf) {
        let path = dir.path().join("board.sock");
        (Address::Unix(path.clone()), path)
    }

    fn close(listeners: Vec<Listener>) {
        let poll = mio::Poll::new().unwrap();
        for listener in listeners {
            listener.close(poll.registry());
        }
    }

    #[test]
    fn port_0_becomes_a_real_port() {
        let listeners = bind("127.0.0.1:0").unwrap();
        let Address::Tcp(text) = listeners[0].address() else {
            panic!("not TCP");
        };
        assert!(text.starts_with("127.0.0.1:") && !text.ends_with(":0"));
    }

    #[test]
    fn a_host_name_is_resolved() {
        let listeners = bind("localhost:0").unwrap();
        assert_eq!(listeners.len(), 1);
    }

    #[test]
    fn a_port_in_use_is_told_with_a_hint() {
        let first = bind("127.0.0.1:0").unwrap();
        let error = Listener::bind(&first[0].address()).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error:?}");
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn of_several_addresses_one_may_be_missing_and_none_may_be_taken() {
        let first = bind("127.0.0.1:0").unwrap();
        let Address::Tcp(taken) = first[0].address() else {
            panic!("not TCP");
        };
        let taken: SocketAddr = taken.parse().unwrap();
        // All of 127.0.0.0/8 is of this host, 192.0.2.0/24 of none.
        let [free, foreign] =
            ["127.0.0.2", "192.0.2.1"].map(|ip| SocketAddr::new(ip.parse().unwrap(), taken.port()));
        let host = Address::Tcp("host".to_owned());
        let bind = |all: [SocketAddr; 2]| bind_all(&host, all.into_iter());
        for all in [[free, taken], [taken, free], [foreign, taken]] {
            let error = bind(all).unwrap_err();
            assert!(matches!(error, BindError::InUse(_)), "{all:?}: {error:?}");
        }
        for all in [[free, foreign], [foreign, free]] {
            let listeners = bind(all).unwrap();
            let addresses: Vec<Address> = listeners.iter().map(Listener::address).collect();
            assert_eq!(addresses, [Address::Tcp(free.to_string())]);
        }
    }

    #[test]
    fn foreign_and_unknown_hosts_are_told_apart() {
        // 192.0.2.0/24 is reserved for documentation: no host has it. A name with empty labels is refused without
        // asking the network.
        assert!(matches!(bind("192.0.2.1:0"), Err(BindError::NotLocal(_))));
        assert!(matches!(
            bind("no..such..host:0"),
            Err(BindError::CannotResolve(..))
        ));
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (address, path) = unix_address(&dir);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a crash leaves the file");
        let live = Listener::bind(&address).unwrap();
        assert!(matches!(Listener::bind(&address), Err(BindError::InUse(_))));
        close(live);
        assert!(!path.exists(), "ours is removed");
    }

    #[test]
    fn a_socket_file_that_is_not_ours_any_more_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (address, path) = unix_address(&dir);
        let ours = Listener::bind(&address).unwrap();
        fs::remove_file(&path).unwrap();
        let theirs = Listener::bind(&address).unwrap();
        close(ours);
        assert!(path.exists());
        close(theirs);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (address, path) = unix_address(&dir);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listener::bind(&address),
            Err(BindError::NotASocket(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let nowhere = Address::Unix(dir.path().join("no/such.sock"));
        assert!(matches!(
            Listener::bind(&nowhere),
            Err(BindError::NoDirectory(_))
        ));
    }
}
