//! The worker in a process of its own, which the demo kills: the code of that process, and the demo's handle to it.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use callboard::address::Address;
use callboard::worker::{Function, Watch, Worker};

use super::error::DemoError;
use crate::cli::failure::Failure;

/// The command that starts this process.
pub(super) const DEMO: &str = "demo";

/// The flag that turns a process into this worker.
pub(super) const REPORTS_FLAG: &str = "as-reports";

/// The number of functions that it provides.
pub(super) const FUNCTIONS: usize = 500;

/// The timeout for connecting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Names of the functions, in order.
pub(super) fn names() -> impl Iterator<Item = String> {
    (0..FUNCTIONS).map(|i| format!("reports::{i:03}"))
}

/// The code of the process: registers, and waits until standard input ends, which happens with the demo's process
/// at the latest.
pub(super) fn run(engine: Address) -> Result<(), Failure> {
    let worker = Worker::builder("reports")
        .addresses([engine])
        .watch(Watch::nothing())
        .connect(TIMEOUT)?;
    worker.register(names().map(|name| Function::new(name).description("One of many reports")))?;
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).map_err(Failure::Input)?;
    worker.close();
    Ok(())
}

/// The running process. Dropping it kills the process.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(engine: &Address) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(DemoError::System)?;
        let child = Command::new(program)
            .arg(DEMO)
            .arg(format!("--{REPORTS_FLAG}"))
            .arg(engine.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(DemoError::System)?;
        Ok(Self(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends SIGKILL. The drop reaps the process.
    pub(super) fn kill(&mut self) -> Result<(), DemoError> {
        self.0.kill().map_err(DemoError::System)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
