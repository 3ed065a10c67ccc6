//! Sessions: HELLO and WELCOME, the takeover of a session by its worker's next connection, READY, DRAIN,
//! farewells. Clean-ups compare the connection, never a name.

use log::{Level, debug, info, log};

use crate::protocol::{
    Code, Drain, DrainOptions, Goodbye, GoodbyeOptions, Hello, NameError, Resume, Text, VERSION,
    Welcome, WelcomeOptions, WorkerLimits, check_event_name, check_worker_name,
};

use super::audience::{Cover, Reader};
use super::connection::{Connection, Identity, Phase};
use super::delivery::LOG_TRIMMED;
use super::gate::Grant;
use super::namespace::Namespace;
use super::outbox::{OwnFrame, Position, Stream};
use super::refusal::{Refusal, cut};
use super::{Close, ConnId, Engine, Shutdown, Time};
use crate::limits::Limits;

/// The namespace of those who name none.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Calls that a worker takes at once unless it says otherwise.
const CAPACITY_DEFAULT: u64 = 1000;
/// No client is told to stay away for less than this, in milliseconds.
const RETRY_MIN: u64 = 100;
/// Those who were not let in stay away for so much longer.
const UNAUTHORIZED_RETRY: u64 = 5000;
/// Returning connections are spread over a millisecond each, up to this many.
const RETRY_SPREAD_MAX: u64 = 5000;

impl Engine {
    pub(super) fn handle_hello(&mut self, id: ConnId, hello: &Hello<'_>, now: Time) {
        if !hello.versions.contains(&VERSION) {
            let message = format!("this engine speaks version {VERSION}");
            return self.say_goodbye(id, Code::UnsupportedVersion, &message, now);
        }
        match self.greet(id, hello, now) {
            Ok(()) => self.arm(id, now),
            Err(refusal) => self.turn_away(id, &refusal, now),
        }
    }

    /// Checks all that a HELLO asks for, then grants it.
    fn greet(&mut self, id: ConnId, hello: &Hello<'_>, now: Time) -> Result<(), Refusal> {
        let grant = self.admit(id, hello, now)?;
        let name = check_hello(hello, &grant, &self.config.limits)?;
        // As those who connect only now: it was not told DRAIN, and would wait for what never comes.
        if self.shutdown != Shutdown::No {
            let message = "the engine is about to stop";
            return Err(Refusal::new(Code::ShuttingDown, message));
        }
        let key = self.find_namespace(name)?;
        let wanted = Cover::new(hello.ext.watch.as_ref());
        let watches = !wanted.is_nothing();
        let cover = match &grant.observe {
            Some(rules) => wanted.within(rules),
            None => wanted.clone(),
        };
        let digest = cover.digest(grant.edition, self.hash_keys);
        let limit = self.config.limits.max_audiences;
        if watches && !self.namespaces[key].has_audience(&cover, limit) {
            let message = format!("the namespace has {limit} different watches");
            let flag = Limits::FLAGS.max_audiences;
            return Err(Refusal::over(flag, Code::TooManyAudiences, &message));
        }

        // From here on nothing is refused any more.
        let older = hello
            .ext
            .session
            .and_then(|key| <[u8; 16]>::try_from(key.0).ok());
        let taken = older.and_then(|older| self.take_session(older, key, &grant, id));
        let worker = if let Some((worker, _)) = taken {
            worker
        } else {
            self.next_worker += 1;
            self.next_worker
        };
        let session = self.chance.key();
        let namespace = &mut self.namespaces[key];
        namespace.connections += 1;
        let mut identity = Identity {
            namespace: key,
            worker,
            name: hello.name.0.into(),
            metadata: match hello.ext.metadata.0 {
                [] => self.nothing.clone(),
                metadata => metadata.into(),
            },
            session,
            older_session: None,
            wanted: (watches && cover != wanted).then(|| namespace.want(wanted)),
            grant: grant.clone(),
            audience: None,
            unconfirmed: false,
            capacity: capacity(hello, &self.config.limits),
            draining: false,
        };
        if taken.is_some() {
            identity.older_session = older.map(Box::new);
            identity.unconfirmed =
                namespace
                    .roster
                    .take_over(worker, &identity.name, &identity.metadata);
            namespace.redirect(worker, id);
            namespace.touched = true;
            self.sessions.extend(older.map(|older| (older, id)));
        }
        self.sessions.insert(session, id);
        let stream = if watches {
            let stream = where_to_begin(hello.ext.resume.as_ref(), namespace, digest);
            identity.audience = Some(namespace.join(cover, id));
            stream
        } else {
            Stream::Nothing
        };
        let resumed = matches!(stream, Stream::Changes(_));
        let frame = self.welcome(&identity, digest, resumed, taken.is_some(), now);
        let conn = self.get_mut(id).expect("it said HELLO just now");
        debug!(
            "{} is worker {worker} {:?} in {name:?}{}{}",
            conn.peer,
            identity.name,
            if taken.is_some() {
                ", took its session over"
            } else {
                ""
            },
            if resumed { ", resumes" } else { "" },
        );
        conn.phase = Phase::Live;
        conn.since = now;
        conn.identity = Some(Box::new(identity));
        conn.outbox.stream = stream;
        self.door.greeted();
        self.send_any_time(id, frame);
        // Last, so that what it ran and may be tried again can go to the newcomer.
        if let Some((_, older)) = taken {
            let message = "another connection presented this session's key";
            self.say_goodbye(older, Code::SessionTakenOver, message, now);
            self.hand_over(older, id, now);
        }
        Ok(())
    }

