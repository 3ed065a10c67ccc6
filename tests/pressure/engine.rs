//! An engine that is a process of the real binary, seen from outside: what it weighs, what it says about
//! itself, and its end and return at the same address. Knows nothing of what is tested.

use std::net::SocketAddr;
use std::time::Duration;

use callboard::address::Address;
use rmpv::Value;

use crate::client::until;
use crate::machine;
use crate::peer::{Peer, nothing};
use crate::reader::CallEnding;
use crate::running::Running;
use crate::talk::plain;

/// None of the engine's clocks: how quick the machine is shall decide nothing.
pub(crate) const PATIENT: &[&str] = &[
    "--hello-timeout=600000",
    "--frame-timeout=600000",
    "--ping-after=600000",
    "--silence=1200000",
    "--write-deadline=600000",
    "--ready-timeout=600000",
];

/// What the loop says, and no line for every connection: thousands come and go.
const LOG: &str = "warn,callboard::server=info";

/// An engine in a process of its own. Its drop kills it.
pub(crate) struct Engine {
    process: Running,
    flags: Vec<String>,
    lifetime: Duration,
    at: String,
}

impl Engine {
    /// Serves at a free port with these flags. Killed when it has run for `minutes`.
    pub(crate) fn start(minutes: u64, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let lifetime = Duration::from_secs(60 * minutes);
        let (process, at) = serve(lifetime, "127.0.0.1:0", &flags);
        Self {
            process,
            flags,
            lifetime,
            at,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.at.parse().unwrap()
    }

    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.at.parse().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again where it was, once it is dead.
    pub(crate) fn restart(&mut self) {
        let (process, at) = serve(self.lifetime, &self.at, &self.flags);
        assert_eq!(at, self.at);
        self.process = process;
    }

    /// SIGSTOP. Returns when it stands still.
    pub(crate) fn stop(&self) {
        self.process.signal("STOP");
        let path = format!("/proc/{}/stat", self.id());
        until("it is stopped", || {
            let stat = std::fs::read_to_string(&path).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        });
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.process.signal("CONT");
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn memory(&self) -> u64 {
        machine::memory(self.id())
    }

    pub(crate) fn descriptors(&self) -> usize {
        machine::descriptors(self.id())
    }

    /// What it logs up to the next line that contains this.
    pub(crate) fn log_until(&mut self, part: &str) -> Vec<String> {
        self.process.errors_until(part)
    }

    /// What `engine::stats` says, over a connection of its own.
    pub(crate) fn stats(&self) -> Value {
        let mut asking = Peer::join(&self.address(), "asking", &nothing());
        match asking.call_out("engine::stats", b"", plain()) {
            CallEnding::Result(payload) => rmpv::decode::read_value(&mut &payload[..]).unwrap(),
            CallEnding::Failure(failure) => panic!("{failure:?}"),
        }
    }

    /// One number of it.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {stats}"))
    }
}

fn serve(lifetime: Duration, listen: &str, flags: &[String]) -> (Running, String) {
    let mut arguments = vec!["serve", "--listen", listen];
    arguments.extend(flags.iter().map(|flag| &**flag));
    let mut process = Running::start_for(lifetime, &arguments, &[("RUST_LOG", LOG)]);
    let line = process.error("listening on ");
    let at = line.split("listening on ").nth(1).expect("an address");
    (process, at.to_owned())
}
