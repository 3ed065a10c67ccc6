//! What the engine should make of what it reads: the protocol's rules of sessions, registrations, takeovers
//! and requests once more, in the plainest way. It decodes the same bytes that the engine is given, keeps
//! the model of each board, and knows which answer is owed for each request. It never asks the engine.

mod backlog;
mod ending;
mod hello;
mod reload;

use std::collections::BTreeMap;
use std::rc::Rc;

use callboard::engine::Verb;
use callboard::limits::Limits;
use callboard::protocol::{Bind, FrameError, Message, Register, Unbind, Unregister};

use crate::application::{self, KICK};
use crate::board::{Entry, Key, Namespace};
use crate::call_oracle::{Attempt, CallOracle, Ending, Forbidden, number};
use crate::coincidences::{Happening, happened};
use crate::journal::saw;
use crate::peer_model::{Batch, Owed, PeerModel, Phase};
use crate::principals::Principals;

pub(crate) use backlog::{CastCount, Emission};

/// The answer owed for a request that the rights do not allow.
fn forbidden() -> Owed {
    saw("a request was forbidden");
    Owed::Refused("forbidden")
}

#[derive(Debug)]
pub(crate) struct EngineModel {
    pub limits: Limits,
    /// The principals that the engine admits; `None` admits every peer.
    principals: Option<Principals>,
    /// Counts what happened.
    pub tick: u64,
    pub namespaces: BTreeMap<String, Namespace>,
    pub peers: BTreeMap<u64, PeerModel>,
    sessions: BTreeMap<Vec<u8>, u64>,
    last_worker: u64,
    /// How many connections ended with which code.
    pub closed: BTreeMap<String, u64>,
    /// The engine was told to stop.
    pub stopping: bool,
    /// Answers of this turn.
    unsealed: Vec<(u64, u64)>,
    /// When a connection ended last.
    pub last_left: u64,
    /// Casts, where turns do little work.
    casts: CastCount,
    /// What was unbound by what the step did that is told of next.
    lately_unbound: Vec<(String, Key, bool)>,
}

