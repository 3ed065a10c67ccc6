//! HELLO and WELCOME, the takeover of a session by its worker's next connection, and READY.

use std::rc::Rc;

use log::{debug, info, warn};

use crate::engine::Engine;
use crate::engine::access::grant::Grant;
use crate::engine::ceiling::NAMESPACE;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::Reply;
use crate::engine::connection::session::{Sender, Session, SessionKey, SessionStart};
use crate::engine::interface::{ConnId, Time};
use crate::engine::refusal::Refusal;
use crate::engine::registry::filter::WatchFilter;
use crate::engine::registry::namespace::{DEFAULT_NAMESPACE, Namespace};
use crate::engine::registry::position::{Position, Reader, Stream, resync};
use crate::engine::registry::roster::Worker;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::{
    Code, Hello, NameError, Resume, Text, VERSION, Welcome, WelcomeOptions, WorkerLimits,
    check_event_name, check_worker_name,
};

/// Calls that a worker runs at once unless its HELLO says otherwise.
const CAPACITY_DEFAULT: u64 = 1000;

/// A session that a HELLO takes over.
struct Takeover {
    worker: u64,
    key: SessionKey,
    /// The connection that holds it.
    holder: ConnId,
    tier: u64,
    /// When the session began.
    since: Time,
}

/// How WELCOME describes the start of a session.
#[derive(Debug, Clone, Copy)]
struct Start {
    digest: [u8; 8],
    resumed: bool,
    taken_over: bool,
}

impl Engine {
    pub(super) fn handle_hello(&mut self, id: ConnId, hello: &Hello<'_>, now: Time) {
        self.input.add(work::HELLO, 1);
        if !hello.versions.contains(&VERSION) {
            let message = format!("this engine speaks version {VERSION}");
            return self.close_with(id, Code::UnsupportedVersion, &message, now);
        }
        match self.start_session(id, hello, now) {
            Ok(()) => self.arm(id, now),
            Err(refusal) => self.close_refused(id, &refusal, now),
        }
    }

    /// Checks everything that a HELLO asks for, then grants it.
    fn start_session(&mut self, id: ConnId, hello: &Hello<'_>, now: Time) -> Result<(), Refusal> {
        let grant = self.authenticate(id, hello, now)?;
        let name = check_hello(hello, &grant, &self.config.limits)?;
        // It was not told DRAIN, and would wait in vain.
        if !self.lifecycle.is_running() {
            let message = "the engine is shutting down";
            return Err(Refusal::new(Code::ShuttingDown, message));
        }
        self.join_principal(id, &grant);
        let known = self.registry.find(name);
        let takeover = known.and_then(|key| self.find_takeover(hello, key, (&grant, id), now));
        let requested = WatchFilter::new(hello.ext.watch.as_ref());
        let watches = !requested.is_empty();
        let filter = match &grant.observe {
            Some(rules) => requested.restricted_by(rules),
            None => requested.clone(),
        };
        // What a takeover brings is here already, but for other metadata and another watch.
        if takeover.is_none() {
            self.check_newcomer(memory_of(hello, [&requested, &filter]))?;
        }
        let key = self.find_or_add_namespace(id, name)?;
        let digest = filter.digest(grant.edition, self.hash_keys);
        if watches {
            self.check_audience(id, key, &filter)?;
        }

        // From here on nothing is refused.
        let worker = match &takeover {
            Some(takeover) => {
                self.forget_session(takeover.holder);
                takeover.worker
            }
            None => self.sessions.next_worker(),
        };
        self.registry.connect(key);
        let start = SessionStart {
            namespace: key,
            since: takeover.as_ref().map_or(now, |takeover| takeover.since),
            worker,
            name: hello.name.0.into(),
            metadata: self.sessions.metadata(hello.ext.metadata.0),
            key: self.rng.session_key(),
            grant,
            capacity: capacity(hello, &self.config.limits),
            tier: hello.ext.tier,
        };
        let mut session = Session::new(start, &self.registry.usage().boards);
        let namespace = &mut self.registry[key];
        if watches && filter != requested {
            session.set_requested(namespace.share_requested(requested));
        }
        if let Some(takeover) = &takeover {
            let roster = namespace.roster().get(takeover.worker);
            let registrations = roster.map_or(0, Worker::registrations);
            self.input.add(work::MARK, registrations);
            if takeover.tier != session.tier() {
                self.input.add(work::ENTRY, registrations);
            }
            let unconfirmed = namespace.take_over(session.registrant(id));
            session.set_taken_over(takeover.key, unconfirmed);
            self.sessions.insert(takeover.key, id);
        }
        self.sessions.insert(session.key(), id);
        let stream = if watches {
            let stream = first_stream(hello.ext.resume.as_ref(), namespace, digest);
            session.set_audience(Some(namespace.join(filter, id)));
            stream
        } else {
            Stream::Idle
        };
        let start = Start {
            digest,
            resumed: matches!(stream, Stream::Changes(_)),
            taken_over: takeover.is_some(),
        };
        let welcome = self.welcome(&session, start, now);
        let conn = self.connections.get_mut(id);
        let conn = conn.expect("it said HELLO just now");
        debug!(
            "{} is worker {worker} {:?} in {:?}{}{}",
            conn.peer(),
            session.name(),
            self.registry[key].name(),
            if start.taken_over {
                ", took its session over"
            } else {
                ""
            },
            if start.resumed { ", resumes" } else { "" },
        );
        conn.start_session(session, stream, now);
        self.admission.end_greeting();
        self.send_unordered(id, welcome);
        // Last, so that idempotent calls of the older connection can be run by the newer one.
        if let Some(Takeover { holder, .. }) = takeover {
            let message = "another connection presented this session's key";
            self.close_with(holder, Code::SessionTakenOver, message, now);
            self.hand_over_parked(holder, id, now);
        }
        Ok(())
    }

