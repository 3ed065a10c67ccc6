//! Frames for one connection: replies, which follow this turn's changes, and unordered frames, which may overtake them.

use crate::engine::Engine;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::{Sender, Session};
use crate::engine::interface::ConnId;
use crate::engine::refusal::{Refusal, truncated};
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{Code, Executed, Failure, Text};

impl Engine {
    /// As [`ConnectionTable::session`](crate::engine::connection::table::ConnectionTable::session).
    pub(super) fn session(&self, from: Sender) -> &Session {
        self.connections.session(from)
    }

    /// Queues a frame that must not overtake this turn's changes.
    pub(super) fn reply(&mut self, id: ConnId, reply: Reply) {
        if let Some(conn) = self.connections.get_mut(id) {
            self.output.reply(conn, reply);
        }
    }

    /// Queues a frame that may overtake changes.
    #[allow(clippy::needless_pass_by_value)] // Callers encode it for this.
    pub(super) fn send_unordered(&mut self, id: ConnId, frame: Vec<u8>) {
        if let Some(conn) = self.connections.get_mut(id) {
            self.output.send_unordered(conn, &frame);
        }
    }

    /// Replies to a request with an error of the engine. Nothing was executed.
    pub(super) fn fail(&mut self, id: ConnId, request: u64, code: Code, message: &str) {
        self.input.add(work::REFUSAL, 1);
        let failure = Failure {
            id: request,
            code: Text(code.as_str()),
            message: Text(truncated(message)),
            retryable: code.retryable(),
            executed: Executed::No,
            ..Failure::default()
        };
        self.reply(id, Reply::Frame(failure.to_frame()));
    }

    /// Refuses a request that is no call.
    pub(super) fn refuse_request(&mut self, id: ConnId, request: u64, refusal: &Refusal) {
        self.metrics.count_refused_request(refusal);
        self.count_refusal(id, refusal);
        self.fail(id, request, refusal.code, &refusal.message);
    }

    /// Refuses a call. It counts as one that ended.
    pub(super) fn refuse_call(&mut self, id: ConnId, request: u64, refusal: &Refusal) {
        self.count_refusal(id, refusal);
        self.metrics.count_ending(refusal.code.as_str());
        self.fail(id, request, refusal.code, &refusal.message);
    }

    /// Stops reading a connection whose replies pile up.
    pub(super) fn check_outbound(&mut self, id: ConnId) {
        let limit = self.config.limits.max_outbound as usize;
        if let Some(conn) = self.connections.get_mut(id)
            && conn.outbox().bytes() > limit
            && !std::mem::replace(&mut conn.pause_mut().outbound, true)
        {
            self.count_limited(id, Limits::FLAGS.max_outbound);
        }
    }
}
