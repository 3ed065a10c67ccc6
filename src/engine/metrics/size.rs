//! The size of the boards, which costs a few additions, unlike [`super::stats::Stats`]. Values.

use std::fmt;

/// Totals over the boards of all namespaces, and the number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Functions on all boards.
    pub functions: u64,
    /// Workers that provide or bind something.
    pub workers: u64,
    /// Connections, including those that are being closed.
    pub connections: u64,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            functions,
            workers,
            connections,
        } = self;
        write!(
            f,
            "{functions} function{} of {workers} worker{}, {connections} connection{}",
            plural(*functions),
            plural(*workers),
            plural(*connections)
        )
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
