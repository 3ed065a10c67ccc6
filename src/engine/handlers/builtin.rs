//! The engine's own functions, under `engine::`: called like any other, answered at once, not on the board. Those that
//! list something are in `lists`. Arguments and results are MessagePack maps; `docs/PROTOCOL.md` lists their keys.

use log::info;
use serde::Serialize;

use crate::engine::Engine;
use crate::engine::access::authenticator::{DRAIN, GUARDED, KICK, STATS};
use crate::engine::access::rights::Verb;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::progress::{Kick, Progress};
use crate::engine::connection::session::{Sender, Session};
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::{Refusal, shown};
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{Bin, Call, Code, Outcome};

use super::arguments::KickArguments;
use super::input::Step;

#[derive(Serialize)]
struct Kicked {
    kicked: usize,
}

/// How far a kick has come.
enum Kicking {
    /// All are disconnected.
    Done(Kick),
    /// It goes on later.
    Unfinished(Step),
}

/// An answer without keys.
#[derive(Serialize)]
struct Nothing {}

impl Engine {
    /// Answers a call to a name under `engine::`.
    pub(super) fn handle_builtin(&mut self, from: Sender, call: &Call<'_>, now: Time) -> Step {
        let (id, namespace) = (from.conn, from.namespace);
        let grant = self.session(from).grant().clone();
        let name = call.function.0;
        if GUARDED.contains(&name) && !grant.rights.allow(Verb::Admin, name) {
            let refusal = self.authenticator.refuse_command(name);
            self.refuse_call(id, call.id, &refusal);
            return Step::Done;
        }
        if (name == KICK || name == DRAIN) && !self.input.has_progress() {
            self.audit(from, &format!("calls {name}"));
        }
        // A page is a thousand times as large as the call for it: a caller that does not read gets no further ones.
        let limit = self.config.limits.max_outbound as usize;
        let conn = self.connections.get(id);
        if conn.is_some_and(|conn| conn.outbox().bytes() > limit) {
            let flag = Limits::FLAGS.max_outbound;
            let message = "this connection does not read the answers to its calls";
            let refusal = Refusal::over(flag, Code::Overloaded, message);
            self.refuse_call(id, call.id, &refusal);
            return Step::Done;
        }
        let answer = match name {
            "engine::functions::list" => self.list_functions(namespace, &grant, &call.payload),
            "engine::workers::list" => self.list_workers(namespace, &grant, &call.payload),
            "engine::workers::departures" => {
                self.list_departures(namespace, &grant, &call.payload, now)
            }
            "engine::bindings::list" => self.list_bindings(namespace, &grant, &call.payload),
            KICK => match self.kick(from, &call.payload, now) {
                Ok(Kicking::Done(kick)) => {
                    let (kicked, whom) = (kick.kicked, &kick.whom);
                    self.audit(from, &format!("kicked {kicked} workers with the {whom}"));
                    Ok(encode(&Kicked {
                        kicked: kick.kicked,
                    }))
                }
                Ok(Kicking::Unfinished(step)) => return step,
                Err(refusal) => Err(refusal),
            },
            DRAIN => {
                self.lifecycle.request_drain();
                Ok(encode(&Nothing {}))
            }
            STATS => {
                self.input.add(work::STATS, 1);
                Ok(encode(&self.stats_for(Some(namespace))))
            }
            name => {
                let message = format!("the engine has no function `{}`", shown(name));
                Err(Refusal::new(Code::NoSuchFunction, message))
            }
        };
        match answer {
            Ok(payload) => {
                self.metrics.count_result();
                let reply = Outcome {
                    id: call.id,
                    payload: Bin(&payload),
                    ..Outcome::default()
                };
                self.reply(id, Reply::Frame(reply.to_frame()));
            }
            Err(refusal) => self.refuse_call(id, call.id, &refusal),
        }
        Step::Done
    }

    /// Logs what a worker commands the engine to do, and its principal, however many lines are logged. Only principals
    /// with the right to do so come here.
    fn audit(&self, from: Sender, what: &str) {
        let Some(conn) = self.connections.get(from.conn) else {
            return;
        };
        // A kick may have met the one who commands it.
        let Some(session) = conn.last_session() else {
            return;
        };
        let peer = conn.peer();
        let (worker, principal) = (session.name(), &session.grant().principal);
        info!("audit: {peer}: {worker:?} of principal {principal:?} {what}");
    }

    /// Closes the connection of a worker of the namespace, or of all workers with a name. In slices, if they have much:
    /// the frame is handled again until all of them have left the board.
    fn kick(&mut self, by: Sender, payload: &[u8], now: Time) -> Result<Kicking, Refusal> {
        let mut kick = match self.input.take_progress().map(|it| *it) {
            Some(Progress::Kick(kick)) => kick,
            _ => self.workers_to_kick(by, payload)?,
        };
        while let Some(&(worker, id)) = kick.left.last() {
            let Some(id) = self.connection_of(worker, id) else {
                kick.left.pop();
                continue;
            };
            let fits = self.has_room(by.conn, self.work_of_death(id));
            if !fits || !self.has_turn() {
                let progress = Progress::Kick(kick);
                self.input.set_progress(Some(Box::new(progress)));
                let step = if fits { Step::Slice } else { Step::Postponed };
                return Ok(Kicking::Unfinished(step));
            }
            kick.left.pop();
            self.close_with(id, Code::Kicked, "kicked by an administrator", now);
            kick.kicked += 1;
        }
        Ok(Kicking::Done(kick))
    }

    /// The connection of a worker that had this one: another one if its session was taken over, none if it has left.
    fn connection_of(&mut self, worker: u64, id: ConnId) -> Option<ConnId> {
        if self.connections.get(id).is_some_and(Connection::is_live) {
            return Some(id);
        }
        self.input.add(work::LOOK, self.connections.len());
        let is_its = |session: &Session| session.worker() == worker;
        let mut all = self.connections.iter();
        let found = all.find(|conn| conn.session().is_some_and(is_its));
        found.map(Connection::id)
    }

    /// The workers that the arguments of a kick mean.
    fn workers_to_kick(&self, by: Sender, payload: &[u8]) -> Result<Kick, Refusal> {
        let arguments = KickArguments::read(payload, &self.input)?;
        let is_meant = |session: &Session| {
            let (worker, name) = (arguments.worker, arguments.name);
            session.namespace() == by.namespace
                && worker.is_none_or(|worker| worker == session.worker())
                && name.is_none_or(|name| *name.0 == **session.name())
        };
        let others = self.connections.iter().filter(|it| it.id() != by.conn);
        let meant = others.filter_map(|conn| {
            let session = conn.session().filter(|session| is_meant(session))?;
            Some((session.worker(), conn.id()))
        });
        let mut left: Vec<(u64, ConnId)> = meant.collect();
        left.reverse();
        self.input.add(work::LOOK, self.connections.len());
        let whom = match (arguments.worker, arguments.name) {
            (Some(worker), _) => format!("id {worker}"),
            (None, name) => format!("name \"{}\"", shown(name.map_or("", |name| name.0))),
        };
        Ok(Kick {
            whom,
            left,
            kicked: 0,
        })
    }
}

pub(super) const TO_MEMORY: &str = "writing to memory does not fail";

fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect(TO_MEMORY)
}
