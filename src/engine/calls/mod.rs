//! Calls: the table of calls in flight, the calls of each connection, and the choice of a provider. Sends nothing.

pub(crate) mod call;
pub(crate) mod connection_calls;
mod list;
pub(crate) mod parked_notes;
pub(crate) mod parking;
pub(crate) mod routing;
pub(crate) mod table;
