//! What the engine should make of what it reads: the protocol's rules of sessions, registrations, takeovers
//! and requests once more, in the plainest way. It decodes the same bytes that the engine is given, keeps
//! the model of each board, and knows which answer is owed for each request. It never asks the engine.

mod door;
mod reform;

use std::collections::BTreeMap;
use std::rc::Rc;

use callboard::engine::Verb;
use callboard::limits::Limits;
use callboard::protocol::{Bind, FrameError, Message, Register, Unbind, Unregister};

use crate::board::{Entry, Key, Namespace};
use crate::book::{Attempt, Book, Ending, Forbidden, number};
use crate::journal::saw;
use crate::party::{Batch, Owed, Party, Phase};
use crate::principals::Principals;

/// The answer owed for a request that the rights do not allow.
fn forbidden() -> Owed {
    saw("a request was forbidden");
    Owed::Refused("forbidden")
}

#[derive(Debug)]
pub(crate) struct Registrar {
    pub limits: Limits,
    /// The principals that the engine admits; `None` admits every peer.
    principals: Option<Principals>,
    /// Counts what happened.
    pub tick: u64,
    pub namespaces: BTreeMap<String, Namespace>,
    pub parties: BTreeMap<u64, Party>,
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
}

impl Registrar {
    pub(crate) fn new(limits: Limits, tick: u64) -> Self {
        Self {
            limits,
            principals: None,
            tick,
            namespaces: BTreeMap::new(),
            parties: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_worker: 0,
            closed: BTreeMap::new(),
            stopping: false,
            unsealed: Vec::new(),
            last_left: 0,
        }
    }

    pub(crate) fn open(&mut self, token: u64, book: &mut Book, now: u64) {
        let admitted = self.parties.values().filter(|it| !it.refused).count();
        let full = admitted as u64 >= self.limits.max_connections && !self.stopping;
        let refused = full;
        self.parties.insert(
            token,
            Party {
                refused,
                ..Party::new(now)
            },
        );
        if self.stopping {
            self.end(token, "shutting_down", book);
        } else if full {
            saw("a connection was refused");
            self.end(token, "too_many_connections", book);
        }
    }

    pub(crate) fn forget(&mut self, token: u64) {
        self.parties.remove(&token);
    }

    fn party(&mut self, token: u64) -> &mut Party {
        self.parties
            .get_mut(&token)
            .expect("a connection that the engine has")
    }

    fn names(&self, token: u64) -> (String, u64, Rc<str>, Rc<[u8]>) {
        let it = &self.parties[&token];
        (
            it.namespace.clone(),
            it.worker,
            it.name.clone(),
            it.metadata.clone(),
        )
    }

    fn board(&mut self, token: u64) -> &mut Namespace {
        let name = self.parties[&token].namespace.clone();
        self.namespaces.entry(name).or_insert_with(Namespace::new)
    }

    pub(crate) fn is_over(&self, token: u64) -> bool {
        let party = self.parties.get(&token);
        party.is_none_or(|it| matches!(it.phase, Phase::Over(_)))
    }

    /// Bytes of an unfinished frame are held.
    pub(crate) fn is_within_frame(&self, token: u64) -> bool {
        self.parties
            .get(&token)
            .is_some_and(|it| it.inbox.held() > 0)
    }

    /// The engine reads these bytes.
    pub(crate) fn hear(&mut self, token: u64, mut bytes: &[u8], book: &mut Book, now: u64) {
        let party = self.party(token);
        party.hear_of(now);
        if matches!(party.phase, Phase::Over(_)) {
            return;
        }
        let mut inbox = std::mem::take(&mut party.inbox);
        loop {
            let limit = match self.party(token).phase {
                Phase::Greeting => self.limits.max_hello,
                Phase::Live => self.limits.max_frame,
                Phase::Over(_) => return,
            };
            match inbox.next(&mut bytes, limit as usize) {
                Ok(Some(frame)) => {
                    self.tick += 1;
                    self.frame(token, frame, book, now);
                }
                Ok(None) => break,
                Err(FrameError::TooLarge { .. }) if limit == self.limits.max_frame => {
                    return self.end(token, "frame_too_large", book);
                }
                Err(_) => return self.end(token, "protocol_error", book),
            }
        }
        self.party(token).inbox = inbox;
    }

