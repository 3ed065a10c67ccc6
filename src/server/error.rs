//! Why a server cannot be bound, or cannot go on. Texts for people, with a hint what to do; nothing
//! here decides anything.

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
    /// The credentials file is of no use.
    Credentials(CredentialsError),
    /// Another process listens there, or this configuration names the address twice.
    InUse(Address),
    /// The system does not let this user listen there.
    PermissionDenied(Address),
    /// The host name has no address.
    CannotResolve(Address, io::Error),
    /// The address belongs to no interface of this host.
    NotLocal(Address),
    /// The directory of a Unix socket does not exist.
    NoDirectory(PathBuf),
    /// There is something at the path of a Unix socket that is no socket. It is left alone.
    NotASocket(PathBuf),
    /// `LISTEN_FDS` is no number of sockets; this is what it says.
    Descriptors(String),
    /// The descriptor of this number, which the service manager gave, is no socket to listen on.
    NotListening(usize),
    /// The system refused for another reason.
    Listen(Address, io::Error),
    /// The poll, the signals or the random source of the system could not be had.
    System(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("there is no address to listen on"),
            Self::Limits(error) => error.fmt(f),
            Self::Credentials(error) => error.fmt(f),
            Self::InUse(address @ Address::Tcp(text)) => {
                let port = text.rsplit_once(':').map_or("", |(_, port)| port);
                write!(
                    f,
                    "{address} is in use. Does an engine run there already? `ss -ltnp sport = \
                     :{port}` names the process; another address can be chosen, port 0 takes a \
                     free port"
                )
            }
            Self::InUse(address @ Address::Unix(path)) => write!(
                f,
                "{address} is in use: a process answers there. `ss -lxp src {}` names it",
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
                write!(f, "the host of {address} cannot be resolved: {error}")
            }
            Self::NotLocal(address) => write!(
                f,
                "{address} is no address of this host; 0.0.0.0 and [::] stand for all it has"
            ),
            Self::NoDirectory(path) => {
                write!(f, "the directory of {} does not exist", path.display())
            }
            Self::NotASocket(path) => write!(
                f,
                "{} exists and is no socket; it is left alone",
                path.display()
            ),
            Self::Descriptors(count) => write!(
                f,
                "LISTEN_FDS is `{}`, which is no number of sockets",
                count.escape_debug()
            ),
            Self::NotListening(descriptor) => write!(
                f,
                "descriptor {descriptor} of the service manager is no listening stream socket; a \
                 socket unit for an engine has ListenStream= and no Accept="
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::System(error) => write!(f, "the system refuses what a server needs: {error}"),
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

/// Why [`super::Server::run`] ended without being told to.
#[derive(Debug)]
pub enum RunError {
    /// Waiting for events failed, other than by being interrupted.
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
