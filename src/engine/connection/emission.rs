//! An event that is being cast, in slices: how far it has come. Casts nothing.

use crate::engine::interface::ConnId;
use crate::engine::registry::entry::Name;

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
}
