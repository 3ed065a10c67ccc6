//! New credentials: each live connection is judged by them before anything else happens to it. Revoked ones get GOODBYE
//! and are closed; rights that were lost take registrations and parked calls with them; a view that changes starts over
//! with a snapshot.

use std::rc::Rc;

use log::info;

use crate::engine::Engine;
use crate::engine::access::credentials::Credentials;
use crate::engine::access::grant::Grant;
use crate::engine::access::rights::Verb;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::Sender;
#[cfg(debug_assertions)]
use crate::engine::connection::step_log::StepKind;
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::Refusal;
use crate::engine::registry::binding_key::split_binding_key;
use crate::engine::registry::position::{Stream, resync};
use crate::engine::work;
use crate::protocol::{Code, Rights};

use super::quota::too_many_audiences;

/// The part of a turn's work that a review may take.
const REVIEW_PART: u64 = 4;

impl Engine {
    /// Replaces the credentials. Every connection is judged by them before its next frame is handled and before the next
    /// one is written to it: at once as far as the turn has room, and in later turns.
    pub fn handle_credentials(&mut self, credentials: &Credentials, now: Time) {
        if let Some(differences) = self.authenticator.replace(credentials) {
            info!("audit: the credentials were reloaded: {differences}");
        }
        for namespace in self.registry.iter_mut() {
            let rules = self.authenticator.observe_rules(namespace.name());
            namespace.set_observer_rules(rules);
        }
        self.review.start(self.connections.ids());
        self.continue_review(now);
    }

    /// Judges further connections, once in each turn.
    pub(super) fn continue_review(&mut self, now: Time) {
        if !self.review.take_slice() {
            return;
        }
        let most = self.config.turn_work / REVIEW_PART;
        let mut work = 0;
        while work < most {
            let Some(id) = self.review.next() else {
                let (closed, changed) = self.review.end();
                return info!(
                    "applied the credentials of {} principals: {closed} connections closed, rights of {changed} changed",
                    self.authenticator.principals()
                );
            };
            work += work::LOOK.time + self.judge(id, now);
        }
    }

    /// Judges a connection by the present credentials if it was admitted by older ones. Returns the work of that: none if
    /// it was judged before.
    #[inline] // Several times for each call, and mostly there is no review.
    pub(super) fn judge(&mut self, id: ConnId, now: Time) -> u64 {
        if self.review.is_open() {
            self.judge_in_review(id, now)
        } else {
            0
        }
    }

    fn judge_in_review(&mut self, id: ConnId, now: Time) -> u64 {
        if self.review.is_judging() {
            return 0;
        }
        let Some(conn) = self.connections.get(id) else {
            return 0;
        };
        let (user, Some(session)) = (conn.user(), conn.session()) else {
            return 0;
        };
        let (from, older) = (session.sender(id), session.grant().clone());
        if self.authenticator.is_of_present(&older) {
            return 0;
        }
        self.review.set_judging(true);
        let asked_tier = session.asked_tier();
        let renewed = self.authenticator.renew(&older).ok_or_else(|| {
            let message = "this token or user may no longer connect";
            Refusal::new(Code::Unauthorized, message)
        });
        let renewed = renewed.and_then(|newer| newer.tier(asked_tier).map(|_| newer));
        let work = match renewed {
            Ok(newer) => {
                self.users.set_weight(user, newer.weight);
                self.renew_grant(from, &older, newer, now)
            }
            Err(refusal) => {
                let work = self.work_of_death(id);
                self.expel(id, &refusal, now);
                self.review.count_closed();
                work
            }
        };
        self.review.set_judging(false);
        let work = work::JUDGEMENT + work;
        self.run.spend(work);
        #[cfg(debug_assertions)]
        self.log_step(id, StepKind::Judgement, work);
        work
    }