    /// A principal pays for its connections, wherever they come from.
    fn join_principal(&mut self, id: ConnId, grant: &Grant) {
        if grant.namespace.is_none() {
            return;
        }
        let user = self.users.join_principal(&grant.principal, grant.weight);
        let conn = self.connections.get_mut(id);
        let before = conn.expect("it said HELLO just now").set_user(user);
        self.leave_user(before);
    }

    /// The grant for a HELLO. A refusal is counted, and logged with the peer's address.
    fn authenticate(
        &mut self,
        id: ConnId,
        hello: &Hello<'_>,
        now: Time,
    ) -> Result<Rc<Grant>, Refusal> {
        let conn = self.connections.get(id);
        let peer = conn.expect("it said HELLO just now").peer();
        let token = hello.ext.token.as_ref().map(|token| token.0);
        let granted = self.authenticator.authenticate(token, &peer);
        let granted = granted.and_then(|grant| {
            let asked = hello.namespace.0;
            match &grant.namespace {
                Some(own) if !asked.is_empty() && **own != *asked => {
                    let message = format!(
                        "principal `{}` may not join this namespace",
                        grant.principal
                    );
                    Err(Refusal::new(Code::Unauthorized, message))
                }
                _ => Ok(grant),
            }
        });
        let granted = granted.and_then(|grant| grant.tier(hello.ext.tier).map(|_| grant));
        if let Err(refusal) = &granted {
            self.metrics.count_failed_login();
            if self.may_log(now) {
                warn!("audit: {peer}: authentication failed: {}", refusal.message);
            }
        }
        granted
    }