    fn welcome(
        &self,
        identity: &Identity,
        digest: [u8; 8],
        resumed: bool,
        taken_over: bool,
        now: Time,
    ) -> Vec<u8> {
        let limits = &self.config.limits;
        let namespace = &self.namespaces[identity.namespace];
        let settled = self.started.after(Limits::ms(limits.settling));
        let welcome = Welcome {
            version: VERSION,
            worker: identity.worker,
            engine: Text(&self.config.name),
            epoch: namespace.epoch,
            revision: namespace.revision(),
            session: (&identity.session[..]).into(),
            digest: (&digest[..]).into(),
            ext: WelcomeOptions {
                ping_ms: limits.ping_after,
                silence_ms: limits.silence,
                settling_ms: settled.0.saturating_sub(now.0) / 1000,
                resumed,
                taken_over,
                limits: WorkerLimits {
                    max_frame: limits.max_frame,
                    max_payload: limits.max_payload,
                    max_functions: limits.max_functions,
                    max_entry: limits.max_entry,
                },
            },
        };
        welcome.to_frame()
    }

    /// The namespace of this name; makes it if there is none. One that nobody uses keeps its log and epoch,
    /// so that a lone worker can resume, until the limit wants its place.
    fn find_namespace(&mut self, name: &str) -> Result<usize, Refusal> {
        if let Some((key, _)) = self.namespaces.iter().find(|(_, it)| *it.name == *name) {
            return Ok(key);
        }
        let limit = self.config.limits.max_namespaces;
        if self.namespaces.len() as u64 >= limit {
            let idle = self.namespaces.iter().filter(|(_, it)| it.connections == 0);
            let Some((longest_idle, _)) = idle.min_by_key(|(_, it)| it.idle_order) else {
                let message = format!("{limit} namespaces are in use");
                let flag = Limits::FLAGS.max_namespaces;
                return Err(Refusal::over(flag, Code::TooManyNamespaces, &message));
            };
            self.namespaces.remove(longest_idle);
        }
        let mut namespace = Namespace::new(name, &self.config.limits, &mut self.chance);
        namespace.roster.set_onlookers(self.gate.onlookers(name));
        Ok(self.namespaces.insert(namespace))
    }

    /// Takes a session from the connection that holds it. Returns the worker and that connection. A key that
    /// nobody holds, or that belongs to another namespace or another principal, is ignored. So is one that comes late: over a
    /// connection that is older than the holder, its worker having given it up and come again since.
    fn take_session(
        &mut self,
        session: [u8; 16],
        namespace: usize,
        grant: &Grant,
        taker: ConnId,
    ) -> Option<(u64, ConnId)> {
        let holder = *self.sessions.get(&session)?;
        let (conn, order) = (self.get(holder)?, self.get(taker)?.order);
        let identity = conn.identity.as_deref()?;
        let is_its = identity.namespace == namespace && identity.grant.is_same_principal(grant);
        if !is_its || order < conn.order {
            return None;
        }
        let worker = identity.worker;
        self.forget_sessions(holder);
        Some((worker, holder))
    }

