//! The kinds of measurement, by name.

use crate::cli::usage_error::UsageError;

/// The help of the command.
pub(super) const ABOUT: &str = "Connects to a running engine, generates load from one thread over as many \
    connections as needed, and reports the results. KIND is one of\n\n fanout   one registration, and the \
    time until the first, the median and the\n          last watcher received it\n churn    changes per \
    second, and their delivery to watchers\n join     the time until a joining worker has the whole board, \
    one after the\n          other, and many at once\n call     round trips and throughput of calls\n \
    idle     the memory of idle connections\n\nIt uses a namespace of its own and names of its own \
    (`bench::<random>::`), and leaves nothing behind, however it ends. Ctrl-C ends it early, with a report of \
    the measurements so far.\n\nAn engine lets one connection change the board 1,000 times per second \
    (--changes-per-second). If that budget limited the result, the report says so.\n\nWith --json, one object \
    per line; docs/CLI.md lists the keys. Progress goes to standard error.";

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fanout,
    Churn,
    Join,
    Call,
    Idle,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Fanout,
        Self::Churn,
        Self::Join,
        Self::Call,
        Self::Idle,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Churn => "churn",
            Self::Join => "join",
            Self::Call => "call",
            Self::Idle => "idle",
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, UsageError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UsageError::NoKind {
            given: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}
