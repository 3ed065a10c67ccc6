//! Socket activation: the listening sockets that a service manager opened before it started this
//! process, as sd_listen_fds(3) describes them. Checks what it is given and takes it over; binds nothing
//! itself, and leaves descriptors that were meant for another process alone.

use std::env;
use std::os::fd::AsFd;
use std::process;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::error::BindError;
use super::listener::Listener;

/// How many descriptors come.
const COUNT: &str = "LISTEN_FDS";

/// For which process they are.
const FOR: &str = "LISTEN_PID";

/// The number of the first descriptor.
const FIRST: usize = 3;

/// More sockets than anybody listens on; a number beyond it is a mistake.
const MOST: usize = 1024;

/// Takes the sockets that the environment tells of; none if it tells of none, or of another process's.
/// The variables are gone afterwards, and no child inherits the sockets.
///
/// To be called before the process opens anything and starts threads: the descriptors are known by
/// number alone.
pub(super) fn take() -> Result<Vec<Listener>, BindError> {
    let meant = env::var(FOR).is_ok_and(|pid| pid.parse() == Ok(process::id()));
    let count = env::var(COUNT).unwrap_or_default();
    if meant && !count.parse::<usize>().is_ok_and(|count| count <= MOST) {
        return Err(BindError::Descriptors(count));
    }
    // This takes the variables away, whomever they are for.
    let mut given = ListenFd::from_env();
    if !meant {
        return Ok(Vec::new());
    }
    (0..given.len())
        .map(|at| listener(&mut given, at))
        .collect()
}

/// The descriptor at this place. Datagram sockets, files, connected sockets (`Accept=yes`) and numbers
/// that nobody opened are refused.
fn listener(given: &mut ListenFd, at: usize) -> Result<Listener, BindError> {
    let refused = || BindError::NotListening(FIRST + at);
    if let Ok(Some(tcp)) = given.take_tcp_listener(at) {
        listens(&tcp).ok_or_else(refused)?;
        return Listener::from_tcp(tcp).map_err(BindError::System);
    }
    // What is no TCP socket was left at its place.
    match given.take_unix_listener(at) {
        Ok(Some(unix)) => {
            listens(&unix).ok_or_else(refused)?;
            Listener::from_unix(unix).map_err(BindError::System)
        }
        Ok(None) | Err(_) => Err(refused()),
    }
}

fn listens(socket: impl AsFd) -> Option<()> {
    socket_acceptconn(socket).is_ok_and(|yes| yes).then_some(())
}
