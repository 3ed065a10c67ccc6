//! Why a server could not be bound, or stopped running: error values with messages that say what to do. Decides
//! nothing.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::credentials::CredentialsError;
use crate::address::Address;
use crate::limits::LimitsError;

/// Why [`super::Server::bind`] failed. Nothing stays bound.
#[derive(Debug)]
pub enum BindError {
    /// The configuration names no address.
    NoAddress,
    /// The limits contradict each other.
    Limits(LimitsError),
    /// The credentials file cannot be used.
    Credentials(CredentialsError),
    /// Another process listens there, or the configuration names the address twice.
    InUse(Address),
    /// This user may not listen there.
    PermissionDenied(Address),
    /// The host name has no address.
    CannotResolve(Address, io::Error),
    /// The address belongs to no interface of this host.
    NotLocal(Address),
    /// The directory of a Unix socket does not exist.
    NoDirectory(PathBuf),
    /// The path of a Unix socket is taken by something that is not a socket. It is left alone.
    NotASocket(PathBuf),
    /// `LISTEN_FDS` is not a number of sockets; its value.
    Descriptors(String),
    /// The service manager passed a descriptor that is not a listening socket; its number.
    NotListening(usize),
    /// The system refused for another reason.
    Listen(Address, io::Error),
    /// The system gave no poll, no signal handler or no random bytes.
    System(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("no address to listen on"),
            Self::Limits(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::InUse(address @ Address::Tcp(text)) => {
                let port = text.rsplit_once(':').map_or("", |(_, port)| port);
                write!(
                    f,
                    "{address} is in use. Is an engine already running there? `ss -ltnp sport = :{port}` names \
                     the process; choose another address, or port 0 for a free port"
                )
            }
            Self::InUse(address @ Address::Unix(path)) => write!(
                f,
                "{address} is in use by another process; `ss -lxp src {}` names it",
                path.display()
            ),
            Self::PermissionDenied(address @ Address::Tcp(_)) => write!(
                f,
                "no permission to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
            ),
            Self::PermissionDenied(address @ Address::Unix(_)) => write!(
                f,
                "no permission to listen on {address}; the directory must be writable"
            ),
            Self::CannotResolve(address, error) => {
                write!(f, "cannot resolve the host of {address}: {error}")
            }
            Self::NotLocal(address) => write!(
                f,
                "{address} is not an address of this host; 0.0.0.0 and [::] stand for all its addresses"
            ),
            Self::NoDirectory(path) => {
                write!(f, "the directory of {} does not exist", path.display())
            }
            Self::NotASocket(path) => write!(
                f,
                "{} exists and is not a socket; it is left alone",
                path.display()
            ),
            Self::Descriptors(count) => write!(
                f,
                "LISTEN_FDS is `{}`, which is not a valid number of sockets",
                count.escape_debug()
            ),
            Self::NotListening(descriptor) => write!(
                f,
                "descriptor {descriptor} of the service manager is not a listening stream socket; a socket \
                 unit for an engine needs ListenStream= and no Accept="
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::System(error) => write!(
                f,
                "the system refused a resource that a server needs: {error}"
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Limits(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::CannotResolve(_, error) | Self::Listen(_, error) | Self::System(error) => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// Why [`super::Server::run`] returned without being shut down.
#[derive(Debug)]
pub enum RunError {
    /// Waiting for events failed, other than by an interrupt.
    Poll(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll(error) => write!(f, "waiting for events failed: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Poll(error) => Some(error),
        }
    }
}
