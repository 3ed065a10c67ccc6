//! The books: everything that is kept beside its source (counts, totals, indices, queues, caches, timers), recounted and
//! compared. Each part recounts its own with all its fields named, so a new field does not compile before it is either
//! recounted or said to be a source; here is what spans several parts. In builds with debug assertions only.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::engine::access::grant::Grant;
use crate::engine::calls::call::Call;
use crate::engine::calls::routing::Load;
use crate::engine::connection::Connection;
use crate::engine::connection::session::Session;
use crate::engine::connection::step_log::{LoggedStep, StepKind};
use crate::engine::interface::{ConnId, Time};
use crate::engine::registry::namespace::Namespace;
use crate::engine::{Engine, Timer};

use super::input::Step;
use super::timers::earliest_deadline;

impl Engine {
    /// Recounts all books. Call it after [`Engine::seal`] or at the end of a turn, for tests: it takes as long as the
    /// engine is large.
    ///
    /// # Panics
    /// If a book is wrong.
    pub fn check_books(&self, now: Time) {
        let Self {
            config,
            ceiling: _,
            lifecycle: _,
            rng: _,
            hash_keys: _,
            connections,
            admission,
            users,
            run,
            authenticator: _,
            review,
            sessions,
            registry,
            calls,
            timers,
            input,
            output,
            metrics,
        } = self;
        connections.check_books();
        admission.check_books(connections);
        users.check_books(connections.iter().map(Connection::user));
        run.check_books(connections);
        sessions.check_books(connections);
        let last_sessions = connections.iter().filter_map(Connection::last_session);
        let is_judged = |grant: &Grant| self.authenticator.is_of_present(grant);
        let unjudged = connections.iter().filter(|conn| {
            let session = conn.session();
            session.is_some_and(|session| !is_judged(session.grant()))
        });
        review.check_books(unjudged.map(Connection::id));
        registry.check_books(last_sessions.map(|it| (it.namespace(), it.check_charge())));
        calls.check_books(config.limits.max_calls_total);
        timers.check_books();
        input.check_books(connections);
        output.check_books(connections, registry);
        let present = connections.iter().filter(|conn| !conn.is_leaving());
        metrics.check_books(present.count());
        self.check_timers(now);
        self.check_calls();
        for (key, namespace) in registry.entries() {
            self.check_namespace(key, namespace);
        }
        for conn in connections.iter() {
            self.check_session(conn);
        }
    }

    /// From now on the engine keeps a log of its steps, for tests that take it with [`Engine::take_steps`].
    pub fn log_steps(&mut self) {
        self.run.log.start();
    }

    /// The steps since the last call, in order, if [`Engine::log_steps`] was called.
    pub fn take_steps(&mut self) -> Vec<LoggedStep> {
        self.run.log.take()
    }

    /// What users owe since the last call for what others were told because of them, and for what they asked for.
    pub fn take_debts(&mut self) -> Vec<(usize, u64)> {
        self.run.log.take_debts()
    }

    /// Names the user of a connection, among those of all connections now.
    #[must_use]
    pub fn user_of(&self, id: ConnId) -> Option<usize> {
        self.connections.get(id).map(|conn| conn.user().index())
    }

    /// Whether a connection is not served because it has used up its budget of changes or work.
    #[must_use]
    pub fn is_slowed(&self, id: ConnId) -> bool {
        let conn = self.connections.get(id);
        conn.is_some_and(|conn| conn.pause().budget)
    }

    /// Logs a frame that was handled, or a slice of it. `before` is the work of the frames before it.
    pub(super) fn log_frame(&mut self, conn: ConnId, step: Step, before: u64) {
        let kind = match step {
            Step::Done => StepKind::Frame,
            Step::Slice => StepKind::Slice,
            Step::Postponed => return,
        };
        let work = self.input.work() - before;
        self.run.log.push(LoggedStep { conn, kind, work });
    }

    /// Logs a step of another kind.
    pub(super) fn log_step(&mut self, conn: ConnId, kind: StepKind, work: u64) {
        self.run.log.push(LoggedStep { conn, kind, work });
    }

    /// Logs the end of a connection, and the work of that.
    pub(super) fn log_end(&mut self, conn: ConnId, code: &'static str, work: u64) {
        let kind = StepKind::End(code);
        self.run.log.push(LoggedStep { conn, kind, work });
    }

    /// The size of what [`Engine::check_books`] walks over: connections, calls, functions and bindings.
    #[must_use]
    pub fn books(&self) -> usize {
        let totals = self.registry.iter().map(|it| it.roster().totals());
        let registrations: usize = totals.map(|it| it.functions + it.bindings).sum();
        self.connections.len() + self.calls.len() + registrations
    }

    /// Each timer is that of a connection or a call. That of a connection fires no later than its earliest deadline.
    fn check_timers(&self, now: Time) {
        let mut armed = 0;
        for conn in self.connections.iter() {
            let id = conn.id();
            let fires = conn.timer().map(|(timer, _)| {
                let found = self.timers.get(timer);
                let (at, subject) = found.expect("a connection's timer is armed");
                assert_eq!(*subject, Timer::Connection(id), "subject of a timer");
                armed += 1;
                at
            });
            let (deadline, what) = earliest_deadline(conn, &self.config.limits);
            if deadline < Time(u64::MAX) {
                let latest = Time(deadline.max(now).0.div_ceil(1000) * 1000);
                let fires = fires.unwrap_or(Time(u64::MAX));
                assert!(
                    fires <= latest,
                    "{id:?}: {what:?} at {deadline:?}, not {fires:?}"
                );
            }
        }
        for call in self.calls.iter() {
            let Some(timer) = call.timer else {
                assert!(call.caller.is_none(), "no deadline: {call:?}");
                continue;
            };
            let (at, subject) = self.timers.get(timer).expect("a call's timer is armed");
            assert_eq!(*subject, Timer::Call(call.id), "subject of a timer");
            assert_eq!(at.0, call.terms.deadline.0.div_ceil(1000) * 1000);
            armed += 1;
        }
        assert_eq!(self.timers.len(), armed, "timers of connections and calls");
    }