    pub(super) fn handle_ready(&mut self, id: ConnId, request: u64, now: Time) {
        self.confirm(id, now);
        let identity = self
            .get_mut(id)
            .and_then(|conn| conn.identity.as_deref_mut());
        let older = identity.and_then(|identity| identity.older_session.take());
        if let Some(older) = older {
            self.sessions.remove(&*older);
        }
        self.reply(id, OwnFrame::Registered(request));
    }

    /// What a newcomer did not register again by now leaves the board. Returns how much that is.
    pub(super) fn confirm(&mut self, id: ConnId, now: Time) -> usize {
        let Some(conn) = self.get_mut(id) else {
            return 0;
        };
        let Some(identity) = conn.identity.as_deref_mut() else {
            return 0;
        };
        if !std::mem::take(&mut identity.unconfirmed) {
            return 0;
        }
        let (namespace, worker) = (identity.namespace, identity.worker);
        let gone = self.namespaces[namespace].withdraw_unconfirmed(worker);
        if gone > 0 && self.may_log(now) {
            info!("worker {worker}: {gone} functions were not registered again and leave");
        }
        gone
    }

    /// Whether a line about a single peer may go into the log; those that may not are counted.
    pub fn may_log(&mut self, now: Time) -> bool {
        let rate = self.config.limits.log_lines_per_second;
        let Some(left_out) = self.throttle.allows(now, rate) else {
            let flag = Limits::FLAGS.log_lines_per_second;
            self.stats.count_limited(flag);
            return false;
        };
        if left_out > 0 {
            info!("{left_out} lines about single peers were left out (--log-lines-per-second)");
        }
        true
    }

    pub(super) fn handle_drain(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else { return };
        let Some(identity) = conn.identity.as_deref_mut() else {
            return;
        };
        identity.draining = true;
        let (namespace, worker) = (identity.namespace, identity.worker);
        self.namespaces[namespace].remove_worker(worker);
    }

    pub(super) fn handle_goodbye(&mut self, id: ConnId, now: Time) {
        self.leave(id, Code::Bye.as_str(), "the peer said goodbye", now);
        self.finish_if_paid(id);
    }

    /// SIGTERM: DRAIN to all, then GOODBYE once idle or when the grace period ends. A second time: GOODBYE at
    /// once.
    pub fn handle_shutdown(&mut self, now: Time) {
        if self.shutdown == Shutdown::Done {
            return;
        }
        let first = self.shutdown == Shutdown::No;
        let grace = Limits::ms(self.config.limits.grace);
        self.shutdown = Shutdown::Draining(now.after(grace));
        if first {
            info!("draining {} connections", self.connected);
            for id in self.ids() {
                let retry_after_ms = Some(self.retry_after());
                let drain = Drain {
                    ext: DrainOptions { retry_after_ms },
                };
                if self.get(id).is_some_and(|conn| conn.phase == Phase::Live) {
                    self.send_any_time(id, drain.to_frame());
                }
            }
        }
        if first {
            self.fail_parked();
            self.stop_if_idle(now);
        } else {
            self.stop(now);
        }
    }

    /// A draining engine stops when no caller waits any more.
    pub(super) fn stop_if_idle(&mut self, now: Time) {
        if matches!(self.shutdown, Shutdown::Draining(_)) && self.waiting == 0 {
            self.stop(now);
        }
    }

    /// GOODBYE to all.
    pub(super) fn stop(&mut self, now: Time) {
        self.shutdown = Shutdown::Done;
        self.fail_all();
        for id in self.ids() {
            if self.get(id).is_some_and(|conn| !conn.is_leaving()) {
                self.say_goodbye(id, Code::ShuttingDown, "the engine stops", now);
            }
        }
    }

