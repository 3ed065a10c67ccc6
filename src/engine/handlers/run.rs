//! The run: which connection has its turn, what it does then, and what it leaves for later. The turn's budget of work
//! bounds all of it, and users share it evenly.

use crate::engine::Engine;
use crate::engine::connection::Connection;
#[cfg(debug_assertions)]
use crate::engine::connection::step_log::StepKind;
use crate::engine::connection::unread::Unread;
use crate::engine::interface::{ConnId, Time};
use crate::engine::user_key::UserKey;
use crate::engine::work;

impl Engine {
    /// Bytes, or the end of the connection, wait in its socket. [`Engine::poll_read`] names it when it has its turn.
    pub fn handle_readable(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.set_readable();
            self.run_later(id);
        }
    }

    /// Does what connections left for later, in turns of their users, and names the next one to read: once, with a
    /// buffer of bounded size. If more may wait there, call [`Engine::handle_readable`] again. `None` if nobody has
    /// anything to do, or the turn has no room for more.
    pub fn poll_read(&mut self, now: Time) -> Option<ConnId> {
        self.continue_review(now);
        while let Some(id) = self.run.pop(&self.users) {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            conn.clear_run();
            if conn.is_leaving() && self.input.take_broken(id).is_some() {
                // It broke, and was ended otherwise before its end had its turn: nothing can be written to it.
                self.remove(id);
                continue;
            }
            if conn.has_leftovers() {
                self.handle_leftovers(id, now);
                self.run_later(id);
            } else if conn.take_readable() {
                self.run.charge(conn.user(), work::READ);
                return Some(id);
            }
        }
        None
    }

    /// Handles what a connection left for later.
    fn handle_leftovers(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.has_deferred() {
            // The engine did not read: that was no silence.
            conn.excuse_silence(now);
            let deferred = conn.unread_mut().map(Unread::take_deferred);
            self.handle_frames(id, &deferred.unwrap_or_default(), now);
        }
        let conn = self.connections.get_mut(id);
        if let Some(conn) = conn.filter(|conn| conn.is_parked_due()) {
            conn.clear_parked_due();
            let user = conn.user();
            let work = self.run_parked(id, now);
            self.run.charge(user, work);
            #[cfg(debug_assertions)]
            self.log_step(id, StepKind::Parked, work);
        }
        let Some(conn) = self.connections.get(id) else {
            return;
        };
        if conn.is_leaving() || conn.has_deferred() {
            return;
        }
        if conn.is_eof_deferred() {
            self.handle_postponed_end(id, now);
        } else if !conn.pause().any() {
            self.output.push_resume(id);
        }
    }

    /// The connection has its turn behind the others, if it has anything to do.
    pub(super) fn run_later(&mut self, id: ConnId) {
        if let Some((conn, user)) = self.runnable(id)
            && !conn.mark_run()
        {
            self.run.push(user, id);
        }
    }

    /// The next step of the connection does not fit into this turn.
    pub(super) fn run_postponed(&mut self, id: ConnId) {
        if let Some((conn, user)) = self.runnable(id)
            && !conn.mark_run()
        {
            self.run.postpone(user, id);
        }
    }

    /// The connection is the first of the next turn.
    pub(super) fn run_first(&mut self, id: ConnId) {
        if let Some((conn, user)) = self.runnable(id)
            && !conn.mark_run()
        {
            self.run.push_first(user, id);
        }
    }

    fn runnable(&mut self, id: ConnId) -> Option<(&mut Connection, UserKey)> {
        let conn = self.connections.get_mut(id)?;
        let user = conn.user();
        conn.is_runnable().then_some((conn, user))
    }
}
