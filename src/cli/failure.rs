//! Why a command failed: every failure with its exit code and message. Prints to stderr only, and never panics if
//! stderr is closed.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use callboard::address::Address;
use callboard::bench::BenchError;
use callboard::engine::Verb;
use callboard::protocol::Executed;
use callboard::server::{BindError, CredentialsError, RunError};
use callboard::worker::{Attempt, CallError, ConnectError, End, Loss, RequestError};

use super::exit::Exit;
use super::systemd_journal;
use super::text;
use super::usage_error::UsageError;

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line is invalid.
    Usage(UsageError),
    /// The server could not be bound.
    Bind(BindError),
    /// Other hosts can reach the address, and no flag permits that.
    NotLoopback(Address),
    /// The credentials file cannot be used.
    Credentials(CredentialsError),
    /// The credentials file does not contain the token.
    UnknownToken,
    /// The token does not permit this.
    NotAllowed {
        principal: String,
        verb: Verb,
        name: String,
    },
    /// There is no worker with this id or name.
    NoWorker(String),
    /// The server's loop failed.
    Run(RunError),
    /// No connection to an engine.
    Connect(ConnectError),
    /// The engine, or the library on its behalf, refused a request.
    Request(RequestError),
    /// A call failed.
    Call(CallError),
    /// The worker ended for good.
    Ended(End),
    /// Standard input could not be read.
    Input(io::Error),
    /// Standard output could not be written. A closed pipe is no failure.
    Output(io::Error),
    /// The system gave no signal handler or no thread.
    System(io::Error),
    /// A command failed in a way of its own; the error says how.
    Command(Box<dyn std::error::Error>),
    /// A measurement was not made, or ended early.
    Bench(BenchError),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Bind(BindError::Limits(_) | BindError::Credentials(_))
            | Self::Credentials(_) => Exit::Usage,
            Self::UnknownToken | Self::NotAllowed { .. } => Exit::Refused,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Bind(BindError::System(_))
            | Self::Run(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::System(_)
            | Self::NoWorker(_)
            | Self::Command(_) => Exit::Failed,
            Self::Bind(_) | Self::NotLoopback(_) => Exit::CannotListen,
            Self::Connect(error) => of_connect(error),
            Self::Request(error) => match error {
                RequestError::InvalidName { .. } => Exit::Usage,
                RequestError::Refused(_) => Exit::Refused,
                RequestError::Timeout(_) | RequestError::ConnectionLost => Exit::NoEngine,
                RequestError::Ended(end) => of_end(end),
            },
            Self::Call(error) => match error {
                CallError::InvalidName { .. } => Exit::Usage,
                CallError::Engine(refusal) if &*refusal.code == "forbidden" => Exit::Refused,
                CallError::Function(_) => Exit::Function,
                _ => Exit::Unanswered,
            },
            Self::Ended(end) => of_end(end),
            Self::Bench(error) => of_bench(error),
        }
    }

    /// What to do about it, unless the message says so.
    fn hint(&self, command: &str) -> Option<String> {
        match self {
            Self::Usage(_) | Self::Bind(BindError::Limits(_)) if command.is_empty() => {
                Some("`callboard --help` lists the commands".to_owned())
            }
            Self::Usage(_) | Self::Bind(BindError::Limits(_)) => {
                Some(format!("`callboard {command} --help` explains"))
            }
            Self::Connect(ConnectError::Failed(_) | ConnectError::Timeout(_))
            | Self::Bench(BenchError::NoEngine(_))
                if self.exit() == Exit::NoEngine =>
            {
                Some(
                    "`callboard serve` starts an engine; --connect or CALLBOARD_ADDR names its address"
                        .to_owned(),
                )
            }
            Self::Call(error) if self.exit() == Exit::Unanswered => Some(of_call(error)),
            _ => None,
        }
    }

    /// Prints the message to stderr, unless the exit code is that of success.
    pub(super) fn report(&self, command: &str) -> ExitCode {
        let exit = self.exit();
        if exit != Exit::Done {
            let place = match command {
                "" => "callboard".to_owned(),
                command => format!("callboard {command}"),
            };
            // The message may contain text of an engine.
            let message = self.to_string();
            let message = text::visible(&message);
            let mut told = format!("{place}: {message}\n");
            if let Some(hint) = self.hint(command) {
                told.push_str(&hint);
                told.push('\n');
            }
            let mut stderr = io::stderr().lock();
            // If stderr is closed, nothing can be reported.
            let _ = if systemd_journal::is_stderr() {
                systemd_journal::write(&mut stderr, log::Level::Error, &told)
            } else {
                stderr.write_all(told.as_bytes())
            };
        }
        ExitCode::from(exit.code())
    }
}

