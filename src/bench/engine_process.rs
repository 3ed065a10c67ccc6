//! A process on this machine, of an engine or this one: its processor time and its private memory. Reads `/proc`
//! and changes nothing. What it may not read is unknown.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, Socket};

/// A process on this machine, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineProcess {
    id: u32,
}

impl EngineProcess {
    /// The process with this id.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of_id(id: u32) -> io::Result<Self> {
        fs::metadata(format!("/proc/{id}"))?;
        Ok(Self { id })
    }

    /// The process at the other end of a connection, if it is on this machine and can be found.
    pub(super) fn behind(socket: &Socket) -> Option<Self> {
        let id = if socket.domain().ok()? == Domain::UNIX {
            // It belongs to the process that listened first: with socket activation that is systemd, not the
            // engine.
            let id = socket_peercred(socket).ok()?.pid.as_raw_nonzero().get();
            u32::try_from(id).ok().filter(|&id| id != 1)
        } else {
            let (here, there) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
            let inode = inode(there.as_socket()?, here.as_socket()?)?;
            holder(&format!("socket:[{inode}]"))
        };
        // An engine within the measuring process cannot be measured separately.
        let id = id.filter(|&id| id != std::process::id())?;
        Self::of_id(id).ok()
    }

    /// Its id.
    #[must_use]
    pub fn id(self) -> u32 {
        self.id
    }

    /// Processor time of all its threads so far, including kernel time. For a running thread, up to its last tick.
    #[must_use]
    pub fn cpu(self) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id)).ok()?;
        let mut nanoseconds = 0;
        for task in tasks.flatten() {
            // A thread may end in the meantime.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let used: u64 = text.split(' ').next()?.parse().ok()?;
            nanoseconds += used;
        }
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Private memory in bytes: heap and stacks, without program text and the kernel's socket buffers.
    #[must_use]
    pub fn memory(self) -> Option<u64> {
        // From `smaps_rollup`, because the sums in `status` are rounded per thread.
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id)).ok()?;
        let line = text.lines().find(|line| line.starts_with("Anonymous:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

/// The inode of the TCP socket with these two addresses.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let same_family = match local.ip() {
        IpAddr::V4(_) => "/proc/net/tcp",
        IpAddr::V6(_) => "/proc/net/tcp6",
    };
    let found = find_inode(same_family, &hex(local), &hex(remote));
    // An engine that listens on `[::]` sees IPv4 peers under mapped addresses.
    found.or_else(|| find_inode("/proc/net/tcp6", &hex(mapped(local)), &hex(mapped(remote))))
}

fn find_inode(table: &str, local: &str, remote: &str) -> Option<u64> {
    let text = fs::read_to_string(table).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = words.next()? == local && words.next()? == remote;
        let inode = words.nth(6)?.parse().ok()?;
        // 0: not accepted yet, or already closed.
        (is_it && inode != 0).then_some(inode)
    })
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// An address in the form of `/proc/net/tcp`: 32-bit words in the machine's byte order.
fn hex(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut out = String::new();
    for word in bytes.chunks_exact(4) {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        // Writing to memory does not fail.
        let _ = write!(out, "{word:08X}");
    }
    format!("{out}:{:04X}", address.port())
}

/// The process that has this file open.
fn holder(target: &str) -> Option<u32> {
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let id = process.file_name().to_str().and_then(|it| it.parse().ok());
        let Some(id) = id else {
            continue;
        };
        // Processes of other users may not be read.
        let Ok(open) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for file in open.flatten() {
            if fs::read_link(file.path()).is_ok_and(|link| link == Path::new(target)) {
                return Some(id);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        let v4: SocketAddr = "127.0.0.1:4747".parse().unwrap();
        let little = cfg!(target_endian = "little");
        assert_eq!(
            hex(v4),
            if little {
                "0100007F:128B"
            } else {
                "7F000001:128B"
            }
        );
        let v6 = mapped(v4);
        assert_eq!(v6.to_string(), "[::ffff:127.0.0.1]:4747");
        if little {
            assert_eq!(hex(v6), "0000000000000000FFFF00000100007F:128B");
        }
    }

    #[test]
    fn a_socket_leads_to_the_process_that_holds_it() {
        let own = std::process::id();
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            let here = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (_there, _) = listener.accept().unwrap();
            let addresses = (here.peer_addr().unwrap(), here.local_addr().unwrap());
            let inode = inode(addresses.0, addresses.1).expect("an inode");
            assert_eq!(holder(&format!("socket:[{inode}]")), Some(own), "{listen}");
            // It is this process, whose figures would include the bench's.
            assert_eq!(EngineProcess::behind(&Socket::from(here)), None);
        }
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let here = UnixStream::connect(directory.path().join("socket")).unwrap();
        let credentials = socket_peercred(&here).unwrap();
        let id = credentials.pid.as_raw_nonzero().get();
        assert_eq!(u32::try_from(id), Ok(own));
        drop(listener);
        assert_eq!(EngineProcess::behind(&Socket::from(here)), None);
    }

    #[test]
    fn a_process_says_what_it_uses() {
        let own = EngineProcess::of_id(std::process::id()).unwrap();
        let before = own.cpu().expect("it runs");
        let ballast = vec![1_u8; 8 << 20];
        assert!(own.memory().expect("it weighs") > ballast.len() as u64);
        assert!(own.cpu().unwrap() >= before);
        // No process has this id: it is above the kernel's maximum.
        assert!(EngineProcess::of_id(u32::MAX).is_err());
    }
}
