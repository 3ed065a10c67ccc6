//! How much there is on the boards: what can be told at any time at the cost of a few additions, as
//! against [`super::Stats`].

use std::fmt;

use super::Engine;

/// What the boards of all namespaces hold together, and who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Functions on all boards.
    pub functions: u64,
    /// Workers that provide something.
    pub workers: u64,
    /// Connections, those that are being closed included.
    pub connections: u64,
}

impl Engine {
    /// The size of now. Costs a walk over the namespaces, and none over connections.
    #[must_use]
    pub fn size(&self) -> Size {
        let mut size = Size {
            connections: self.connected as u64,
            ..Size::default()
        };
        for (_, namespace) in &self.namespaces {
            size.functions += namespace.board.len() as u64;
            size.workers += namespace.roster.len() as u64;
        }
        size
    }
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
            ending(*functions),
            ending(*workers),
            ending(*connections)
        )
    }
}

fn ending(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
