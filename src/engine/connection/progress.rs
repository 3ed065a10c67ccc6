//! The progress of a frame that is handled in slices: how far it has come. Handles nothing.

use crate::engine::interface::ConnId;
use crate::engine::registry::entry::Name;

/// How far a frame was handled.
#[derive(Debug)]
pub(crate) enum Progress {
    Emission(Emission),
    Kick(Kick),
}

/// How far an event was cast. Its functions are visited in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Emission {
    /// The last function that was visited.
    pub(crate) visited: Option<Name>,
    /// Functions after it that are bound, in reverse order, and whether all of their providers get the event.
    pub(crate) functions: Vec<(Name, bool)>,
    /// Providers of the visited function that still get the event.
    pub(crate) providers: Vec<ConnId>,
    /// Functions visited that the emitter may observe.
    pub(crate) matched: u64,
    /// A slice was cast in an earlier turn.
    pub(crate) is_resumed: bool,
}

/// Workers that an administrator disconnects.
#[derive(Debug)]
pub(crate) struct Kick {
    /// What all of them have, for the log.
    pub(crate) whom: String,
    /// Those that are still connected, and their connections, in reverse order.
    pub(crate) left: Vec<(u64, ConnId)>,
    /// The number of those that were disconnected.
    pub(crate) kicked: usize,
}
