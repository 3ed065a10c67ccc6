//! The ids of requests. A caller matches answers by id alone, so an id that is not answered yet belongs to one request:
//! an open call, or a batch whose last frame has not come. Every other request is answered as soon as it is handled.

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::connection::batch::Batch;
use crate::engine::interface::{ConnId, Time};
use crate::protocol::{Code, Message};

impl Engine {
    /// Closes the connection if the message is a request whose id is in use. Returns whether it did.
    pub(super) fn refuse_used_id(&mut self, id: ConnId, message: &Message<'_>, now: Time) -> bool {
        let conn = self.connections.get(id);
        let used = conn.and_then(|conn| match message {
            // Its own handler compares it with the batch that it continues.
            Message::Register(it) => Some(it.id).filter(|id| is_of_call(conn, *id)),
            // A CALL is checked where calls are handled, whichever decoder read it.
            Message::Call(_) => None,
            message => {
                request_of(message).filter(|id| is_of_call(conn, *id) || is_of_batch(conn, *id))
            }
        });
        if let Some(request) = used {
            self.close_for_used_id(id, request, now);
        }
        used.is_some()
    }

    /// The same for a CALL.
    pub(super) fn refuse_used_call_id(&mut self, id: ConnId, request: u64, now: Time) -> bool {
        let conn = self.connections.get(id);
        let is_used =
            conn.is_some_and(|conn| is_of_call(conn, request) || is_of_batch(conn, request));
        if is_used {
            self.close_for_used_id(id, request, now);
        }
        is_used
    }

    /// An error reply would end the wrong request.
    fn close_for_used_id(&mut self, id: ConnId, request: u64, now: Time) {
        let message = format!("a request with id {request} is not answered yet");
        self.close_with(id, Code::ProtocolError, &message, now);
    }
}

/// The id of a request of a worker.
fn request_of(message: &Message<'_>) -> Option<u64> {
    match message {
        Message::Register(it) => Some(it.id),
        Message::Unregister(it) => Some(it.id),
        Message::Ready(it) => Some(it.id),
        Message::Bind(it) => Some(it.id),
        Message::Unbind(it) => Some(it.id),
        Message::Call(it) => Some(it.id),
        // With id 0 it is not answered.
        Message::Emit(it) => Some(it.id).filter(|id| *id != 0),
        Message::Unknown { id, .. } => *id,
        _ => None,
    }
}

fn is_of_call(conn: &Connection, request: u64) -> bool {
    let calls = conn.calls();
    calls.is_some_and(|calls| calls.made_by_request(request).is_some())
}

fn is_of_batch(conn: &Connection, request: u64) -> bool {
    conn.batch().map(Batch::id) == Some(request)
}
