//! The exit codes with their meaning. Decides nothing; which failure leads to which code is in `failure`.

/// An exit code and its meaning; `--help` and `docs/CLI.md` list them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    NoEngine,
    Refused,
    CannotListen,
    Function,
    Unanswered,
}

impl Exit {
    /// Every exit code, in order.
    pub(super) const ALL: &'static [Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NoEngine,
        Self::Refused,
        Self::CannotListen,
        Self::Function,
        Self::Unanswered,
    ];

    /// Exit codes of a command that connects to an engine.
    pub(super) const OF_A_CONNECTION: &'static [Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NoEngine,
        Self::Refused,
    ];

    /// Exit codes of a command that sends a request to an engine and waits for the answer.
    pub(super) const OF_A_REQUEST: &'static [Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NoEngine,
        Self::Refused,
        Self::Unanswered,
    ];

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoEngine => 3,
            Self::Refused => 4,
            Self::CannotListen => 5,
            Self::Function => 6,
            Self::Unanswered => 7,
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; also when stopped by Ctrl-C or SIGTERM, or by a closed pipe",
            Self::Failed => "another failure; the message says which",
            Self::Usage => "invalid usage: unknown command, option or value; nothing was done",
            Self::NoEngine => "no engine there, connection lost, or no answer in time",
            Self::Refused => "the engine refused, and said why; token check: not allowed",
            Self::CannotListen => "cannot listen there: in use, no permission, --insecure needed",
            Self::Function => "the function was called and failed",
            Self::Unanswered => "the call ended without an answer: no provider, deadline passed",
        }
    }
}
