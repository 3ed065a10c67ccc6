//! Shutdown of the engine: DRAIN to all, then GOODBYE once no caller waits or when the grace period ends. Also a
//! worker's own DRAIN.

use log::info;

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::connection::session::Sender;
use crate::engine::interface::Time;
use crate::limits::Limits;
use crate::protocol::{Code, Drain, DrainOptions};

impl Engine {
    /// A worker drains: its functions leave the board, and what it runs may end.
    pub(super) fn handle_drain(&mut self, from: Sender, now: Time) {
        let conn = self.connections.get_mut(from.conn);
        if let Some(session) = conn.and_then(Connection::session_mut) {
            session.set_draining();
        }
        self.remove_worker(from.conn, "drain", now);
    }

    /// SIGTERM: DRAIN to all, then GOODBYE once no caller waits or when the grace period ends. The second time: GOODBYE
    /// at once.
    pub fn handle_shutdown(&mut self, now: Time) {
        if self.lifecycle.is_stopped() {
            return;
        }
        let is_first = self.lifecycle.is_running();
        let grace = Limits::ms(self.config.limits.grace);
        self.lifecycle.start_draining(now.after(grace));
        if !is_first {
            return self.stop(now);
        }
        info!("sending DRAIN to {} connections", self.connections.len());
        for id in self.connections.ids() {
            let retry_after_ms = Some(self.retry_after());
            let drain = Drain {
                ext: DrainOptions { retry_after_ms },
            };
            if self.connections.get(id).is_some_and(Connection::is_live) {
                self.send_unordered(id, drain.to_frame());
            }
        }
        self.fail_parked();
        self.stop_if_idle(now);
    }

    /// A draining engine stops when no caller waits any more.
    pub(super) fn stop_if_idle(&mut self, now: Time) {
        if self.lifecycle.grace_end().is_some() && self.calls.waiting() == 0 {
            self.stop(now);
        }
    }

    /// Ends all calls and sends GOODBYE to all.
    pub(super) fn stop(&mut self, now: Time) {
        self.lifecycle.stop();
        self.fail_all();
        for id in self.connections.ids() {
            self.close_with(id, Code::ShuttingDown, "the engine shuts down", now);
        }
    }
}
