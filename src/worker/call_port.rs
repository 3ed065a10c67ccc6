//! What makes calls for a client: the runtime, behind a trait, so that clients, and the handlers that use them,
//! need not know it. Declares; does nothing.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use super::call_error::CallError;
use super::outgoing_call::OutgoingCall;
use super::result_slot::ResultSlot;
use super::ticket::Ticket;

/// Sends calls, events and casts.
pub(super) trait CallPort: Debug + Send + Sync {
    /// Sends a call or an event. Its end will be in the slot.
    fn begin(self: Arc<Self>, call: OutgoingCall) -> Result<(Ticket, Arc<ResultSlot>), CallError>;

    /// Sends a cast.
    fn cast(&self, function: &str, payload: &[u8], headers: &[u8]) -> Result<(), CallError>;

    /// Until when to wait for the end of a call; `None` once it is in its slot.
    fn deadline(&self, ticket: Ticket) -> Option<Instant>;

    /// Ends a call if its time is over.
    fn expire(self: Arc<Self>, ticket: Ticket);

    /// Cancels a call whose end nobody waits for any more.
    fn forget(&self, ticket: Ticket);
}
