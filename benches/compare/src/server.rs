//! A server that a comparison starts: Callboard as packages have it, and what the distribution's packages bring. Each runs on
//! the servers' processor, listens on a free port of the loopback, stores nothing that outlasts it, and is killed
//! by its id, at the latest when this program ends. What it says goes to a file, and to the screen if it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process;
use crate::processors;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(15);

/// Ports are free when they are looked for; another program may take one before the server does.
const ATTEMPTS: usize = 3;

/// The engine's limits that are not its defaults: no connection is pinged, expired or rationed, so that
/// the comparison alone causes what is measured.
pub(crate) const ENGINE_FLAGS: [(&str, &str); 7] = [
    ("changes-per-second", "0"),
    ("max-share", "0"),
    ("ping-after", "3600000"),
    ("silence", "7200000"),
    ("write-deadline", "7200000"),
    ("hello-timeout", "60000"),
    ("log", "warn"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Callboard,
    Redis,
    Nats,
    Etcd,
}

impl Kind {
    pub(crate) const PEERS: [Self; 3] = [Self::Redis, Self::Nats, Self::Etcd];

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Callboard => "Callboard",
            Self::Redis => "Redis",
            Self::Nats => "NATS",
            Self::Etcd => "etcd",
        }
    }

    /// The program, and the package of Debian that brings it.
    pub(crate) fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Callboard => ("callboard", ""),
            Self::Redis => ("redis-server", "redis-server"),
            Self::Nats => ("nats-server", "nats-server"),
            Self::Etcd => ("etcd", "etcd-server"),
        }
    }

    /// Where the program is, if it is installed.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let mut files = folders.map(|folder| folder.join(self.program().0));
        files.find(|file| file.is_file())
    }

    /// How it is run: as its own users would for the lowest latency.
    fn arguments(self, port: u16, folder: &Path) -> io::Result<Vec<String>> {
        let folder_text = folder.display();
        let text = match self {
            Self::Callboard => {
                let flags = ENGINE_FLAGS.map(|(flag, value)| format!("--{flag} {value}"));
                format!("serve --listen 127.0.0.1:{port} {}", flags.join(" "))
            }
            Self::Redis => format!(
                "--port {port} --bind 127.0.0.1 --dir {folder_text} --appendonly no --maxclients 15000 \
                 --tcp-backlog 4096 --daemonize no"
            ),
            Self::Nats => {
                // Not among its flags: it would ping in the middle of a measurement.
                std::fs::write(folder.join("nats.conf"), "ping_interval: \"1h\"\n")?;
                format!("-a 127.0.0.1 -p {port} -c {folder_text}/nats.conf")
            }
            Self::Etcd => {
                let peer = free_port()?;
                format!(
                    "--data-dir {folder_text}/data --listen-client-urls http://127.0.0.1:{port} \
                     --advertise-client-urls http://127.0.0.1:{port} \
                     --listen-peer-urls http://127.0.0.1:{peer} \
                     --initial-advertise-peer-urls http://127.0.0.1:{peer} \
                     --initial-cluster default=http://127.0.0.1:{peer} --log-level error"
                )
            }
        };
        let mut arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if self == Self::Redis {
            arguments.extend(["--save".to_owned(), String::new()]);
        }
        Ok(arguments)
    }
}

/// What a program says about its version.
pub(crate) fn version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output();
    let said = said.map_or_else(
        |error| error.to_string(),
        |it| String::from_utf8_lossy(&it.stdout).into_owned(),
    );
    said.lines().next().unwrap_or("unknown").to_owned()
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it; it listens then. What it stores goes into a folder of its own below `scratch`.
    pub(crate) fn start(kind: Kind, program: &Path, scratch: &Path) -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(kind, program, scratch) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(format!("does not start: {last}"))
    }

    fn attempt(kind: Kind, program: &Path, scratch: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir_in(scratch).map_err(|error| error.to_string())?;
        // It goes with all of `scratch`.
        let folder = folder.keep();
        let said = folder.join("said");
        let prepared = || -> io::Result<_> {
            let port = free_port()?;
            let arguments = kind.arguments(port, &folder)?;
            let output = File::create(&said)?;
            let child = processors::on_the_servers(|| spawn(program, &arguments, output))?;
            Ok((child, port))
        };
        let (child, port) = prepared().map_err(|error| error.to_string())?;
        let mut server = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        let until = Instant::now() + START;
        while TcpStream::connect(server.address).is_err() {
            let ended = server.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > until {
                return Err(std::fs::read_to_string(said).unwrap_or_default());
            }
            // No server reports when it listens.
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is our child and has not been waited for: the id is its own.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts a program that the kernel kills when this thread ends, however it ends.
fn spawn<S: AsRef<OsStr>>(program: &Path, arguments: &[S], output: File) -> io::Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Bytes of memory that a process alone has in use; the kernel's buffers are not among them.
pub(crate) fn memory(id: u32) -> u64 {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("a process of ours");
    anonymous(&text).expect("a number of KiB")
}

fn anonymous(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find(|line| line.starts_with("Anonymous:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time that a process has used.
pub(crate) fn processor_time(id: u32) -> Duration {
    process::processor_time(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_process_alone_holds() {
        let smaps = "Rss:  9 kB\nAnonymous:            5368 kB\nKSM: 0 kB\n";
        assert_eq!(anonymous(smaps), Some(5368 * 1024));
        assert!(memory(std::process::id()) > 0);
    }

    #[test]
    fn each_server_is_told_to_store_nothing_beyond_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        for kind in Kind::PEERS {
            let arguments = kind.arguments(1234, folder.path()).unwrap().join(" ");
            assert!(arguments.contains("1234"), "{arguments}");
            assert!(arguments.contains(&folder.path().display().to_string()));
        }
    }
}
