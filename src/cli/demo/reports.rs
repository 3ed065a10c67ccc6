//! The worker that runs in a process of its own, so that there is something to kill: the process's
//! inside, and the handle that the demo holds of it.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use callboard::address::Address;
use callboard::worker::{Function, Watch, Worker};

use super::error::DemoError;
use crate::cli::failure::Failure;

/// The command that starts this process.
pub(super) const DEMO: &str = "demo";

/// The flag that makes a process this one.
pub(super) const REPORTS_FLAG: &str = "as-reports";

/// How many functions it provides.
pub(super) const FUNCTIONS: usize = 500;

/// How long it may take to connect.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Names of the functions, in order.
pub(super) fn names() -> impl Iterator<Item = String> {
    (0..FUNCTIONS).map(|i| format!("reports::{i:03}"))
}

/// The process's inside: registers, and stays until standard input ends. It ends with the demo's process,
/// however that ends.
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

/// The running process. A drop ends it.
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

    /// Sends SIGKILL. Its end is collected by the drop.
    pub(super) fn kill(&mut self) -> Result<(), DemoError> {
        self.0.kill().map_err(DemoError::System)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it does now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