    fn welcome(&self, session: &Session, start: Start, now: Time) -> Vec<u8> {
        let limits = &self.config.limits;
        let namespace = &self.registry[session.namespace()];
        let settled = self.lifecycle.started().after(Limits::ms(limits.settling));
        let key = session.key();
        let welcome = Welcome {
            version: VERSION,
            worker: session.worker(),
            engine: Text(&self.config.name),
            epoch: namespace.epoch(),
            revision: namespace.revision(),
            session: (&key[..]).into(),
            digest: (&start.digest[..]).into(),
            ext: WelcomeOptions {
                ping_ms: limits.ping_after,
                silence_ms: limits.silence,
                settling_ms: settled.0.saturating_sub(now.0) / 1000,
                resumed: start.resumed,
                taken_over: start.taken_over,
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

    /// The namespace of this name, added if there is none.
    fn find_or_add_namespace(&mut self, id: ConnId, name: &str) -> Result<usize, Refusal> {
        if let Some(key) = self.registry.find(name) {
            return Ok(key);
        }
        let most = self.config.limits.max_namespaces;
        let limits = &self.config.limits;
        let added = self.registry.add(name, most, limits, &mut self.rng);
        let key = match added {
            Some(key) => key,
            None => self.add_beyond_limit(id, name)?,
        };
        let rules = self.authenticator.observe_rules(name);
        self.registry[key].set_observer_rules(rules);
        Ok(key)
    }

    /// Adds a namespace although as many as the limit says are in use, if the user of the connection has a quota for it.
    fn add_beyond_limit(&mut self, id: ConnId, name: &str) -> Result<usize, Refusal> {
        let limits = &self.config.limits;
        let most = limits.max_namespaces.saturating_mul(2);
        let added = if self.has_namespace_quota(id) {
            self.registry.add(name, most, limits, &mut self.rng)
        } else {
            None
        };
        added.ok_or_else(|| {
            let message = format!("{} namespaces are in use", limits.max_namespaces);
            let flag = Limits::FLAGS.max_namespaces;
            Refusal::over(flag, Code::TooManyNamespaces, &message)
        })
    }

    /// The session that a HELLO presents the key of. Ignores a key that is unknown or belongs to another namespace or
    /// principal, and a key that comes late: over a connection that is older than the holder, which the worker has given
    /// up since.
    fn find_takeover(
        &mut self,
        hello: &Hello<'_>,
        namespace: usize,
        (grant, taker): (&Grant, ConnId),
        now: Time,
    ) -> Option<Takeover> {
        let key = SessionKey::try_from(hello.ext.session?.0).ok()?;
        let holder = self.sessions.holder(&key)?;
        self.judge(holder, now);
        let conn = self.connections.get(holder)?;
        let sequence = self.connections.get(taker)?.sequence();
        let session = conn.session()?;
        let is_its = session.namespace() == namespace && session.grant().is_same_principal(grant);
        if !is_its || sequence < conn.sequence() {
            return None;
        }
        Some(Takeover {
            worker: session.worker(),
            key,
            holder,
            tier: session.tier(),
            since: session.since(),
        })
    }

    pub(super) fn handle_ready(&mut self, from: Sender, request: u64, now: Time) {
        self.confirm(from.conn, now);
        let conn = self.connections.get_mut(from.conn);
        let session = conn.and_then(Connection::session_mut);
        if let Some(older) = session.and_then(Session::take_older_key) {
            self.sessions.remove(&older);
        }
        self.reply(from.conn, Reply::Acknowledgement(request));
    }

    /// Ends a takeover: everything that the worker has not registered again leaves the board. Returns how many functions
    /// and bindings that are.
    pub(super) fn confirm(&mut self, id: ConnId, now: Time) -> usize {
        let conn = self.connections.get_mut(id);
        let Some(session) = conn.and_then(Connection::session_mut) else {
            return 0;
        };
        if !session.confirm() {
            return 0;
        }
        let (namespace, worker) = (session.namespace(), session.worker());
        let registered = self.registry[namespace].roster().get(worker);
        let registered = registered.map_or(0, Worker::registrations);
        let removed = self.registry[namespace].remove_unconfirmed(worker);
        self.input.add(work::MARK, registered);
        self.input.add(work::ENTRY, removed);
        if removed > 0 && self.may_log(now) {
            info!(
                "worker {worker}: removed {removed} functions and bindings that were not registered again"
            );
        }
        removed
    }
}

/// Bytes that a worker with this HELLO takes at the most, beside its connection.
fn memory_of(hello: &Hello<'_>, watches: [&WatchFilter; 2]) -> usize {
    let watches: usize = watches.into_iter().map(WatchFilter::bytes).sum();
    NAMESPACE + hello.name.len() + hello.ext.metadata.len() + watches
}

/// The number of calls that a worker runs at once. Never more than it may make: calls that it does not answer stay in
/// the engine's table.
fn capacity(hello: &Hello<'_>, limits: &Limits) -> u32 {
    let most = limits.max_calls.clamp(1, u64::from(u32::MAX));
    hello
        .ext
        .capacity
        .unwrap_or(CAPACITY_DEFAULT)
        .clamp(1, most) as u32
}

/// Checks a HELLO by itself. Returns the namespace that it names.
fn check_hello<'a>(
    hello: &Hello<'a>,
    grant: &'a Grant,
    limits: &Limits,
) -> Result<&'a str, Refusal> {
    check_worker_name(&hello.name).map_err(|error| invalid_name("worker name", error))?;
    let name = match (&grant.namespace, hello.namespace.0) {
        (Some(own), "") => own,
        (None, "") => DEFAULT_NAMESPACE,
        (_, named) => named,
    };
    check_event_name(name).map_err(|error| invalid_name("namespace", error))?;
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

/// The stream of a new connection: changes from its resume point if the log still reaches back to it, else a snapshot.
fn first_stream(resume: Option<&Resume<'_>>, namespace: &Namespace, digest: [u8; 8]) -> Stream {
    match resume {
        None => Stream::Resync(resync::JOINED),
        Some(resume) if resume.epoch != namespace.epoch() => Stream::Resync(resync::FOREIGN_EPOCH),
        Some(resume) if *resume.digest != digest => Stream::Resync(resync::OTHER_WATCH),
        Some(resume) if !namespace.log().reaches(resume.revision) => {
            Stream::Resync(resync::LOG_TRIMMED)
        }
        Some(resume) => Stream::Changes(Position::new(resume.revision, Reader::Exact)),
    }
}

fn invalid_name(what: &str, error: NameError) -> Refusal {
    Refusal::new(Code::InvalidName, format!("{what}: {error}"))
}