impl EngineModel {
    pub(crate) fn new(limits: Limits, tick: u64) -> Self {
        Self {
            limits,
            principals: None,
            tick,
            namespaces: BTreeMap::new(),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_worker: 0,
            closed: BTreeMap::new(),
            stopping: false,
            unsealed: Vec::new(),
            last_left: 0,
            casts: CastCount::default(),
            lately_unbound: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, token: u64, origin: Rc<str>, oracle: &mut CallOracle, now: u64) {
        let admitted = self.peers.values().filter(|it| !it.refused).count();
        let full = admitted as u64 >= self.limits.max_connections && !self.stopping;
        let refused = full;
        self.peers.insert(
            token,
            PeerModel {
                refused,
                origin,
                ..PeerModel::new(now)
            },
        );
        if self.stopping {
            self.end(token, "shutting_down", oracle);
        } else if full {
            saw("a connection was refused");
            self.end(token, "too_many_connections", oracle);
        }
    }

    /// The user that a connection belongs to: a principal, or an address.
    pub(crate) fn user(&self, token: u64) -> Rc<str> {
        let Some(peer) = self.peers.get(&token) else {
            return "nobody".into();
        };
        if self.principals.is_some() && !peer.credential.is_empty() {
            peer.credential.as_str().into()
        } else {
            peer.origin.clone()
        }
    }

    /// The weight of a user.
    pub(crate) fn weight(&self, user: &str) -> u64 {
        let principals = self.principals.as_ref();
        principals.map_or(1, |it| it.weight(user).into())
    }

    pub(crate) fn forget(&mut self, token: u64) {
        self.peers.remove(&token);
    }

    fn peer(&mut self, token: u64) -> &mut PeerModel {
        self.peers
            .get_mut(&token)
            .expect("a connection that the engine has")
    }

    fn names(&self, token: u64) -> (String, u64, Rc<str>, Rc<[u8]>) {
        let it = &self.peers[&token];
        (
            it.namespace.clone(),
            it.worker,
            it.name.clone(),
            it.metadata.clone(),
        )
    }

    fn board(&mut self, token: u64) -> &mut Namespace {
        let name = self.peers[&token].namespace.clone();
        self.namespaces.entry(name).or_insert_with(Namespace::new)
    }

    /// Whether a worker's connection has ended and the engine is still to withdraw what it has. It gets no calls any more.
    fn is_dying(&self, worker: u64) -> bool {
        let is_it = |it: &PeerModel| it.worker == worker && it.holds && it.phase == Phase::Live;
        let peer = self.peers.values().find(|it| is_it(it));
        peer.is_some_and(|it| it.ending.is_some())
    }

    pub(crate) fn is_over(&self, token: u64) -> bool {
        let peer = self.peers.get(&token);
        peer.is_none_or(|it| matches!(it.phase, Phase::Over(_)))
    }

    /// The engine reads these bytes.
    pub(crate) fn hear(&mut self, token: u64, mut bytes: &[u8], oracle: &mut CallOracle, now: u64) {
        let peer = self.peer(token);
        peer.hear_of(now);
        if matches!(peer.phase, Phase::Over(_)) {
            return;
        }
        let mut inbox = std::mem::take(&mut peer.inbox);
        let mut begun = peer.frame.take().map(|(since, _)| since);
        loop {
            let limit = match self.peer(token).phase {
                Phase::Greeting => self.limits.max_hello,
                Phase::Live => self.limits.max_frame,
                Phase::Over(_) => return,
            };
            match inbox.next(&mut bytes, limit as usize) {
                Ok(Some(frame)) => {
                    self.tick += 1;
                    begun = None;
                    self.lately_unbound.clear();
                    self.frame(token, frame, oracle, now);
                }
                Ok(None) => break,
                Err(FrameError::TooLarge { .. }) if limit == self.limits.max_frame => {
                    return self.end(token, "frame_too_large", oracle);
                }
                Err(_) => return self.end(token, "protocol_error", oracle),
            }
        }
        let peer = self.peer(token);
        if inbox.held() > 0 {
            peer.frame = Some((begun.unwrap_or(now), inbox.announced().unwrap_or(0)));
        }
        peer.inbox = inbox;
    }

    fn frame(&mut self, token: u64, frame: &[u8], oracle: &mut CallOracle, now: u64) {
        let Ok(message) = Message::decode(frame) else {
            return self.end(token, "protocol_error", oracle);
        };
        if self.peer(token).phase == Phase::Greeting {
            return match message {
                Message::Hello(hello) => self.hello(token, &hello, oracle),
                Message::Goodbye(_) => self.end(token, "bye", oracle),
                _ => self.end(token, "protocol_error", oracle),
            };
        }
        let tick = self.tick;
        if let Some(happening) = Happening::said(&message) {
            happened(happening, Some(token));
        }
        match message {
            Message::Register(it) => self.register(token, &it, oracle),
            Message::Unregister(it) => self.unregister(token, &it),
            Message::Ready(it) => {
                let left = self.confirm(token);
                let peer = self.peer(token);
                peer.is_ready = true;
                let older = peer.older_session.take();
                // A drained worker's READY marks the place from where on nothing may come.
                let left = if peer.draining { vec!["".into()] } else { left };
                if let Some(older) = older {
                    self.sessions.remove(&older);
                }
                self.owe(token, it.id, Owed::Done { tick, left });
            }
            Message::Bind(it) => self.bind(token, &it),
            Message::Unbind(it) => self.unbind(token, &it),
            Message::Call(it) => self.call(token, &it, oracle, now),
            Message::Cancel(it) => {
                if let Some((Owed::Call(index), _)) = self.peer(token).owed.get(&it.id) {
                    let attempt = &mut oracle.attempts[*index];
                    attempt.cancelled = true;
                    attempt.due.get_or_insert("it was cancelled");
                }
            }
            Message::Outcome(it) => {
                self.answer(token, it.id, Ending::Result(it.payload.to_vec()), oracle);
            }
            Message::Failure(it) => self.answer(token, it.id, Ending::of(&it).passed_on(), oracle),
            Message::Emit(it) => self.emit(token, &it, true, oracle),
            Message::Drain(_) => {
                saw("a worker drained");
                let worker = self.peer(token).worker;
                self.peer(token).draining = true;
                self.board(token).remove(worker, tick);
            }
            Message::Goodbye(_) => self.end(token, "bye", oracle),
            Message::Unknown { id: Some(id), .. } => {
                self.owe(token, id, Owed::Refused("unsupported"));
            }
            Message::Cast(it) => {
                let number = number(&it.payload).expect("every cast is in the oracle");
                let is_allowed = self.peer(token).permit.may(Verb::Call, &it.function);
                self.note_cast(is_allowed);
                let intent = &mut oracle.intents[number];
                intent.heard.get_or_insert(tick);
                if !is_allowed {
                    intent.forbidden = true;
                    saw("a cast was forbidden");
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Unknown { id: None, .. } => {}
            _ => self.end(token, "protocol_error", oracle),
        }
    }

    fn owe(&mut self, token: u64, request: u64, owed: Owed) {
        self.peer(token).owed.insert(request, (owed, None));
        self.unsealed.push((token, request));
    }

    fn unregister(&mut self, token: u64, it: &Unregister<'_>) {
        let tick = self.tick;

        let (_, worker, ..) = self.names(token);
        let names = it.names.iter().map(|name| Rc::from(name.0));
        let left: Vec<Rc<str>> = names.collect();
        let board = self.board(token);
        let has = board.functions_of(worker);
        let owed = if left.iter().all(|name| has.contains(name)) {
            for name in &left {
                board.withdraw(worker, name, tick);
            }
            Owed::Done { tick, left }
        } else {
            Owed::Refused("not_registered")
        };
        self.owe(token, it.id, owed);
    }

    fn bind(&mut self, token: u64, it: &Bind<'_>) {
        let tick = self.tick;

        let (_, worker, name, metadata) = self.names(token);
        let refuses = self.peer(token).draining || self.stopping;
        let owed = if refuses {
            Owed::Refused("draining")
        } else {
            let permit = self.peer(token).permit.clone();
            let may = |it: &callboard::protocol::BindingEntry<'_>| {
                [it.event, it.function]
                    .iter()
                    .all(|name| permit.may(Verb::Bind, name))
            };
            if it.bindings.iter().all(may) {
                let board = self.board(token);
                let who = (worker, &name, &metadata);
                for binding in &it.bindings {
                    board.bind(who, binding);
                }
                Owed::Done {
                    tick,
                    left: Vec::new(),
                }
            } else {
                forbidden()
            }
        };
        self.owe(token, it.id, owed);
    }

    fn unbind(&mut self, token: u64, it: &Unbind<'_>) {
        let tick = self.tick;

        let (_, worker, ..) = self.names(token);
        let key = |it: &callboard::protocol::BindingKey<'_>| -> Key {
            (it.event.0.into(), it.function.0.into(), it.id.0.into())
        };
        let keys: Vec<Key> = it.bindings.iter().map(key).collect();
        let board = self.board(token);
        let has = board.bindings_of(worker);
        let owed = if keys.iter().all(|key| has.contains(key)) {
            for key in &keys {
                board.unbind(worker, key);
            }
            Owed::Done {
                tick,
                left: Vec::new(),
            }
        } else {
            Owed::Refused("not_registered")
        };
        self.owe(token, it.id, owed);
    }

    fn register(&mut self, token: u64, it: &Register<'_>, oracle: &mut CallOracle) {
        let limits = self.limits.clone();
        let peer = self.peer(token);
        let mut batch = peer.batch.take().unwrap_or(Batch {
            id: it.id,
            entries: Vec::new(),
            failure: None,
        });
        if batch.id != it.id {
            return self.end(token, "protocol_error", oracle);
        }
        for definition in &it.functions {
            let failure = if !peer.permit.may(Verb::Register, &definition.name) {
                Some("forbidden")
            } else if batch.entries.len() as u64 >= limits.max_functions {
                Some("too_many_functions")
            } else {
                None
            };
            batch.failure = batch.failure.or(failure);
            if batch.failure.is_some() {
                batch.entries.clear();
            } else {
                batch
                    .entries
                    .push((definition.name.to_string(), Entry::of(definition)));
            }
        }
        if it.more {
            peer.batch = Some(batch);
            return;
        }
        let Batch {
            entries, failure, ..
        } = batch;
        let (is_draining, tier) = (peer.draining, peer.tier);
        let refuses = is_draining || self.stopping;
        let (tick, (_, worker, name, metadata)) = (self.tick, self.names(token));
        let board = self.board(token);
        let has = board.functions_of(worker);
        let last: BTreeMap<&str, &Entry> = entries.iter().map(|(name, it)| (&**name, it)).collect();
        let new = last.keys().filter(|name| !has.contains(**name)).count();
        let conflict = last
            .iter()
            .any(|(name, it)| board.conflicts(worker, name, it.exclusive));
        let owed = if let Some(code) = failure {
            Owed::Refused(code)
        } else if refuses {
            Owed::Refused("draining")
        } else if conflict {
            Owed::Refused("exclusive")
        } else if (has.len() + new) as u64 > limits.max_functions {
            Owed::Refused("too_many_functions")
        } else {
            for (function, entry) in entries {
                board.provide((worker, &name, &metadata), (&*function, tier), entry, tick);
            }
            Owed::Done {
                tick,
                left: Vec::new(),
            }
        };
        if let Owed::Refused(code) = owed {
            saw(match code {
                "exclusive" => "an exclusive function refused a second provider",
                "forbidden" => "a request was forbidden",
                _ => "a registration met the end of the engine",
            });
        }
        self.owe(token, it.id, owed);
    }

    fn call(
        &mut self,
        token: u64,
        call: &callboard::protocol::Call<'_>,
        oracle: &mut CallOracle,
        now: u64,
    ) {
        let permit = &self.peers[&token].permit;
        if call.function.starts_with("engine::") {
            if !permit.may(Verb::Admin, &call.function) {
                return self.owe(token, call.id, forbidden());
            }
            if call.function.0 == KICK {
                self.kick(token, application::kicked(&call.payload), oracle);
            }
            return self.owe(token, call.id, Owed::Builtin);
        }
        if !permit.may(Verb::Call, &call.function) {
            return self.owe(token, call.id, forbidden());
        }
        let (namespace, worker, caller, _) = self.names(token);
        let intent = number(&call.payload).expect("every call is in the oracle");
        let function = call.function.0;
        let board = &self.namespaces[&namespace];
        let pinned = call.ext.worker;
        let able: Vec<u64> = board
            .providers(function)
            .filter(|it| pinned.is_none_or(|pinned| pinned == *it))
            .collect();
        let nobody = able.iter().all(|worker| self.is_dying(*worker));
        let surely_room = able
            .iter()
            .any(|worker| self.surely_has_room(&namespace, *worker, oracle));
        let timeout = call.ext.timeout_ms.unwrap_or(30_000) * 1000;
        let made = &self.peers[&token].owed;
        let made = made
            .values()
            .filter(|(owed, _)| matches!(owed, Owed::Call(_)))
            .count() as u64;
        let limits = &self.limits;
        let kept = call.ext.wait || call.ext.idempotent;
        let retained = call.payload.len() + call.ext.headers.len();
        let met = made >= limits.max_calls
            || oracle.attempts.len() as u64 >= limits.max_calls_total
            || call.ext.wait && limits.max_parked < 100
            || kept && limits.max_retained < 100_000 && retained > 0
            || limits.max_backlog < 100_000;
        let attempt = Attempt {
            intent,
            token,
            namespace: namespace.as_str().into(),
            worker,
            caller,
            user: self.user(token),
            tick: self.tick,
            revision: board.revision(),
            deadline: now + timeout,
            nobody,
            may_be_refused: met || !able.is_empty() && !surely_room && !call.ext.wait,
            cancelled: false,
            over: None,
            refused: false,
            doubtful: false,
            forbidden: Forbidden::No,
            due: if nobody && !call.ext.wait {
                Some("nobody provides it")
            } else {
                self.stopping.then_some("the engine drains")
            },
        };
        let index = oracle.attempt(attempt);
        self.owe(token, call.id, Owed::Call(index));
    }

    fn answer(&mut self, token: u64, id: u64, ending: Ending, oracle: &mut CallOracle) {
        let Some(intent) = self.peer(token).invoked.remove(&id) else {
            saw("an answer that nobody owed was dropped");
            return;
        };
        let mut invokes = oracle.intents[intent].invokes.iter_mut();
        let answered = invokes.find(|it| it.id == id && it.token == token);
        if let Some(answered) = answered {
            answered.answer = Some(ending);
            if let Some(attempt) = answered.attempt {
                let due = &mut oracle.attempts[attempt].due;
                due.get_or_insert("it was answered");
            }
        }
        happened(Happening::Answer, Some(token));
    }

    /// What a newcomer did not register again leaves.
    pub(crate) fn confirm(&mut self, token: u64) -> Vec<Rc<str>> {
        let tick = self.tick;
        let peer = self.peer(token);
        if !std::mem::take(&mut peer.unconfirmed) {
            return Vec::new();
        }
        let worker = peer.worker;
        let board = self.board(token);
        let before = board.functions_of(worker);
        let gone = board.confirm(worker, tick);
        if gone > 0 {
            saw("what was not confirmed left the board");
        } else {
            saw("a takeover was confirmed whole");
        }
        let after = board.functions_of(worker);
        before.difference(&after).cloned().collect()
    }

    /// When the first READY is no longer waited for.
    pub(crate) fn unready_at(&self) -> Option<u64> {
        let waits = |it: &&PeerModel| it.phase == Phase::Live && it.unconfirmed;
        let heard = self.peers.values().filter(waits).map(|it| it.heard);
        let at = heard.min()? + self.limits.ready_timeout * 1000;
        Some(at.next_multiple_of(1000))
    }

    /// Whether it has time to say READY.
    pub(crate) fn is_unconfirmed(&self, token: u64) -> bool {
        let peer = &self.peers[&token];
        peer.unconfirmed && peer.ending.is_none()
    }

    /// The turn is over. Says how many revisions it made.
    pub(crate) fn seal(&mut self) -> u64 {
        let mut sealed = 0;
        if !self.stopping {
            for board in self.namespaces.values_mut() {
                sealed += u64::from(board.seal());
            }
        }
        for (token, request) in std::mem::take(&mut self.unsealed) {
            let Some(peer) = self.peers.get_mut(&token) else {
                continue;
            };
            let revision = self.namespaces[&peer.namespace].revision();
            if let Some((_, stamp)) = peer.owed.get_mut(&request) {
                *stamp = Some(revision);
            }
        }
        sealed
    }
}
