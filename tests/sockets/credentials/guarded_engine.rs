//! An engine with a credentials file, and a token for each principal in a file of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use callboard::engine::TokenHash;
use callboard::worker::{Builder, Changes, Notice, Token, Worker};

use super::PATIENCE;
use crate::running::{Running, finished};

pub(crate) struct GuardedEngine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Running,
    pub(crate) address: String,
}

/// The token of a principal here.
pub(crate) fn token(principal: &str) -> String {
    format!("cbt_of_{principal}")
}

/// A principal with its token, and what else it has.
pub(crate) fn principal(name: &str, rest: &str) -> String {
    let hash = TokenHash::of(&token(name));
    format!("[principals.{name}]\ntokens = [\"{hash}\"]\n{rest}\n")
}

/// One who may do everything.
pub(crate) fn god() -> String {
    let all = ["register", "call", "observe", "emit", "bind", "admin"];
    let all: Vec<String> = all
        .iter()
        .map(|verb| format!("{verb} = [\"\"]\n"))
        .collect();
    principal("god", &all.concat())
}

/// A file that only its owner may read.
pub(crate) fn write_guarded(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

impl GuardedEngine {
    /// An engine with these credentials, on a port of this host and a Unix socket.
    pub(crate) fn new(credentials: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.toml");
        write_guarded(&file, credentials);
        Self::start(dir, &["--credentials", file.to_str().unwrap()])
    }

    /// One without.
    pub(crate) fn open() -> Self {
        Self::start(tempfile::tempdir().unwrap(), &[])
    }

    fn start(dir: tempfile::TempDir, arguments: &[&str]) -> Self {
        let socket = format!("unix:{}", dir.path().join("socket").display());
        let listen = ["serve", "--listen", "127.0.0.1:0", "--listen", &socket];
        let mut engine = Running::start(&[&listen, arguments].concat());
        let line = engine.error("listening on 127.0.0.1:");
        let address = line.split("listening on ").nth(1).unwrap().to_owned();
        engine.error("listening on unix:");
        if !arguments.is_empty() {
            engine.error("credentials of ");
        }
        Self {
            dir,
            engine,
            address,
        }
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix:{}", self.dir.path().join("socket").display())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("credentials.toml")
    }

    /// Other credentials from now on. Returns the line of the log that says what came of it.
    pub(crate) fn reload(&mut self, credentials: &str) -> String {
        write_guarded(&self.file(), credentials);
        self.engine.signal("HUP");
        let line = self.engine.error("credentials");
        // The line about the differences comes before the one about their effect.
        if line.contains("audit: ") {
            return self.engine.error("credentials");
        }
        line
    }

    /// Replaces the file and has the engine read it. Returns the line about what is different.
    pub(crate) fn reload_audited(&mut self, credentials: &str) -> String {
        write_guarded(&self.file(), credentials);
        self.engine.signal("HUP");
        self.engine.error("audit: the credentials were reloaded")
    }

    /// The file that has a principal's token.
    pub(crate) fn token_file(&self, principal: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{principal}.token"));
        if !path.exists() {
            write_guarded(&path, &format!("{}\n", token(principal)));
        }
        path
    }

    fn arguments<'a>(&'a self, file: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        let (command, rest) = arguments.split_at(1);
        let to = ["--connect", &self.address, "--token-file", file];
        [command, &to, rest].concat()
    }

    /// Runs a command as this principal.
    pub(crate) fn run(&self, principal: &str, arguments: &[&str]) -> (i32, String, String) {
        let file = self.token_file(principal);
        finished(&self.arguments(file.to_str().unwrap(), arguments))
    }

    /// Starts a command as this principal.
    pub(crate) fn start_cli(&self, principal: &str, arguments: &[&str]) -> Running {
        let file = self.token_file(principal);
        Running::start(&self.arguments(file.to_str().unwrap(), arguments))
    }

    pub(crate) fn builder(&self, principal: &str, worker: &str) -> Builder {
        let builder = Worker::builder(worker).engine(&self.address).unwrap();
        builder.token(Token::file(self.token_file(principal)))
    }

    pub(crate) fn worker(&self, principal: &str, worker: &str) -> Worker {
        self.builder(principal, worker).connect(PATIENCE).unwrap()
    }
}

/// The next notice for which `choose` finds something.
pub(crate) fn await_notice<T>(changes: &mut Changes, choose: impl Fn(Notice) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let notice = changes.recv_timeout(left).expect("a notice in time");
        if let Some(found) = choose(notice.expect("the worker is over")) {
            return found;
        }
    }
}

pub(crate) fn await_connected(changes: &mut Changes) {
    await_notice(changes, |notice| {
        matches!(notice, Notice::Connected(_)).then_some(())
    });
}
