//! A server that is a process of its own: signals, stalls, and too few file descriptors. The process
//! is this test's own program, started again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::client::{Client, End, View};
use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{Message, Pong};
use callboard::server::{Server, ServerConfig};

/// Flags of limits for the process, as `flag=value` with spaces between.
const LIMITS: &str = "CALLBOARD_TEST_LIMITS";

/// Not a test by itself: what the process runs that the tests start.
#[test]
fn process() {
    let Ok(flags) = std::env::var(LIMITS) else {
        return;
    };
    let mut limits = Limits::default();
    for (flag, value) in flags.split_whitespace().map(|f| f.split_once('=').unwrap()) {
        *limits.by_flag(flag).unwrap() = value.parse().unwrap();
    }
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .init();
    let server = Server::bind(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        limits,
        handle_signals: true,
        ..ServerConfig::default()
    })
    .unwrap();
    println!("\nat {}", server.local_addresses()[0]);
    std::process::exit(i32::from(server.run().is_err()));
}

/// The process, seen from outside. Killed when it is dropped.
struct Process {
    child: Child,
    at: Address,
    log: tempfile::NamedTempFile,
}

impl Process {
    /// Starts it; `prelude` is what the shell does before.
    fn start(prelude: &str, limits: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{prelude}\nexec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "server_process::process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(LIMITS, limits)
            .stdout(Stdio::piped())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = lines
            .find_map(|line| Some(line.unwrap().strip_prefix("at ")?.parse().unwrap()))
            .expect("the process says where it listens");
        Self { child, at, log }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until the kernel has really stopped it.
    fn wait_until_stopped(&self) {
        let path = format!("/proc/{}/stat", self.child.id());
        crate::client::until("it is stopped", || {
            let stat = std::fs::read_to_string(&path).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        });
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        crate::client::until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sigterm_drains_says_goodbye_with_jitter_and_exits_0() {
    let mut process = Process::start("", "grace=2000");
    let mut clients: Vec<Client> = (0..20)
        .map(|i| Client::join_all(&process.at, &format!("worker-{i}")))
        .collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.register(&[&format!("f::{i}")]).unwrap();
    }
    process.signal("TERM");
    let mut retries = BTreeSet::new();
    for client in &mut clients {
        client.next_where(|message| matches!(message, Message::Drain(_)));
        // From here on no change comes, in whichever order they leave.
        let goodbye = client.next_where(|message| {
            assert!(!matches!(message, Message::Changes(_)), "{message:?}");
            matches!(message, Message::Goodbye(_))
        });
        let Message::Goodbye(goodbye) = goodbye.message() else {
            unreachable!()
        };
        assert_eq!(goodbye.code.0, "shutting_down");
        retries.insert(goodbye.ext.retry_after_ms.expect("when to come back"));
        assert_eq!(client.next_or_end(), Err(End::Clean));
        client.finish();
    }
    assert!(retries.len() > 5, "all come back at once: {retries:?}");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    assert!(process.log().contains("shutting down"));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut process = Process::start("", "grace=600000 linger=600000");
    let mut client = Client::join(&process.at, "worker");
    process.signal("TERM");
    client.next_where(|message| matches!(message, Message::Drain(_)));
    process.signal("INT");
    // The client closes nothing, and the times it would be given are long.
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_stall_of_the_engine_expires_no_connection() {
    let process = Process::start("", "ping-after=200 silence=800 hello-timeout=800");
    let mut talker = Client::join(&process.at, "talker");
    let mut listener = Client::join(&process.at, "listener");
    let mut starter = Client::connect(&process.at);
    talker.register(&["talker::f"]).unwrap();
    listener.register(&["listener::f"]).unwrap();

    process.signal("STOP");
    process.wait_until_stopped();
    starter.send(&crate::client::hello(
        "starter",
        callboard::protocol::Watch::default(),
    ));
    // Longer than anybody may be silent; one talks on meanwhile, the other has nothing to answer.
    for _ in 0..5 {
        assert_eq!(talker.next_within(Duration::from_millis(300)), None);
        talker.send(&Pong::default().to_frame());
    }
    process.signal("CONT");

    assert!(matches!(starter.next().message(), Message::Welcome(_)));
    // Asked only now, it may take as long for its answer as if the engine had asked in time.
    listener.next_where(|message| matches!(message, Message::Ping(_)));
    assert_eq!(listener.next_within(Duration::from_millis(100)), None);
    listener.send(&Pong::default().to_frame());
    assert!(listener.is_served());
    assert!(talker.is_served());
    let mut fresh = Client::join_all(&process.at, "fresh");
    assert_eq!(View::sync(&mut fresh).names(), ["listener::f", "talker::f"]);
}

#[test]
fn without_descriptors_the_engine_lives_on_and_accepts_again() {
    let process = Process::start("ulimit -n 60", "hello-timeout=60000");
    let mut resident = Client::join(&process.at, "resident");
    // More than it has descriptors for: the rest waits in the kernel.
    let mut crowd: Vec<Client> = (0..120).map(|_| Client::connect(&process.at)).collect();
    for client in &mut crowd {
        client.send(&crate::client::hello(
            "crowd",
            callboard::protocol::Watch::default(),
        ));
    }
    crate::client::until("it runs out of descriptors", || {
        process.log().contains("cannot accept")
    });
    assert!(resident.is_served());
    while !crowd.is_empty() {
        let mut client = crowd.remove(0);
        assert!(matches!(client.next().message(), Message::Welcome(_)));
        client.finish();
    }
    assert!(resident.is_served());
    let mut late = Client::join(&process.at, "late");
    assert!(late.is_served());
    let lines = process.log().matches("cannot accept").count();
    assert_eq!(lines, 1, "{}", process.log());
}
