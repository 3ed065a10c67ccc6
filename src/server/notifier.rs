//! The line to a service manager: sd_notify(3)'s datagrams. Never waits: what the manager has no room for
//! at the moment is kept, in order, until it has. Knows nothing of what the words mean.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the manager hears; `@` stands for a name that is not in the file system.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Messages kept. More could only be a manager that hangs; the latest are dropped then.
const MOST_KEPT: usize = 16;

/// The manager's address, and what could not be sent yet.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    kept: VecDeque<String>,
}

impl Notifier {
    /// The manager that the environment names, if it names one.
    pub(super) fn from_environment() -> io::Result<Option<Self>> {
        match env::var_os(SOCKET) {
            Some(name) if !name.is_empty() => Self::to(&name).map(Some),
            _ => Ok(None),
        }
    }

    /// The manager at this address.
    pub(super) fn to(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // The crates for this wait for room, and the engine would stand still with its manager.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            manager,
            kept: VecDeque::new(),
        })
    }

    /// Sends assignments, one a line; behind what is kept.
    pub(super) fn send(&mut self, message: String) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push_back(message);
        }
        self.send_kept();
    }

    /// Tries once more to send what is kept.
    pub(super) fn send_kept(&mut self) {
        while let Some(message) = self.kept.front() {
            // Addressed anew each time: a manager that starts anew listens on a new socket.
            let sent = self.socket.send_to_addr(message.as_bytes(), &self.manager);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => log::debug!("the service manager cannot be told: {error}"),
                Ok(_) => {}
            }
            self.kept.pop_front();
        }
    }

    /// Whether something is kept.
    pub(super) fn is_behind(&self) -> bool {
        !self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        manager.set_nonblocking(true).unwrap();
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn a_manager_at_an_abstract_name_is_told_too() {
        let name = format!("callboard-notifier-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let mut notifier = Notifier::to(format!("@{name}").as_ref()).unwrap();
        notifier.send("READY=1".to_owned());
        assert_eq!(heard(&manager).as_deref(), Some("READY=1"));
    }

    #[test]
    fn a_manager_without_room_is_not_waited_for_and_told_later_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::to(path.as_ref()).unwrap();
        let mut sent = 0;
        while !notifier.is_behind() {
            notifier.send(sent.to_string());
            sent += 1;
        }
        notifier.send(sent.to_string());
        for expected in 0..=sent {
            assert_eq!(heard(&manager), Some(expected.to_string()));
            notifier.send_kept();
        }
        assert!(!notifier.is_behind());
    }

    #[test]
    fn a_manager_that_is_gone_is_not_told_and_nothing_piles_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut notifier = Notifier::to(dir.path().join("nobody").as_ref()).unwrap();
        for _ in 0..100 {
            notifier.send("WATCHDOG=1".to_owned());
        }
        assert!(!notifier.is_behind());
    }
}
