//! The engine that is attacked: a binary in a process of its own, with the limits that it has by default. Says how long
//! its turns were, and how much memory it took at most. Ends with its handle, by its id.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use callboard::protocol::{Call, Message, Text, Watch};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::link::{DEFAULT, Link};
use super::user::{User, credentials};
use crate::process;

/// How long an engine may take until it listens.
const START: Duration = Duration::from_secs(15);

/// A port is free when it is looked for; another program may take it before the engine does.
const ATTEMPTS: usize = 3;

/// What of `engine::stats` is read.
#[derive(Deserialize)]
struct Stats {
    turn_us: Turns,
}

#[derive(Deserialize)]
struct Turns {
    max: u64,
}

pub(super) struct Target {
    child: Child,
    pub(super) address: String,
    /// Holds the credentials.
    folder: TempDir,
}

impl Target {
    /// Starts an engine. `guarded`: with credentials.
    pub(super) fn start(program: &Path, guarded: bool) -> Self {
        (0..ATTEMPTS)
            .find_map(|_| Self::attempt(program, guarded))
            .expect("an engine that listens")
    }

    fn attempt(program: &Path, guarded: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            free.local_addr().expect("an address").port()
        };
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command.args(["serve", "--log", "error", "--listen", &address]);
        if guarded {
            let path = write_credentials(&folder, false);
            command.arg("--credentials").arg(path);
        }
        let said = File::create(folder.path().join("said")).expect("a file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        // A process inherits where it may run.
        process::pin(true);
        let child = command.spawn();
        process::pin(false);
        let mut child = child.expect("setpriv, of util-linux, and the engine");
        let until = Instant::now() + START;
        while TcpStream::connect(&address).is_err() {
            let ended = child.try_wait().expect("a child").is_some();
            if ended || Instant::now() > until {
                let said = std::fs::read_to_string(folder.path().join("said"));
                eprintln!("{}", said.unwrap_or_default());
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self {
            child,
            address,
            folder,
        })
    }

    /// The longest turn since the start, in microseconds; `None` if the engine does not say it in time.
    pub(super) fn longest_turn(&self, patience: Duration) -> Option<u64> {
        let until = Instant::now() + patience;
        let to = &self.address;
        let operator = Link::join(to, User::Operator, DEFAULT, Watch::default(), patience);
        let mut operator = operator.ok()?;
        let call = Call {
            id: 1,
            function: Text("engine::stats"),
            ..Call::default()
        };
        operator.send(&call.to_frame()).ok()?;
        let mut longest = None;
        while longest.is_none() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let heard = operator.hear(left, |message| match message {
                Message::Outcome(it) => {
                    let stats: Stats = rmp_serde::from_slice(it.payload.0).expect("its stats");
                    longest = Some(stats.turn_us.max);
                }
                Message::Failure(it) => panic!("engine::stats: {}", it.message.0),
                _ => {}
            });
            heard.ok()?;
        }
        longest
    }

    /// The most memory that it had so far, in bytes, and what it has now.
    pub(super) fn memory(&self) -> [u64; 2] {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        ["VmHWM:", "VmRSS:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.map_or(0, |kib: u64| kib * 1024)
        })
    }

    /// How long it worked so far, and how long it could have worked and had no processor.
    pub(super) fn processor(&self) -> [Duration; 2] {
        let id = self.child.id();
        // The engine's thread is the first; it has no other to speak of.
        let path = format!("/proc/{id}/task/{id}/schedstat");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut numbers = text.split_whitespace().map_while(|it| it.parse().ok());
        [(); 2].map(|()| Duration::from_nanos(numbers.next().unwrap_or_default()))
    }

    pub(super) fn reloader(&self) -> Reloader {
        Reloader {
            folder: self.folder.path().to_owned(),
            engine: Pid::from_child(&self.child),
            by_prefixes: false,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Changes the rights of the attacker, again and again.
pub(super) struct Reloader {
    folder: PathBuf,
    engine: Pid,
    by_prefixes: bool,
}

impl Reloader {
    pub(super) fn reload(&mut self) {
        self.by_prefixes = !self.by_prefixes;
        write_file(&self.folder, self.by_prefixes);
        kill_process(self.engine, Signal::HUP).expect("the engine runs");
    }
}

fn write_credentials(folder: &TempDir, by_prefixes: bool) -> PathBuf {
    write_file(folder.path(), by_prefixes)
}

/// Replaces the file in one step.
fn write_file(folder: &Path, by_prefixes: bool) -> PathBuf {
    let (new, path) = (folder.join("new"), folder.join("credentials.toml"));
    let mut file = OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&new).expect("a file");
    file.write_all(credentials(by_prefixes).as_bytes())
        .expect("a file");
    std::fs::rename(new, &path).expect("a file");
    path
}
