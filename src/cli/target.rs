//! The engine that a client command connects to: the flags that name it, and the connection.

use std::time::{Duration, Instant};

use callboard::address::{Address, DEFAULT_ADDRESS};
use callboard::protocol::{NameError, check_event_name, check_function_name, check_worker_name};
use callboard::worker::{Builder, CallError, CallOptions, Token, Watch, Worker};

use super::failure::Failure;
use super::logging;
use super::options::{self, Flag, Group, Options};
use super::usage_error::{UsageError, ValueError};

/// Variable that names the engine if no flag does.
const VARIABLE: &str = "CALLBOARD_ADDR";

/// The default timeout for the engine.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The default timeout of a call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The engine's addresses, the namespace, the token and the timeout.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) addresses: Vec<Address>,
    /// `None` for that of the token.
    pub(super) namespace: Option<String>,
    pub(super) token: Option<Token>,
    pub(super) timeout: Duration,
    /// When the timeout began.
    began: Instant,
}

/// The flags of every client command.
pub(super) fn flags() -> Vec<Flag> {
    let flags = [
        Flag::value(
            "connect",
            "ADDR[,ADDR]",
            "host:port or unix:/path; several in order of preference. Without it, the variable \
             CALLBOARD_ADDR.",
        )
        .default(DEFAULT_ADDRESS),
        Flag::value(
            "namespace",
            "NAME",
            "The namespace. Without it, that of the token, or `default`.",
        ),
        Flag::value(
            "token-file",
            "FILE",
            "The file with the token, if the engine requires one. Without it, the variables CALLBOARD_TOKEN \
             and CALLBOARD_TOKEN_FILE.",
        ),
        Flag::value(
            "timeout",
            "TIME",
            "How long to wait for the engine: 500ms, 5s, 1m.",
        )
        .default("5s"),
    ];
    flags.map(|flag| flag.group(Group::Engine)).into()
}

impl Target {
    pub(super) fn read(options: &Options) -> Result<Self, UsageError> {
        Self::read_waiting(options, TIMEOUT)
    }

    /// Like [`read`](Self::read), with another default timeout.
    pub(super) fn read_waiting(options: &Options, timeout: Duration) -> Result<Self, UsageError> {
        let began = Instant::now();
        // Commands print what people need; RUST_LOG shows the details.
        logging::start(None, "off");
        let named = options.parsed("connect", options::addresses)?;
        let addresses = match named {
            Some(addresses) => addresses,
            None => from_environment()?,
        };
        let namespace = options.parsed("namespace", |text| match check_event_name(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(ValueError::Name(error)),
        })?;
        let token = options.value("token-file").map(Token::file);
        let token = token.or_else(Token::from_environment);
        if let Some(token) = &token {
            token.read().map_err(UsageError::Token)?;
        }
        Ok(Self {
            addresses,
            namespace,
            token,
            timeout: options
                .parsed("timeout", options::duration)?
                .unwrap_or(timeout),
            began,
        })
    }

    /// A builder for a worker of this engine.
    pub(super) fn builder(&self, name: String, watch: Watch) -> Builder {
        let mut builder = Worker::builder(name)
            .addresses(self.addresses.clone())
            .token(self.token.clone())
            .request_timeout(self.timeout)
            .watch(watch);
        if let Some(namespace) = &self.namespace {
            builder = builder.namespace(namespace);
        }
        builder
    }

    /// What is left of the timeout.
    pub(super) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }

    /// Connects to read the board, and waits until it is synced.
    pub(super) fn look(&self, command: &str, watch: Watch) -> Result<Worker, Failure> {
        let builder = self.builder(own_name(command), watch);
        Ok(builder.connect(self.left())?)
    }

    /// Connects to call a function of the engine itself.
    pub(super) fn ask(
        &self,
        command: &str,
        function: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let worker = self.look(command, Watch::nothing())?;
        let answer = self.ask_over(&worker, function, payload)?;
        worker.close();
        Ok(answer)
    }

    /// Calls a function of the engine itself, which answers at once.
    pub(super) fn ask_over(
        &self,
        worker: &Worker,
        function: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        let how = CallOptions::new().timeout(self.left());
        worker.client().call_raw(function, payload, &how)
    }
}

/// Checks the name of an event.
pub(super) fn event_name(name: &str) -> Result<(), UsageError> {
    check_event_name(name).map_err(|error| UsageError::Name(name.to_owned(), error))
}

/// Checks the name of a function to call, which may be the engine's.
pub(super) fn callable_name(name: &str) -> Result<(), UsageError> {
    match check_function_name(name) {
        Err(error) if error != NameError::Reserved => Err(UsageError::Name(name.to_owned(), error)),
        _ => Ok(()),
    }
}

fn from_environment() -> Result<Vec<Address>, UsageError> {
    let value = std::env::var_os(VARIABLE).unwrap_or_default();
    let value = match value.to_string_lossy() {
        value if value.is_empty() => DEFAULT_ADDRESS.to_owned(),
        value => value.into_owned(),
    };
    options::addresses(&value).map_err(|error| UsageError::Value {
        place: VARIABLE.to_owned(),
        value,
        error,
    })
}

/// The default name of this worker: the command and the host.
pub(super) fn own_name(command: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("{command}@{}", host.trim());
    match check_worker_name(&name) {
        Ok(()) if !host.trim().is_empty() => name,
        _ => command.to_owned(),
    }
}