    /// Every connection.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        self.connections
            .iter()
            .flatten()
            .map(|conn| conn.id)
            .collect()
    }

    /// When a client that is sent away shall come back: different for each, so that a fleet does not return
    /// in one instant.
    fn retry_after(&mut self) -> u64 {
        RETRY_MIN
            + self
                .chance
                .up_to((self.connected as u64).clamp(400, RETRY_SPREAD_MAX))
    }

    /// As [`Engine::say_goodbye`]; counts the limit, if one is behind it.
    pub(super) fn turn_away(&mut self, id: ConnId, refusal: &Refusal, now: Time) {
        refusal.count(&mut self.stats);
        self.say_goodbye(id, refusal.code, &refusal.message, now);
    }

    /// Ends a connection: GOODBYE with the reason, then the close. One log line.
    pub(super) fn say_goodbye(&mut self, id: ConnId, code: Code, message: &str, now: Time) {
        if self.get(id).is_none_or(Connection::is_leaving) {
            return;
        }
        let message = cut(message);
        let retry = matches!(code, Code::ShuttingDown) || code.retryable();
        // Somebody has to do something before it is any good.
        let greeting = self.get(id).is_some_and(|it| it.phase == Phase::Greeting);
        let longer = if code == Code::Unauthorized && greeting {
            UNAUTHORIZED_RETRY
        } else {
            0
        };
        let retry_after_ms = retry.then(|| longer + self.retry_after());
        let versions = if code == Code::UnsupportedVersion {
            vec![VERSION]
        } else {
            Vec::new()
        };
        let goodbye = Goodbye {
            code: Text(code.as_str()),
            message: Text(message),
            ext: GoodbyeOptions {
                retry_after_ms,
                versions,
            },
        };
        self.send_any_time(id, goodbye.to_frame());
        self.leave(id, code.as_str(), message, now);
    }

    /// The connection is over: all that its worker provides leaves the board in this turn. What is owed to
    /// it is still offered, until the linger deadline.
    pub(super) fn leave(&mut self, id: ConnId, code: &'static str, message: &str, now: Time) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let phase = Phase::Leaving {
            heard_eof: conn.rest_is_last,
            half_closed: false,
            discarded: 0,
        };
        if std::mem::replace(&mut conn.phase, phase) == Phase::Greeting {
            self.door.greeted();
        }
        conn.since = now;
        conn.batch = None;
        conn.unread = None;
        self.due.any(conn);
        let peer = conn.peer;
        self.stats.count_closed(code);
        let mut left = 0;
        let who = conn
            .identity
            .as_deref()
            .map(|it| (it.namespace, it.worker, it.name.clone()));
        if let Some((namespace, worker, _)) = &who {
            // A session that was taken over belongs to the newcomer: nothing of it is cleaned up here.
            if self.forget_sessions(id) {
                left = self.namespaces[*namespace].remove_worker(*worker);
            }
            self.cancel_made(id);
            self.end_running(id, now);
        }
        // Somebody who only looked on and said goodbye is no news; who was not let in was told of before.
        let is_said = code == Code::Unauthorized.as_str() && who.is_none();
        let level = if code == Code::Bye.as_str() && left == 0 || is_said {
            Level::Debug
        } else {
            Level::Info
        };
        if level == Level::Debug || self.may_log(now) {
            let message = message.escape_debug();
            match who {
                Some((_, worker, name)) => log!(
                    level,
                    "{peer} closed: {code}: {message}; worker {worker} {name:?} leaves with {left} functions"
                ),
                None => log!(level, "{peer} closed before HELLO: {code}: {message}"),
            }
        }
        self.arm(id, now);
        // It may have been the last whom a draining engine waited for.
        self.stop_if_idle(now);
    }

    /// Drops the session keys of a connection. Returns whether it held a session.
    fn forget_sessions(&mut self, id: ConnId) -> bool {
        let Some(identity) = self
            .get_mut(id)
            .and_then(|conn| conn.identity.as_deref_mut())
        else {
            return false;
        };
        let (session, older) = (identity.session, identity.older_session.take());
        // A key may be another connection's by now.
        let mut forget = |key: [u8; 16]| {
            let is_its = self.sessions.get(&key) == Some(&id);
            is_its && self.sessions.remove(&key).is_some()
        };
        if let Some(older) = older {
            forget(*older);
        }
        forget(session)
    }

    /// Closes a connection that is over as soon as all that it is owed was written.
    pub(super) fn finish_if_paid(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else { return };
        if conn.outbox.owes() {
            return;
        }
        if let Phase::Leaving {
            heard_eof,
            half_closed,
            ..
        } = &mut conn.phase
        {
            if *heard_eof {
                self.remove(id);
            } else if !std::mem::replace(half_closed, true) {
                self.closes.push_back(Close::SendingHalf(id));
            }
        }
    }

    /// Gives back what a connection had in its namespace.
    pub(super) fn release_identity(&mut self, conn: &mut Connection) {
        let Some(mut identity) = conn.identity.take() else {
            return;
        };
        let namespace = &mut self.namespaces[identity.namespace];
        if let Some(wanted) = identity.wanted.take() {
            namespace.unwant(&wanted);
        }
        namespace.connections -= 1;
        if namespace.connections == 0 {
            self.idle_order += 1;
            namespace.idle_order = self.idle_order;
        }
        if let Some(place) = identity.audience {
            self.part(identity.namespace, place);
        }
    }

    /// Takes a connection out of its audience; another one gets its place there.
    pub(super) fn part(&mut self, namespace: usize, place: (usize, usize)) {
        let namespace = &mut self.namespaces[namespace];
        let moved = namespace
            .part(place)
            .and_then(|id| super::live(&mut self.connections, id));
        if let Some(other) = moved {
            self.due.more(other);
            if let Some(identity) = other.identity.as_deref_mut() {
                identity.audience = Some(place);
            }
        }
    }
}

