//! The interface through which clients make calls. The runtime implements it, so that clients, and the handlers
//! that use them, do not depend on the runtime. Declares only.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use super::call_error::CallError;
use super::outgoing_call::OutgoingCall;
use super::result_slot::ResultSlot;
use super::ticket::Ticket;

/// Sends calls, events and casts.
pub(super) trait CallPort: Debug + Send + Sync {
    /// Sends a call or an event. Its end is put into the slot.
    fn begin(self: Arc<Self>, call: OutgoingCall) -> Result<(Ticket, Arc<ResultSlot>), CallError>;

    /// Sends a cast.
    fn cast(&self, function: &str, payload: &[u8], headers: &[u8]) -> Result<(), CallError>;

    /// When the wait for a call ends; `None` once its end is in the slot.
    fn deadline(&self, ticket: Ticket) -> Option<Instant>;

    /// Ends a call if its deadline has passed.
    fn expire(self: Arc<Self>, ticket: Ticket);

    /// Cancels a call whose end is no longer needed.
    fn forget(&self, ticket: Ticket);
}
