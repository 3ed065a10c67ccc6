//! A service manager's end of notifications: the datagram socket that NOTIFY_SOCKET names. Hears what is reported, and
//! absent reports; starts nothing.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::DEADLINE;

pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl NotifySocket {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, dir }
    }

    /// What NOTIFY_SOCKET says.
    pub(crate) fn path(&self) -> String {
        let path = self.dir.path().join("notify");
        path.to_str().unwrap().to_owned()
    }

    /// The next report.
    pub(crate) fn next(&self) -> String {
        self.next_or_silence().expect("a report in time")
    }

    fn next_or_silence(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    // A socket with a timeout is interrupted by a stop of the whole process, too.
                    io::ErrorKind::Interrupted => {}
                    _ => panic!("{error}"),
                },
            }
        }
    }

    /// The next report that contains this.
    pub(crate) fn hears(&self, part: &str) -> String {
        loop {
            let report = self.next();
            if report.contains(part) {
                return report;
            }
        }
    }

    /// Waits until nothing was reported for this long.
    pub(crate) fn hears_nothing_for(&self, silence: Duration) {
        self.socket.set_read_timeout(Some(silence)).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while let Some(report) = self.next_or_silence() {
            assert!(Instant::now() < deadline, "still: {report}");
        }
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
    }

    /// What was reported and not heard yet. For processes that ended: nothing follows.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let rest = std::iter::from_fn(|| self.next_or_silence()).collect();
        self.socket.set_nonblocking(false).unwrap();
        rest
    }
}