    /// Gives a connection the grant that its key has now. Returns the work of that.
    fn renew_grant(&mut self, from: Sender, older: &Grant, newer: Rc<Grant>, now: Time) -> u64 {
        let id = from.conn;
        let mut work = 0;
        if newer.rights != older.rights {
            self.review.count_changed();
            work = self.work_of_death(id) / work::ENTRY.time;
            work += work::ENTRY.time * self.remove_forbidden(from, &newer) as u64;
            self.end_forbidden_calls(id, &newer);
            let differs = |verb| newer.rights.of(verb) != older.rights.of(verb);
            if differs(Verb::Register) || differs(Verb::Bind) {
                // Only the worker knows what it wants to register, including what it lost or was refused before.
                let rights = Rights::default().to_frame();
                self.reply(id, Reply::Frame(rights));
            }
        }
        if newer.tier != older.tier {
            work += self.work_of_death(id);
        }
        self.change_grant(from, newer, now);
        work
    }

    /// Closes a connection without sending it what it is owed, which it may no longer have.
    fn expel(&mut self, id: ConnId, refusal: &Refusal, now: Time) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.outbox_mut().discard_waiting();
        }
        self.close_refused(id, refusal, now);
    }

    /// Removes the registrations of a worker that its new rights forbid. Returns their number.
    fn remove_forbidden(&mut self, from: Sender, grant: &Grant) -> usize {
        let (register, bind) = (grant.rights.of(Verb::Register), grant.rights.of(Verb::Bind));
        let conn = self.connections.get_mut(from.conn);
        if let Some(batch) = conn.and_then(Connection::batch_mut) {
            let forbidden = batch.names().filter(|name| !register.allows(name));
            if let Some(name) = forbidden.min() {
                let refusal = Refusal::forbidden(Verb::Register, name);
                batch.fail(refusal);
            }
        }
        let namespace = &mut self.registry[from.namespace];
        let Some(worker) = namespace.roster().get(from.worker) else {
            return 0;
        };
        let functions = worker.names().filter(|name| !register.allows(name));
        let functions: Vec<_> = functions.cloned().collect();
        let bindings = worker.binding_keys().filter(|key| {
            let (event, function, _) = split_binding_key(key);
            !bind.allows(event) || !bind.allows(function)
        });
        let bindings: Vec<_> = bindings.cloned().collect();
        namespace.unregister(from.worker, functions.iter().map(|name| &**name));
        namespace.unbind(from.worker, bindings.iter().map(|key| &**key));
        functions.len() + bindings.len()
    }

    /// Completes parked calls of functions that their caller may no longer call.
    fn end_forbidden_calls(&mut self, id: ConnId, grant: &Grant) {
        for (call_id, function) in self.parked_of(id) {
            if !grant.rights.allow(Verb::Call, &function) {
                let refusal = Refusal::forbidden(Verb::Call, &function);
                self.complete_early(call_id, refusal.code, &refusal.message);
            }
        }
    }

    /// Gives a connection another grant, and moves it to another audience if its view changes.
    fn change_grant(&mut self, from: Sender, grant: Rc<Grant>, now: Time) {
        let conn = self.connections.get_mut(from.conn);
        let Some(session) = conn.and_then(Connection::session_mut) else {
            return;
        };
        let rules = grant.observe.clone();
        let tier = session.tier();
        session.set_grant(grant);
        let namespace = &mut self.registry[from.namespace];
        if session.tier() != tier {
            namespace.redirect(session.registrant(from.conn));
        }
        let Some(place) = session.audience() else {
            return;
        };
        let present = namespace.audience(place.0).filter().clone();
        let requested = session.requested().unwrap_or(&present);
        let requested = (**requested).clone();
        let filter = match &rules {
            Some(rules) => requested.restricted_by(rules),
            None => requested.clone(),
        };
        if filter == *present {
            return;
        }
        let limit = self.config.limits.max_audiences;
        if !namespace.has_room_for(&filter, limit.saturating_mul(2)) {
            return self.expel(from.conn, &too_many_audiences(limit), now);
        }
        if let Some(requested) = session.take_requested() {
            namespace.release_requested(&requested);
        }
        if filter != requested {
            session.set_requested(namespace.share_requested(requested));
        }
        session.set_audience(None);
        self.leave_audience(from.namespace, place);
        let place = self.registry[from.namespace].join(filter, from.conn);
        let Some(conn) = self.connections.get_mut(from.conn) else {
            return;
        };
        if let Some(session) = conn.session_mut() {
            session.set_audience(Some(place));
        }
        let outbox = conn.outbox_mut();
        outbox.set_stream(Stream::Resync(resync::RIGHTS_CHANGED));
        self.output.queue().push(conn);
    }
}
