//! Sends sd_notify(3) datagrams to a service manager. Never blocks: messages that the manager has no room for are
//! queued in order. Does not know what the messages mean.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Address of the manager; a leading `@` marks an abstract name.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The most messages queued. Only a manager that hangs lets more pile up; further messages are dropped then.
const MOST_KEPT: usize = 16;

/// The manager's address, and the messages that could not be sent yet.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    kept: VecDeque<String>,
}

impl Notifier {
    /// The manager named by the environment, if any.
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
        // The crates for this wait for room, and the engine would hang together with its manager.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            manager,
            kept: VecDeque::new(),
        })
    }

    /// Sends assignments, one per line, after the queued ones.
    pub(super) fn send(&mut self, message: String) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push_back(message);
        }
        self.send_kept();
    }

    /// Tries to send the queued messages.
    pub(super) fn send_kept(&mut self) {
        while let Some(message) = self.kept.front() {
            // Resolves the address each time: a restarted manager listens on a new socket.
            let sent = self.socket.send_to_addr(message.as_bytes(), &self.manager);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => log::debug!("cannot notify the service manager: {error}"),
                Ok(_) => {}
            }
            self.kept.pop_front();
        }
    }

    /// Whether messages are queued.
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

    /// A manager at a path, in a folder that is there as long as the first, and a notifier of it.
    fn manager() -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_ref()).unwrap();
        (dir, manager, notifier)
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
        let (_dir, manager, mut notifier) = manager();
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
    fn for_a_manager_that_never_reads_no_more_than_16_messages_are_kept() {
        let (_dir, _manager, mut notifier) = manager();
        while !notifier.is_behind() {
            notifier.send("STATUS=".to_owned());
        }
        for kept in 2..100 {
            notifier.send("STATUS=".to_owned());
            assert_eq!(notifier.kept.len(), kept.min(MOST_KEPT));
        }
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
