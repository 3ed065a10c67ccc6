//! A target of the comparison: it runs in a process of its own and speaks one of the protocols.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::floor;
use crate::process::Process;
use crate::processors;
use crate::server::{self, Kind, Server};
use crate::wire::Tongue;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) tongue: Tongue,
    pub(crate) address: SocketAddr,
    id: u32,
    /// Ends with the target.
    _running: Running,
}

#[allow(dead_code, reason = "they are held until the target goes")]
enum Running {
    Floor(Process),
    Server(Server),
}

/// The programs that are there.
pub(crate) struct Programs {
    pub(crate) engine: PathBuf,
    pub(crate) peers: Vec<(Kind, PathBuf)>,
    /// Where servers may store something: in memory if there is such a place.
    pub(crate) scratch: PathBuf,
}

impl Programs {
    /// Where a peer's program is, if it takes part.
    fn peer(&self, kind: Kind) -> Option<&Path> {
        let found = self.peers.iter().find(|(it, _)| *it == kind);
        found.map(|(_, path)| &**path)
    }
}

impl Target {
    pub(crate) fn floor() -> Self {
        let process = processors::on_the_servers(|| Process::start(floor::ROLE));
        Self {
            name: "floor",
            tongue: Tongue::Raw,
            address: process.addresses[0].parse().expect("an address"),
            id: process.id,
            _running: Running::Floor(process),
        }
    }

    pub(crate) fn callboard(programs: &Programs) -> Result<Self, String> {
        Self::server(Kind::Callboard, &programs.engine, programs)
    }

    /// A peer, if it takes part.
    pub(crate) fn peer(kind: Kind, programs: &Programs) -> Result<Option<Self>, String> {
        let program = programs.peer(kind);
        program
            .map(|program| Self::server(kind, program, programs))
            .transpose()
    }

    fn server(kind: Kind, program: &Path, programs: &Programs) -> Result<Self, String> {
        let tongue = match kind {
            Kind::Callboard => Tongue::Callboard,
            Kind::Redis => Tongue::Redis,
            Kind::Nats => Tongue::Nats,
            Kind::Etcd => Tongue::Etcd,
        };
        let server = Server::start(kind, program, &programs.scratch)
            .map_err(|fault| format!("{} {fault}", kind.name()))?;
        Ok(Self {
            name: kind.name(),
            tongue,
            address: server.address,
            id: server.id(),
            _running: Running::Server(server),
        })
    }

    /// What an engine counts under this name, by its own command line.
    pub(crate) fn stat(&self, programs: &Programs, name: &str) -> Result<u64, String> {
        let said = Command::new(&programs.engine)
            .args(["stats", "--json", "--connect", &self.address.to_string()])
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        stat(&said, name).ok_or_else(|| format!("no {name} among {said}"))
    }

    /// Processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        server::processor_time(self.id)
    }

    /// Bytes of user-space memory that it holds.
    pub(crate) fn memory(&self) -> u64 {
        server::memory(self.id)
    }
}

/// A number of this name in an object of JSON.
fn stat(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let digits = rest.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_name() {
        let json = "{\"behind\": 100,\"calls\":7}";
        assert_eq!(stat(json, "behind"), Some(100));
        assert_eq!(stat(json, "calls"), Some(7));
        assert_eq!(stat(json, "parked"), None);
    }
}
