//! New credentials while connections live: each is brought in line at once. Who is no longer let in is told so and
//! goes; who may do less loses what it may no longer have; who may see something else begins its view anew.

use std::rc::Rc;

use log::info;

use super::connection::Phase;
use super::credentials::Credentials;
use super::delivery::RIGHTS_CHANGED;
use super::gate::Grant;
use super::namespace::Namespace;
use super::outbox::{OwnFrame, Stream};
use super::refusal::Refusal;
use super::rights::Verb;
use super::{ConnId, Engine, Time};
use crate::limits::Limits;
use crate::protocol::{Code, Rights};

impl Engine {
    /// Who runs this engine: where there are no credentials, that user and root may command it, over a Unix
    /// socket. Nobody may unless this was said.
    pub fn set_owner(&mut self, uid: u32) {
        self.gate.set_owner(uid);
    }

    /// From now on, only these principals are let in, with these rights. Those who are in are brought in line in
    /// this turn, or sent away.
    pub fn handle_credentials(&mut self, credentials: &Credentials, now: Time) {
        self.gate.replace(credentials);
        for (_, namespace) in &mut self.namespaces {
            let rules = self.gate.onlookers(&namespace.name);
            namespace.roster.set_onlookers(rules);
        }
        let (mut sent_away, mut changed) = (0, 0);
        for id in self.ids() {
            let Some(conn) = self.get(id).filter(|conn| conn.phase == Phase::Live) else {
                continue;
            };
            let Some(identity) = conn.identity.as_deref() else {
                continue;
            };
            let older = identity.grant.clone();
            let Some(newer) = self.gate.renew(&older) else {
                let message = "this token, or this user, opens nothing here any more";
                let refusal = Refusal::new(Code::Unauthorized, message);
                self.expel(id, &refusal, now);
                sent_away += 1;
                continue;
            };
            if newer.rights != older.rights {
                changed += 1;
                self.withdraw_forbidden(id, &newer);
                self.end_forbidden(id, &newer);
                let differs = |verb| newer.rights.of(verb) != older.rights.of(verb);
                if differs(Verb::Register) || differs(Verb::Bind) {
                    // It alone knows what it wants to have: also what it lost, or was refused, before.
                    self.reply(id, OwnFrame::Ready(Rights::default().to_frame()));
                }
            }
            self.change_grant(id, newer, now);
        }
        info!(
            "credentials of {} principals hold: {sent_away} connections are sent away, the rights of {changed} \
             have changed",
            credentials.principals().len()
        );
    }

    /// Sends somebody away who shall get nothing of what he is owed, for he may no longer have it.
    fn expel(&mut self, id: ConnId, refusal: &Refusal, now: Time) {
        if let Some(conn) = super::live(&mut self.connections, id) {
            conn.outbox.drop_waiting();
        }
        self.turn_away(id, refusal, now);
    }

    /// What a worker has on the board and may no longer have there leaves it.
    fn withdraw_forbidden(&mut self, id: ConnId, grant: &Grant) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let Some(identity) = conn.identity.as_deref() else {
            return;
        };
        if let Some(batch) = &mut conn.batch {
            let names = batch.entries.iter().map(|(name, _)| name);
            let forbidden = names.filter(|name| !grant.rights.allow(Verb::Register, name));
            if let Some(name) = forbidden.min() {
                let refusal = Refusal::forbidden(Verb::Register, name);
                batch.fail(refusal);
            }
        }
        let namespace = &mut self.namespaces[identity.namespace];
        let Some(worker) = namespace.roster.get(identity.worker) else {
            return;
        };
        let (register, bind) = (grant.rights.of(Verb::Register), grant.rights.of(Verb::Bind));
        let functions = worker.names().filter(|name| !register.allows(name));
        let functions: Vec<_> = functions.cloned().collect();
        let bindings = worker.binding_keys().filter(|key| {
            let (event, function, _) = super::board::split_binding_key(key);
            !bind.allows(event) || !bind.allows(function)
        });
        let bindings: Vec<_> = bindings.cloned().collect();
        namespace.withdraw(identity.worker, functions.iter().map(|name| &**name));
        namespace.unbind(identity.worker, bindings.iter().map(|key| &**key));
    }

    /// Calls that wait for a function that their caller may no longer call end.
    fn end_forbidden(&mut self, id: ConnId, grant: &Grant) {
        for (call_id, function) in self.waiting_of(id) {
            if !grant.rights.allow(Verb::Call, &function) {
                let refusal = Refusal::forbidden(Verb::Call, &function);
                self.end_early(call_id, refusal.code, &refusal.message);
            }
        }
    }

    /// Gives a connection another grant, and another audience if it sees something else by it.
    fn change_grant(&mut self, id: ConnId, grant: Rc<Grant>, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let Some(identity) = conn.identity.as_deref_mut() else {
            return;
        };
        identity.grant = grant;
        let Some(place) = identity.audience else {
            return;
        };
        let (key, rules) = (identity.namespace, identity.grant.observe.clone());
        let namespace: &mut Namespace = &mut self.namespaces[key];
        let present = namespace.audiences[place.0].cover.clone();
        let wanted = identity.wanted.clone();
        let wanted = wanted.as_deref().unwrap_or(&present).clone();
        let cover = match &rules {
            Some(rules) => wanted.within(rules),
            None => wanted.clone(),
        };
        if cover == *present {
            return;
        }
        let limit = self.config.limits.max_audiences;
        if !namespace.has_audience(&cover, limit) {
            let message = format!("the namespace has {limit} different watches");
            let flag = Limits::FLAGS.max_audiences;
            let refusal = Refusal::over(flag, Code::TooManyAudiences, &message);
            return self.expel(id, &refusal, now);
        }
        if let Some(wanted) = identity.wanted.take() {
            namespace.unwant(&wanted);
        }
        identity.wanted = (cover != wanted).then(|| namespace.want(wanted));
        identity.audience = None;
        self.part(key, place);
        let place = self.namespaces[key].join(cover, id);
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        if let Some(identity) = conn.identity.as_deref_mut() {
            identity.audience = Some(place);
        }
        conn.outbox.stream = Stream::Begin(RIGHTS_CHANGED);
        self.due.any(conn);
    }
}