    /// Each call is counted with its caller and with its provider. No call is parked while a provider has room, and each
    /// provider of its function has a note of it.
    fn check_calls(&self) {
        let mut made: BTreeMap<ConnId, Vec<(u64, &Call)>> = BTreeMap::new();
        for call in self.calls.iter() {
            if let Some(caller) = &call.caller {
                let of_caller = made.entry(caller.conn).or_default();
                of_caller.push((caller.request, call));
            }
        }
        let mut running = 0;
        for conn in self.connections.iter() {
            if let Some(calls) = conn.calls() {
                let made = made.remove(&conn.id()).unwrap_or_default();
                running += self.calls.check_connection(conn.id(), calls, &made);
            }
        }
        assert!(made.is_empty(), "callers that are gone: {made:?}");
        let in_lists = running + self.calls.parked();
        assert_eq!(in_lists, self.calls.len(), "calls in lists");
        for (namespace, board) in self.registry.entries().map(|(key, it)| (key, it.board())) {
            for key in self.calls.parked_keys(namespace) {
                let providers = board.providers_of(&key.function).unwrap_or_default();
                let able = providers
                    .iter()
                    .filter(|it| key.worker.is_none_or(|worker| worker == it.worker));
                for provider in able {
                    let id = provider.conn;
                    let calls = self.calls_of(id);
                    let noted = calls.is_some_and(|it| it.parked().contains(&key));
                    assert!(noted, "{id:?} has no note of {key:?}");
                    let has_room = self.load(id).is_some_and(Load::has_room);
                    let conn = self.connections.get(id);
                    let is_due = conn.is_some_and(Connection::is_parked_due);
                    assert!(!has_room || is_due, "{id:?} has room for {key:?}");
                }
            }
        }
    }

    /// Providers and members of audiences are live connections of this namespace.
    fn check_namespace(&self, key: usize, namespace: &Namespace) {
        let rules = self.authenticator.observe_rules(namespace.name());
        assert_eq!(namespace.roster().observer_rules(), rules, "rules");
        for (_, name, provider) in namespace.board().all_providers() {
            let conn = self.connections.get(provider.conn);
            let session = conn.and_then(Connection::session);
            let found = session.map(|it| (it.namespace(), it.worker(), it.tier()));
            let expected = (key, provider.worker, provider.tier);
            assert_eq!(found, Some(expected), "provider of {name}");
        }
        let live = self.connections.iter().filter_map(Connection::session);
        let live: BTreeSet<u64> = live.map(Session::worker).collect();
        for (_, key, binder) in namespace.bindings().all_providers() {
            assert!(live.contains(&binder.worker), "worker of {key:?}");
        }
        let mut members = 0;
        for (place, id) in namespace.members() {
            let place_of = self.connections.get(id).and_then(Connection::audience);
            assert_eq!(place_of, Some((key, place)), "audience of {id:?}");
            members += 1;
        }
        let sessions = self.connections.iter().filter_map(Connection::last_session);
        let sessions: Vec<&Session> = sessions.filter(|it| it.namespace() == key).collect();
        let watchers = sessions.iter().filter(|it| it.audience().is_some());
        assert_eq!(watchers.count(), members, "members of audiences");
        let restricted = sessions.iter().filter(|it| it.requested().is_some());
        assert_eq!(restricted.count(), namespace.requested_users(), "filters");
    }

    /// A live connection has the present grant of its key, and watches what it requested as far as its rights allow.
    fn check_session(&self, conn: &Connection) {
        let (id, Some(session)) = (conn.id(), conn.session()) else {
            return;
        };
        let grant = session.grant();
        let is_judged = self.authenticator.is_of_present(grant);
        assert!(is_judged || self.review.is_open(), "{id:?} is forgotten");
        assert!(
            !is_judged || self.authenticator.is_present(grant),
            "grant of {id:?}"
        );
        let pause = conn.pause();
        let half = self.config.limits.max_outbound as usize / 2;
        assert!(
            !pause.outbound || conn.outbox().bytes() >= half,
            "{id:?} is paused"
        );
        let namespace = &self.registry[session.namespace()];
        let Some((audience, _)) = session.audience() else {
            return;
        };
        let filter = namespace.audience(audience).filter();
        let requested = session.requested().inspect(|requested| {
            let stored = namespace.requested(requested);
            assert!(stored.is_some_and(|it| Rc::ptr_eq(it, requested)));
        });
        assert!(requested.is_none_or(|it| it != filter), "filter of {id:?}");
        let requested = requested.unwrap_or(filter);
        let allowed = match &grant.observe {
            Some(rules) => requested.restricted_by(rules),
            None => (**requested).clone(),
        };
        assert_eq!(**filter, allowed, "filter of {id:?}");
    }
}
