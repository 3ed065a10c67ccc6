//! Processes started as a service manager starts them: with sockets from descriptor 3 on, and with what
//! it says in the environment. A shell in between puts them there: it may name descriptors by number.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use callboard::address::Address;

use super::DEADLINE;
use crate::client::until;

/// What the manager prepares.
pub(crate) struct Start {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Option<Stdio>,
    log: tempfile::NamedTempFile,
    prelude: String,
}

impl Start {
    pub(crate) fn engine(arguments: &[&str]) -> Self {
        Self::new(env!("CARGO_BIN_EXE_callboard"), arguments)
    }

    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            environment: Vec::new(),
            stdin: Stdio::null(),
            stdout: Stdio::null(),
            stderr: None,
            log: tempfile::NamedTempFile::new().unwrap(),
            prelude: String::new(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        let variable = (name.to_owned(), value.to_string());
        self.environment.push(variable);
        self
    }

    /// Standard error goes there instead of into the log that [`Started::log`] reads.
    pub(crate) fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Gives it a socket, as descriptor 3.
    pub(crate) fn socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.stdin = socket.into().into();
        self.shell("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$")
    }

    /// Gives it a second one, as descriptor 4.
    pub(crate) fn second_socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.stdout = socket.into().into();
        self.shell("exec 4>&1 >/dev/null; export LISTEN_FDS=2")
    }

    /// A line for the shell that becomes the process.
    pub(crate) fn shell(mut self, line: &str) -> Self {
        self.prelude.push_str(line);
        self.prelude.push('\n');
        self
    }

    pub(crate) fn spawn(self) -> Started {
        let log = || File::create(self.log.path()).unwrap().into();
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("{}exec \"$0\" \"$@\"", self.prelude))
            .arg(self.program)
            .args(self.arguments)
            .env_remove("CALLBOARD_ADDR")
            .env_remove("RUST_LOG")
            .envs(self.environment)
            .stdin(self.stdin)
            .stdout(self.stdout)
            .stderr(self.stderr.unwrap_or_else(log))
            .spawn()
            .unwrap();
        Started {
            child,
            log: self.log,
        }
    }
}

/// A process. Killed when it is dropped.
pub(crate) struct Started {
    pub(crate) child: Child,
    log: tempfile::NamedTempFile,
}

impl Started {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Where it says that it listens so far, in order.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let log = self.log();
        let said = log
            .lines()
            .filter_map(|line| line.split_once("listening on "));
        said.map(|(_, address)| address.parse().unwrap()).collect()
    }

    /// The only address of an engine that listens.
    pub(crate) fn address(&self) -> Address {
        let mut addresses = self.addresses();
        assert_eq!(addresses.len(), 1, "{}", self.log());
        addresses.remove(0)
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn end(&mut self) -> i32 {
        let begin = Instant::now();
        until("the process ends", || {
            assert!(begin.elapsed() < DEADLINE, "{}", self.log());
            self.child.try_wait().unwrap().is_some()
        });
        let status = self.child.wait().unwrap();
        status.code().expect("an exit code, not a signal")
    }

    /// SIGTERM, and the end of it.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
        assert_eq!(self.end(), 0, "{}", self.log());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
