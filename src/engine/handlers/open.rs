//! New connections: limits on their number, per origin and without HELLO.

use crate::engine::Engine;
use crate::engine::connection::Connection;
use crate::engine::interface::{Close, ConnId, Peer, Time};
use crate::engine::refusal::Refusal;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::Code;

impl Engine {
    /// A connection was accepted. Over a limit it is refused with a GOODBYE and closed like any other; if many are
    /// being refused, it is closed at once.
    ///
    /// # Panics
    /// If the key is in use: the shell did not drain [`Engine::poll_close`] before it reused the key.
    pub fn handle_open(&mut self, id: ConnId, peer: Peer, now: Time) {
        let sequence = self.metrics.count_accepted();
        let is_running = self.lifecycle.is_running();
        let refusal = self.check_room(&peer).filter(|_| is_running);
        if let Some(refusal) = &refusal {
            self.metrics.count_refusal(refusal);
            if self.admission.refused() >= self.config.limits.max_refused {
                self.metrics.count_limited(Limits::FLAGS.max_refused);
                self.metrics.count_closed(refusal.code.as_str());
                self.output.push_close(Close::Socket(id));
                return;
            }
        }
        let is_refused = refusal.is_some();
        let user = self.users.join_origin(&peer);
        self.run.charge_aside(user, work::ACCEPT);
        let conn = Connection::new(id, sequence, (peer, user), is_refused, now);
        self.connections.insert(conn);
        self.admission.add(&peer, is_refused);
        if let Some(refusal) = refusal {
            if let Some(flag) = refusal.limit() {
                self.count_pressure(id, flag);
            }
            return self.close_with(id, refusal.code, &refusal.message, now);
        }
        if !is_running {
            let message = "the engine is shutting down";
            return self.close_with(id, Code::ShuttingDown, message, now);
        }
        self.admission.push_greeting(id);
        self.arm(id, now);
        self.limit_greeting(now);
    }

    /// The refusal of one more connection of this peer, if a limit demands it.
    fn check_room(&self, peer: &Peer) -> Option<Refusal> {
        let limits = &self.config.limits;
        let code = Code::TooManyConnections;
        let limit = limits.max_connections;
        if self.connections.len() as u64 - self.admission.refused() >= limit {
            let message = format!("the engine serves {limit} connections");
            return Some(Refusal::over(Limits::FLAGS.max_connections, code, &message));
        }
        let limit = limits.max_connections_per_address;
        if limit > 0 && self.admission.count_of_origin(peer) >= limit {
            let flag = Limits::FLAGS.max_connections_per_address;
            let message = format!("the engine serves {limit} connections from this address");
            return Some(Refusal::over(flag, code, &message));
        }
        None
    }

    /// Closes the connections that have been without HELLO for longest, if too many are.
    fn limit_greeting(&mut self, now: Time) {
        while let Some(first) = self.admission.first_greeting() {
            let is_greeting = self
                .connections
                .get(first)
                .is_some_and(Connection::is_greeting);
            let limit = self.config.limits.max_greeting;
            if is_greeting && self.admission.greeting() <= limit {
                return;
            }
            self.admission.pop_greeting();
            if is_greeting {
                let flag = Limits::FLAGS.max_greeting;
                let message = format!("more than {limit} connections have not said HELLO");
                let refusal = Refusal::over(flag, Code::TooManyConnections, &message);
                self.close_refused(first, &refusal, now);
            }
        }
    }
}