/// How many calls a worker takes at once. Never more than it may make: what it does not answer stays on the
/// engine's books.
fn capacity(hello: &Hello<'_>, limits: &Limits) -> u32 {
    let most = limits.max_calls.clamp(1, u64::from(u32::MAX));
    hello
        .ext
        .capacity
        .unwrap_or(CAPACITY_DEFAULT)
        .clamp(1, most) as u32
}

/// Checks what a HELLO says by itself; returns the namespace that it names.
fn check_hello<'a>(
    hello: &Hello<'a>,
    grant: &'a Grant,
    limits: &Limits,
) -> Result<&'a str, Refusal> {
    check_worker_name(&hello.name).map_err(|error| refused_name("worker name", error))?;
    let name = match (&grant.namespace, hello.namespace.0) {
        (Some(own), "") => own,
        (None, "") => DEFAULT_NAMESPACE,
        (_, named) => named,
    };
    check_event_name(name).map_err(|error| refused_name("namespace", error))?;
    let (bytes, limit) = (hello.ext.metadata.len() as u64, limits.max_worker_metadata);
    if bytes > limit {
        let message = format!("{bytes} bytes of worker metadata, the limit is {limit}");
        let flag = Limits::FLAGS.max_worker_metadata;
        return Err(Refusal::over(flag, Code::MetadataTooLarge, &message));
    }
    if let Some(watch) = &hello.ext.watch {
        let sections = [&watch.functions, &watch.workers, &watch.bindings];
        let limit = limits.max_prefixes;
        if sections
            .into_iter()
            .flatten()
            .any(|section| section.len() as u64 > limit)
        {
            let message = format!("a section has more than {limit} prefixes");
            let flag = Limits::FLAGS.max_prefixes;
            return Err(Refusal::over(flag, Code::TooManyPrefixes, &message));
        }
    }
    Ok(name)
}

/// Where the view of a new connection begins: at its resume point, if the log still reaches back to it.
fn where_to_begin(resume: Option<&Resume<'_>>, namespace: &Namespace, digest: [u8; 8]) -> Stream {
    match resume {
        None => Stream::Begin("joined"),
        Some(resume) if resume.epoch != namespace.epoch => Stream::Begin("foreign_epoch"),
        Some(resume) if *resume.digest != digest => Stream::Begin("other_watch"),
        Some(resume) if !namespace.log.reaches(resume.revision) => Stream::Begin(LOG_TRIMMED),
        Some(resume) => Stream::Changes(Position::new(resume.revision, Reader::Exact)),
    }
}

fn refused_name(what: &str, error: NameError) -> Refusal {
    Refusal::new(Code::InvalidName, format!("{what}: {error}"))
}
