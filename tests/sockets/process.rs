//! This test's own program, started again to be a process that can be killed or measured: an engine or a
//! worker. It ends with its parent, whichever way that one ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use callboard::address::Address;
use callboard::protocol::{Bin, Outcome};
use callboard::server::{Server, ServerConfig};

use crate::client::{PATIENCE, until};
use crate::peer::{Peer, nothing, numbered, patient};

/// Says what the process is to be: `engine FLAG=VALUE…`, `worker ADDRESS NAME PREFIX COUNT`, which provides so
/// many functions and reads nothing, or `provider ADDRESS NAME FUNCTION`, which answers with its name.
const ROLE: &str = "CALLBOARD_TEST_ROLE";

/// Before each line that is meant for the parent; the test harness prints lines of its own.
const MARK: &str = "> ";

/// Not a test by itself: what the started program runs.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.split_whitespace().collect();
    match words[..] {
        ["engine", ..] => be_engine(&words[1..]),
        ["worker", address, name, prefix, count] => {
            let count = count.parse().unwrap();
            let mut peer = Peer::join(&address.parse().unwrap(), name, &nothing());
            peer.register(&numbered(prefix, count)).unwrap();
            tell("registered");
            wait_for_parent();
        }
        ["provider", address, name, function] => {
            be_provider(&address.parse().unwrap(), name, function);
        }
        _ => panic!("no such role: {role}"),
    }
    std::process::exit(0);
}

fn be_engine(flags: &[&str]) {
    let mut limits = patient();
    for flag in flags {
        let (flag, value) = flag.split_once('=').unwrap();
        *limits.by_flag(flag).unwrap() = value.parse().unwrap();
    }
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        limits,
        ..ServerConfig::default()
    };
    let server = Server::spawn(config).unwrap();
    tell(&server.addresses()[0].to_string());
    wait_for_parent();
}

fn be_provider(address: &Address, name: &str, function: &str) {
    let mut peer = Peer::join(address, name, &nothing());
    peer.register(&[function]).unwrap();
    // It may be stopped for as long as its parent likes.
    peer.socket.set_read_timeout(None).unwrap();
    tell("registered");
    let mut answered = 0;
    while !peer.ended {
        let asked = peer.reader.invocations().skip(answered);
        let asked: Vec<u64> = asked.map(|invocation| invocation.id).collect();
        for id in asked {
            let answer = Outcome {
                id,
                payload: Bin(name.as_bytes()),
                ..Outcome::default()
            };
            peer.send(&answer.to_frame());
            answered += 1;
        }
        peer.read_on();
    }
}

fn tell(line: &str) {
    println!("\n{MARK}{line}");
}

/// The parent holds the other end of our standard input and never writes.
fn wait_for_parent() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// A started process. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    _stdin: ChildStdin,
}

impl Process {
    pub(crate) fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::process", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            for line in lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)) {
                let _ = tell.send(line);
            }
        });
        Self {
            _stdin: child.stdin.take().unwrap(),
            child,
            lines,
        }
    }

    /// An engine with these limits, and where it listens.
    pub(crate) fn engine(flags: &str) -> (Self, Address) {
        let process = Self::start(&format!("engine {flags}"));
        let address = process.line().parse().unwrap();
        (process, address)
    }

    /// The next line that it tells.
    pub(crate) fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("the process says nothing")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP. Returns when all of its threads stand still.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
        until("all threads stand still", || {
            let tasks = format!("/proc/{}/task", self.child.id());
            let tasks = std::fs::read_dir(tasks).unwrap();
            let mut statuses = tasks
                .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
            statuses.all(|status| status.contains("\nState:\tT"))
        });
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success(), "SIG{name}");
    }

    /// Bytes that it has in memory now.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