fn of_connect(error: &ConnectError) -> Exit {
    match error {
        ConnectError::NoAddress
        | ConnectError::InvalidName { .. }
        | ConnectError::HelloTooLarge { .. } => Exit::Usage,
        ConnectError::Failed(attempts) | ConnectError::Timeout(attempts) => {
            if attempts.iter().any(was_refused) {
                Exit::Refused
            } else {
                Exit::NoEngine
            }
        }
        ConnectError::Ended(end) => of_end(end),
        ConnectError::System(_) => Exit::Failed,
    }
}

/// Whether the call may have been executed, and whether a retry may succeed.
fn of_call(error: &CallError) -> String {
    let executed = match error.executed() {
        Executed::No => "it was not executed",
        Executed::Maybe => "it may have been executed",
    };
    let next = match error.code() {
        "no_such_function" => "; --wait waits for a provider",
        "overloaded" => "; --wait waits for free capacity",
        _ if error.retryable() => "; the same call may succeed later",
        _ => "",
    };
    format!("{executed}{next}")
}

/// An engine that is about to stop counts as not running.
fn was_refused(attempt: &Attempt) -> bool {
    matches!(&attempt.loss, Loss::Goodbye { refusal, .. } if &*refusal.code != "shutting_down")
}

fn of_bench(error: &BenchError) -> Exit {
    match error {
        BenchError::NoEngine(_)
        | BenchError::NotAnEngine(_)
        | BenchError::Silent(_)
        | BenchError::Unwelcome { .. }
        | BenchError::Closed
        | BenchError::Broken(_)
        | BenchError::Stopping => Exit::NoEngine,
        BenchError::Refused { .. } => Exit::Refused,
        BenchError::Descriptors { .. }
        | BenchError::NoProcess
        | BenchError::Miscounted { .. }
        | BenchError::System(_) => Exit::Failed,
        BenchError::Stopped => Exit::Done,
    }
}

fn of_end(end: &End) -> Exit {
    match end {
        End::TakenOver | End::Kicked(_) | End::Refused(_) => Exit::Refused,
        End::Unconnected => Exit::NoEngine,
        End::Closed => Exit::Done,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::NotLoopback(address) => write!(
                f,
                "{address} can be reached from other hosts, and every peer that reaches it may register and \
                 see everything. Restrict access with --credentials, or listen on 127.0.0.1, [::1] or \
                 unix:/path, or add --insecure if the network in between is trusted"
            ),
            Self::Credentials(error) => error.fmt(f),
            Self::UnknownToken => f.write_str("the credentials file does not contain this token"),
            Self::NotAllowed {
                principal,
                verb,
                name,
            } => write!(f, "`{principal}` may not {verb} `{name}`"),
            Self::NoWorker(worker) => write!(f, "there is no worker `{worker}` in this namespace"),
            Self::Run(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
            Self::Ended(end) => end.fmt(f),
            Self::Input(error) => write!(f, "cannot read standard input: {error}"),
            Self::Output(error) => write!(f, "cannot write standard output: {error}"),
            Self::System(error) => write!(f, "the system refused a required resource: {error}"),
            Self::Command(error) => error.fmt(f),
            Self::Bench(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Usage(error) => Some(error),
            Self::Bind(error) => Some(error),
            Self::Run(error) => Some(error),
            Self::Connect(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::Call(error) => Some(error),
            Self::Ended(error) => Some(error),
            Self::Command(error) => Some(&**error),
            Self::Bench(error) => Some(error),
            Self::Input(error) | Self::Output(error) | Self::System(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::NotLoopback(_)
            | Self::UnknownToken
            | Self::NotAllowed { .. }
            | Self::NoWorker(_) => None,
        }
    }
}

macro_rules! from {
    ($( $error:ty => $variant:ident; )*) => {
        $( impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        } )*
    };
}

from! {
    UsageError => Usage;
    BindError => Bind;
    RunError => Run;
    ConnectError => Connect;
    RequestError => Request;
    CallError => Call;
    BenchError => Bench;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(loss: Loss) -> Failure {
        let address = "127.0.0.1:1".parse().unwrap();
        Failure::Connect(ConnectError::Failed(vec![Attempt { address, loss }]))
    }

    fn goodbye(code: &str) -> Loss {
        Loss::Goodbye {
            refusal: callboard::worker::Refusal {
                code: code.into(),
                message: "\u{1b}[31mno".into(),
                retryable: false,
                executed: Executed::No,
            },
            retry_after: None,
            before_welcome: true,
        }
    }

    #[test]
    fn nobody_there_and_a_refusal_have_codes_of_their_own() {
        assert_eq!(attempt(Loss::NobodyListens).exit().code(), 3);
        assert_eq!(attempt(goodbye("too_many_audiences")).exit().code(), 4);
        assert_eq!(attempt(goodbye("shutting_down")).exit().code(), 3);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(closed.exit().code(), 0);
        let full = Failure::Output(io::ErrorKind::StorageFull.into());
        assert_eq!(full.exit().code(), 1);
    }
}