    fn frame(&mut self, token: u64, frame: &[u8], book: &mut Book, now: u64) {
        let Ok(message) = Message::decode(frame) else {
            return self.end(token, "protocol_error", book);
        };
        if self.party(token).phase == Phase::Greeting {
            return match message {
                Message::Hello(hello) => self.hello(token, &hello, book),
                Message::Goodbye(_) => self.end(token, "bye", book),
                _ => self.end(token, "protocol_error", book),
            };
        }
        let tick = self.tick;
        match message {
            Message::Register(it) => self.register(token, &it, book),
            Message::Unregister(it) => self.unregister(token, &it),
            Message::Ready(it) => {
                let left = self.confirm(token);
                let party = self.party(token);
                party.is_ready = true;
                let older = party.older_session.take();
                // A drained worker's READY marks the place from where on nothing may come.
                let left = if party.draining {
                    vec!["".into()]
                } else {
                    left
                };
                if let Some(older) = older {
                    self.sessions.remove(&older);
                }
                self.owe(token, it.id, Owed::Done { tick, left });
            }
            Message::Bind(it) => self.bind(token, &it),
            Message::Unbind(it) => self.unbind(token, &it),
            Message::Call(it) => self.call(token, &it, book, now),
            Message::Cancel(it) => {
                if let Some((Owed::Call(index), _)) = self.party(token).owed.get(&it.id) {
                    book.attempts[*index].cancelled = true;
                }
            }
            Message::Outcome(it) => {
                self.answer(token, it.id, Ending::Result(it.payload.to_vec()), book);
            }
            Message::Failure(it) => self.answer(token, it.id, Ending::of(&it).passed_on(), book),
            Message::Emit(it) => {
                let permit = self.party(token).permit.clone();
                let bound = self.board(token).bound_to(&it.event);
                let sight = permit.sight();
                let seen = |function: &&Rc<str>| sight.has(&it.event) && sight.has(function);
                let matched = bound.keys().filter(seen).count() as u64;
                let is_forbidden = !permit.may(Verb::Emit, &it.event);
                if let Some(number) = number(&it.payload).filter(|_| !is_forbidden) {
                    book.errands[number].bound.extend(bound);
                }
                let owed = if is_forbidden {
                    forbidden()
                } else if self.stopping {
                    Owed::Refused("draining")
                } else {
                    Owed::Matched(matched)
                };
                if it.id != 0 {
                    self.owe(token, it.id, owed);
                }
            }
            Message::Drain(_) => {
                saw("a worker drained");
                let worker = self.party(token).worker;
                self.party(token).draining = true;
                self.board(token).remove(worker, tick);
            }
            Message::Goodbye(_) => self.end(token, "bye", book),
            Message::Unknown { id: Some(id), .. } => {
                self.owe(token, id, Owed::Refused("unsupported"));
            }
            Message::Cast(it) => {
                if !self.party(token).permit.may(Verb::Call, &it.function) {
                    let number = number(&it.payload).expect("every cast is in the book");
                    book.errands[number].forbidden = true;
                    saw("a cast was forbidden");
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Unknown { id: None, .. } => {}
            _ => self.end(token, "protocol_error", book),
        }
    }

    fn owe(&mut self, token: u64, request: u64, owed: Owed) {
        self.party(token).owed.insert(request, (owed, None));
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
        let refuses = self.party(token).draining || self.stopping;
        let owed = if refuses {
            Owed::Refused("draining")
        } else {
            let permit = self.party(token).permit.clone();
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

    fn register(&mut self, token: u64, it: &Register<'_>, book: &mut Book) {
        let limits = self.limits.clone();
        let party = self.party(token);
        let mut batch = party.batch.take().unwrap_or(Batch {
            id: it.id,
            entries: Vec::new(),
            failure: None,
        });
        if batch.id != it.id {
            return self.end(token, "protocol_error", book);
        }
        for definition in &it.functions {
            let failure = if !party.permit.may(Verb::Register, &definition.name) {
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
            party.batch = Some(batch);
            return;
        }
        let Batch {
            entries, failure, ..
        } = batch;
        let refuses = party.draining || self.stopping;
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
                board.provide((worker, &name, &metadata), &function, entry, tick);
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
        book: &mut Book,
        now: u64,
    ) {
        let permit = &self.parties[&token].permit;
        if call.function.starts_with("engine::") {
            let owed = if permit.may(Verb::Admin, &call.function) {
                Owed::Builtin
            } else {
                forbidden()
            };
            return self.owe(token, call.id, owed);
        }
        if !permit.may(Verb::Call, &call.function) {
            return self.owe(token, call.id, forbidden());
        }
        let (namespace, worker, caller, _) = self.names(token);
        let errand = number(&call.payload).expect("every call is in the book");
        let function = call.function.0;
        let board = &self.namespaces[&namespace];
        let pinned = call.ext.worker;
        let able: Vec<u64> = board
            .providers(function)
            .filter(|it| pinned.is_none_or(|pinned| pinned == *it))
            .collect();
        let surely_room = able
            .iter()
            .any(|worker| self.surely_has_room(&namespace, *worker, book));
        let timeout = call.ext.timeout_ms.unwrap_or(30_000) * 1000;
        let made = &self.parties[&token].owed;
        let made = made
            .values()
            .filter(|(owed, _)| matches!(owed, Owed::Call(_)))
            .count() as u64;
        let limits = &self.limits;
        let kept = call.ext.wait || call.ext.idempotent;
        let retained = call.payload.len() + call.ext.headers.len();
        let met = made >= limits.max_calls
            || book.attempts.len() as u64 >= limits.max_calls_total
            || call.ext.wait && limits.max_parked < 100
            || kept && limits.max_retained < 100_000 && retained > 0
            || limits.max_backlog < 100_000;
        let attempt = Attempt {
            errand,
            token,
            namespace: namespace.as_str().into(),
            worker,
            caller,
            tick: self.tick,
            revision: board.revision(),
            deadline: now + timeout,
            nobody: able.is_empty(),
            may_be_refused: met || !able.is_empty() && !surely_room && !call.ext.wait,
            cancelled: false,
            over: None,
            refused: false,
            doubtful: false,
            forbidden: Forbidden::No,
        };
        let index = book.attempt(attempt);
        self.owe(token, call.id, Owed::Call(index));
    }

    fn answer(&mut self, token: u64, id: u64, ending: Ending, book: &mut Book) {
        let Some(errand) = self.party(token).invoked.remove(&id) else {
            saw("an answer that nobody owed was dropped");
            return;
        };
        let mut invokes = book.errands[errand].invokes.iter_mut();
        let answered = invokes.find(|it| it.id == id && it.token == token);
        if let Some(answered) = answered {
            answered.answer = Some(ending);
        }
    }

    /// What a newcomer did not register again leaves.
    pub(crate) fn confirm(&mut self, token: u64) -> Vec<Rc<str>> {
        let tick = self.tick;
        let party = self.party(token);
        if !std::mem::take(&mut party.unconfirmed) {
            return Vec::new();
        }
        let worker = party.worker;
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

    pub(crate) fn is_unconfirmed(&self, token: u64) -> bool {
        self.parties[&token].unconfirmed
    }

    /// A connection is over for the engine.
    pub(crate) fn end(&mut self, token: u64, code: &str, book: &mut Book) {
        self.tick += 1;
        let tick = self.tick;
        let party = self.party(token);
        if matches!(party.phase, Phase::Over(_)) {
            return;
        }
        let was_live = party.phase == Phase::Live;
        party.phase = Phase::Over(tick);
        party.batch = None;
        self.last_left = tick;
        let party = self.party(token);
        let (worker, holds) = (party.worker, party.holds);
        for (owed, _) in party.owed.values() {
            if let Owed::Call(index) = owed {
                book.close(*index, tick, false);
            }
        }
        // What may run again can be at the next provider before anybody sees it.
        for (id, errand) in &party.invoked {
            book.unsee(*errand, token, *id);
        }
        *self.closed.entry(code.to_owned()).or_default() += 1;
        if was_live && holds {
            self.forget_sessions(token);
            self.board(token).remove(worker, tick);
        }
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
            let Some(party) = self.parties.get_mut(&token) else {
                continue;
            };
            let revision = self.namespaces[&party.namespace].revision();
            if let Some((_, stamp)) = party.owed.get_mut(&request) {
                *stamp = Some(revision);
            }
        }
        sealed
    }
}
