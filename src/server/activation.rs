//! Socket activation: listening sockets that a service manager opened before it started this process, as in
//! sd_listen_fds(3). Checks them and takes them over. Binds nothing, and leaves descriptors meant for another
//! process alone.

use std::env;
use std::os::fd::AsFd;
use std::process;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::error::BindError;
use super::listener::Listener;

/// Number of descriptors passed.
const COUNT: &str = "LISTEN_FDS";

/// Process id they are meant for.
const FOR: &str = "LISTEN_PID";

/// The number of the first descriptor.
const FIRST: usize = 3;

/// The most sockets accepted; a larger number is a mistake.
const MOST: usize = 1024;

/// Takes over the sockets that the environment names, if they are meant for this process. Afterwards the variables
/// are unset, and child processes do not inherit the sockets.
///
/// Must be called before the process opens anything or starts threads: the descriptors are known by number alone.
pub(super) fn take() -> Result<Vec<Listener>, BindError> {
    let meant = env::var(FOR).is_ok_and(|pid| pid.parse() == Ok(process::id()));
    let count = env::var(COUNT).unwrap_or_default();
    if meant && !count.parse::<usize>().is_ok_and(|count| count <= MOST) {
        return Err(BindError::Descriptors(count));
    }
    // This unsets the variables, even if they are meant for another process.
    let mut given = ListenFd::from_env();
    if !meant {
        return Ok(Vec::new());
    }
    (0..given.len())
        .map(|at| listener(&mut given, at))
        .collect()
}

/// The descriptor at this index. Refuses datagram sockets, files, connected sockets (`Accept=yes`) and numbers that
/// are not open.
fn listener(given: &mut ListenFd, at: usize) -> Result<Listener, BindError> {
    let refused = || BindError::NotListening(FIRST + at);
    if let Ok(Some(tcp)) = given.take_tcp_listener(at) {
        listens(&tcp).ok_or_else(refused)?;
        return Listener::from_tcp(tcp).map_err(BindError::System);
    }
    // A descriptor that is no TCP socket was left in place.
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
