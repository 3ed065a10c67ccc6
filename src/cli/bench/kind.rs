//! The kinds of measurement, by name.

use crate::cli::usage_error::UsageError;

/// The help of the command.
pub(super) const ABOUT: &str = "Connects to an engine that runs, causes load from one thread over as many connections \
    as it takes, and reports what came of it. KIND is one of\n\n \
    fanout   one registration, and the time until the first, the median and the\n          \
    last of all watchers have been told of it\n \
    churn    changes a second, and what watchers are told of them\n \
    join     the time until a worker that joins has the whole board, one after\n          \
    the other, and many at once\n \
    call     round trips and throughput of calls\n \
    idle     the memory of connections that do nothing\n\n\
    It keeps to a board of its own, to names of its own (`bench::<random>::`), and leaves nothing behind, however it \
    ends. Ctrl-C ends it early, with a report of what was measured until then.\n\n\
    An engine lets one connection change the board 1,000 times a second (--changes-per-second). Where that budget, and \
    not the engine, set the pace, the report says so.\n\n\
    With --json, one object a line; docs/CLI.md lists the keys. Progress goes to standard error.";

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
