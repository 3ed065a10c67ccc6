//! The shell around the pure engine: it reads and writes wires instead of sockets, in the order of phases of
//! the real loop, and has everything that goes in heard by the model and everything that comes out by a tap.
//! It knows nothing of workers.

mod audit;

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::{Close, Config, ConnId, Engine, Peer, Stats, Time, Written};
use callboard::limits::Limits;

use crate::board::Annals;
use crate::book::Book;
use crate::cover::Cover;
use crate::dice::Dice;
use crate::journal::{self, hold, note, saw};
use crate::network::{End, Far, Wire};
use crate::party::{Party, Phase};
use crate::principals::Principals;
use crate::registrar::Registrar;
use crate::tap::{Bench, Tap};

/// A connection as the shell has it.
#[derive(Debug)]
struct Conn {
    id: ConnId,
    wire: u64,
    blocked_since: Option<u64>,
    /// Nothing more fits in this turn.
    is_full: bool,
    /// Nothing could be written, and nothing was since.
    stalled: bool,
    /// The end was read.
    ended: bool,
}

/// What the host works with, beside itself.
pub(crate) struct Surroundings<'a> {
    pub wires: &'a mut BTreeMap<u64, Wire>,
    pub book: &'a mut Book,
    pub annals: &'a mut BTreeMap<u64, Annals>,
    pub covers: &'a mut BTreeMap<u64, Vec<(u64, Cover)>>,
    pub dice: &'a mut Dice,
    pub now: u64,
    /// Nothing goes wrong any more.
    pub calm: bool,
}

pub(crate) struct Host {
    pub engine: Engine,
    pub registrar: Registrar,
    boot: u64,
    conns: BTreeMap<u64, Conn>,
    taps: BTreeMap<u64, Tap>,
    free: Vec<u32>,
    keys: u32,
    generation: u32,
    /// Writing failed: told in the next turn.
    broken: Vec<u64>,
    revisions: u64,
    /// Told to stop, and did.
    stopped: bool,
    largest_step: usize,
}

impl Host {
    /// The engine begins, for the `boot`th time.
    pub(crate) fn boot(limits: &Limits, seed: [u8; 32], boot: u64, now: u64) -> Self {
        limits
            .check()
            .expect("limits that do not contradict each other");
        let config = Config {
            limits: limits.clone(),
            name: "simulated".to_owned(),
            seed,
        };
        Self {
            engine: Engine::new(config, Time(now)),
            registrar: Registrar::new(limits.clone(), boot << 40),
            boot,
            conns: BTreeMap::new(),
            taps: BTreeMap::new(),
            free: Vec::new(),
            keys: 0,
            generation: 0,
            broken: Vec::new(),
            revisions: 0,
            stopped: false,
            largest_step: 0,
        }
    }

    /// Names a connection among those of all boots.
    fn token(&self, id: ConnId) -> u64 {
        self.boot << 48 | id.token() as u64
    }

    /// As SIGTERM.
    pub(crate) fn shut_down(&mut self, now: u64) {
        self.registrar.stopping = true;
        self.engine.handle_shutdown(Time(now));
    }

    /// From now on, these are let in, with these rights.
    pub(crate) fn reform(&mut self, principals: &Principals, book: &mut Book, now: u64) {
        for (token, tap) in &mut self.taps {
            tap.reform(&self.registrar.parties[token].cover);
        }
        self.registrar.reform(principals, book, now);
        let credentials = principals.credentials();
        self.engine.handle_credentials(&credentials, Time(now));
    }

    /// Who is at the other end of a wire.
    pub(crate) fn party(&self, wire: &Wire) -> Option<&Party> {
        match wire.far {
            Far::Taken(token) => self.registrar.parties.get(&token),
            _ => None,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.engine.is_finished()
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self, around: &mut Surroundings<'_>) {
        let now = Time(around.now);
        // Deadlines are things that happen, too.
        self.registrar.tick += 1;
        for token in std::mem::take(&mut self.broken) {
            self.reset(token, around);
        }
        self.unblock(around);
        let tokens: Vec<u64> = self.conns.keys().copied().collect();
        if !tokens.is_empty() {
            let first = around.dice.below(tokens.len());
            for token in tokens[first..].iter().chain(&tokens[..first]) {
                let chunks = if around.calm {
                    64
                } else {
                    around.dice.below(4)
                };
                self.read(*token, chunks, around);
            }
        }
        self.expire(around);
        self.engine.seal(now);
        let sealed = self.registrar.seal();
        self.flush(around);
        self.reap(around);
        self.accept(around);
        let stats = self.engine.stats();
        hold!(
            stats.revisions - self.revisions == sealed,
            "a revision for each turn that changed something, and for no other",
            "{} revisions instead of {sealed}",
            stats.revisions - self.revisions
        );
        self.revisions = stats.revisions;
        self.note_stop(&stats, around);
        self.assert_ends_known(&stats);
        self.assert_within_limits(&stats);
        // While too many calls are held for nobody, who holds one gets no other.
        let crowds = self.registrar.limits.max_calls_total < 1000;
        if !self.engine.has_more() && !self.registrar.stopping && !crowds {
            around
                .book
                .assert_nobody_waits_in_vain(around.now, |attempt, errand| {
                    self.registrar.has_room_for(attempt, errand)
                });
        }
    }

    fn unblock(&mut self, around: &mut Surroundings<'_>) {
        for conn in self.conns.values_mut() {
            conn.is_full = false;
            let wire = &around.wires[&conn.wire];
            let wakes = wire.down.room() > 0 || wire.up.is_ending(around.now);
            if conn.blocked_since.is_some() && wakes {
                conn.blocked_since = None;
                self.engine.handle_writable(conn.id);
            }
        }
    }

    fn read(&mut self, token: u64, chunks: usize, around: &mut Surroundings<'_>) {
        let now = Time(around.now);
        for _ in 0..chunks {
            let Some(conn) = self.conns.get_mut(&token).filter(|it| !it.ended) else {
                return;
            };
            let id = conn.id;
            let wire = around
                .wires
                .get_mut(&conn.wire)
                .expect("a wire for each connection");
            if !self.engine.wants_read(id) && !wire.up.is_ending(around.now) {
                saw("the engine did not read for a while");
                return;
            }
            let most = if around.calm {
                1 << 16
            } else {
                around.dice.pick(&[1, 3, 100, 1 << 16, 1 << 16])
            };
            let bytes = wire.up.read(around.now, most);
            if bytes.is_empty() {
                match wire.up.ended(around.now) {
                    None => {}
                    Some(End::Closed) => {
                        conn.ended = true;
                        note!("{token:x} ends");
                        self.registrar.end(token, "eof", around.book);
                        self.engine.handle_eof(id, now);
                    }
                    Some(End::Broken) => self.reset(token, around),
                }
                return;
            }
            journal::absorb(&bytes);
            self.registrar.hear(token, &bytes, around.book, around.now);
            self.engine.handle_bytes(id, &bytes, now);
        }
    }

    fn reset(&mut self, token: u64, around: &mut Surroundings<'_>) {
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        note!("{token:x} breaks");
        conn.ended = true;
        self.registrar.end(token, "reset", around.book);
        self.engine.handle_reset(conn.id, "reset", Time(around.now));
    }

    fn take_resumes(&mut self, now: u64) {
        while let Some(id) = self.engine.poll_resume() {
            let token = self.token(id);
            if let Some(party) = self.registrar.parties.get_mut(&token) {
                party.heard = now;
            }
        }
    }

    fn expire(&mut self, around: &mut Surroundings<'_>) {
        let now = Time(around.now);
        let ping_after = self.registrar.limits.ping_after * 1000;
        for (token, conn) in &self.conns {
            let party = self.registrar.parties.get_mut(token);
            if let Some(party) = party.filter(|_| self.engine.wants_read(conn.id)) {
                party.ask(around.now, ping_after);
            }
        }
        while let Some(id) = self.engine.poll_expired(now) {
            let token = self.token(id);
            self.take_resumes(around.now);
            let stats = self.engine.stats();
            self.note_stop(&stats, around);
            self.read(token, usize::MAX, around);
            let before = self.engine.stats().closed;
            self.engine.handle_expired(id, now);
            let after = self.engine.stats().closed;
            // If it was the last that a stopping engine waited for, all are told to go.
            let differs = |(code, count): &(&&str, &u64)| {
                **code != "shutting_down" && before.get(**code) != Some(*count)
            };
            let code = after.iter().find(differs);
            let limits = &self.registrar.limits;
            let party = &self.registrar.parties[&token];
            let unheard = around.now.saturating_sub(party.heard);
            if let Some((code, _)) = code {
                note!("{token:x} is ended: {code}");
                self.assert_expired(token, code, around);
                self.registrar.end(token, code, around.book);
                let stats = self.engine.stats();
                self.note_stop(&stats, around);
            } else if !self.registrar.is_over(token)
                && self.registrar.is_unconfirmed(token)
                && unheard >= limits.ready_timeout * 1000
            {
                saw("a newcomer did not say READY in time");
                self.registrar.tick += 1;
                self.registrar.confirm(token);
            }
        }
        self.take_resumes(around.now);
    }

    /// A deadline ended a connection: it had passed, and what would have saved it was not there.
    fn assert_expired(&self, token: u64, code: &str, around: &Surroundings<'_>) {
        let (limits, conn) = (&self.registrar.limits, &self.conns[&token]);
        let (party, wire) = (&self.registrar.parties[&token], &around.wires[&conn.wire]);
        let since = |at: u64, limit: u64| around.now.saturating_sub(at) >= limit * 1000;
        let fine = match code {
            "silent" => {
                if wire.is_cut {
                    saw("the engine found a half-open connection");
                }
                let silent_since = party.silent_since(limits.ping_after * 1000);
                since(silent_since, limits.silence) && wire.up.arrived(around.now) == 0
            }
            "too_slow" => {
                saw("a reader took nothing for too long");
                conn.blocked_since
                    .is_some_and(|at| since(at, limits.write_deadline))
            }
            "frame_timeout" => {
                saw("a frame was not completed in time");
                self.registrar.is_within_frame(token)
            }
            "hello_timeout" => {
                party.phase == Phase::Greeting && since(party.opened, limits.hello_timeout)
            }
            _ => false,
        };
        hold!(
            fine,
            "who keeps the rules is not sent away",
            "connection {token:x} was ended with {code}: {party:?} {conn:?}"
        );
    }

    fn flush(&mut self, around: &mut Surroundings<'_>) {
        let most = if around.calm || !around.dice.one_in(5) {
            usize::MAX
        } else {
            around.dice.below(8)
        };
        let mut writes = 0;
        while writes < most {
            let Some(id) = self.engine.poll_flush() else {
                for (token, conn) in &self.conns {
                    if conn.blocked_since.is_none()
                        && !self.broken.contains(token)
                        && self.taps[token].has_all()
                        && let Some(party) = self.registrar.parties.get_mut(token)
                    {
                        party.clean = self.registrar.tick;
                    }
                }
                break;
            };
            writes += 1;
            self.write(id, around);
        }
        self.take_resumes(around.now);
    }

    fn write(&mut self, id: ConnId, around: &mut Surroundings<'_>) {
        let token = self.token(id);
        let conn = self
            .conns
            .get_mut(&token)
            .expect("who is written to is connected");
        let wire = around
            .wires
            .get_mut(&conn.wire)
            .expect("a wire for each connection");
        let arrives = around.now + around.dice.between(wire.delay.0..wire.delay.1 + 1);
        let torn = !around.calm && around.dice.one_in(6);
        let breaks = wire.up.is_ending(around.now) && wire.is_cut && around.dice.one_in(2);
        let (dice, broken) = (&mut *around.dice, &mut self.broken);
        let mut sent = Vec::new();
        self.engine.flush(id, Time(around.now), |slices| {
            let total: usize = slices.iter().map(|slice| slice.len()).sum();
            let room = wire.down.room();
            if breaks {
                broken.push(token);
                return Written::Broken;
            }
            if room == 0 || conn.is_full {
                conn.blocked_since = Some(around.now);
                conn.stalled = true;
                return Written::Blocked;
            }
            let whole = total.min(room);
            let count = match torn {
                false => whole,
                // At the end of a frame: what follows is made up when it is its turn.
                true if dice.one_in(2) => {
                    conn.is_full = dice.one_in(2);
                    slices[0].len().min(room)
                }
                true => 1 + dice.below(whole),
            };
            sent.extend(slices.iter().flat_map(|slice| slice.iter()).take(count));
            Written::Bytes(count)
        });
        if sent.is_empty() {
            return;
        }
        if std::mem::take(&mut conn.stalled)
            && let Some(party) = self.registrar.parties.get_mut(&token)
        {
            party.heard = around.now;
        }
        journal::absorb(&sent);
        wire.down.write(&sent, arrives);
        let mut bench = Bench {
            registrar: &mut self.registrar,
            book: around.book,
            annals: around.annals,
            now: around.now,
        };
        let tap = self.taps.get_mut(&token);
        let tap = tap.expect("a tap for each connection");
        tap.hear(&sent, &mut bench);
        let covers = around.covers.entry(conn.wire).or_default();
        covers.append(&mut tap.covers);
    }

    fn reap(&mut self, around: &mut Surroundings<'_>) {
        while let Some(close) = self.engine.poll_close() {
            let (Close::SendingHalf(id) | Close::Socket(id)) = close;
            let token = self.token(id);
            let wire = around
                .wires
                .get_mut(&self.conns[&token].wire)
                .expect("a wire for each");
            let arrives = around.now + around.dice.between(wire.delay.0..wire.delay.1 + 1);
            wire.down.close(arrives);
            if matches!(close, Close::Socket(_)) {
                wire.far = Far::Gone;
                self.conns.remove(&token);
                self.taps.remove(&token);
                self.registrar.forget(token);
                self.free.push(id.key() as u32);
            }
        }
    }

    fn accept(&mut self, around: &mut Surroundings<'_>) {
        for (&number, wire) in around.wires.iter_mut() {
            if !matches!(wire.far, Far::Dialling(at) if at <= around.now) {
                continue;
            }
            let key = self.free.pop().unwrap_or_else(|| {
                self.keys += 1;
                self.keys - 1
            });
            self.generation += 1;
            let id = ConnId::new(self.generation, key);
            let token = self.token(id);
            wire.far = Far::Taken(token);
            let conn = Conn {
                id,
                wire: number,
                blocked_since: None,
                is_full: false,
                stalled: false,
                ended: false,
            };
            self.conns.insert(token, conn);
            self.taps.insert(token, Tap::new(token));
            self.registrar.open(token, around.book, around.now);
            let nobody = Peer::Unix {
                pid: None,
                uid: None,
            };
            self.engine.handle_open(id, nobody, Time(around.now));
        }
    }

    /// If the engine has stopped, everybody was told to go.
    fn note_stop(&mut self, stats: &Stats, around: &mut Surroundings<'_>) {
        let told = stats.closed.get("shutting_down").copied().unwrap_or(0);
        let refused = self
            .registrar
            .closed
            .get("shutting_down")
            .copied()
            .unwrap_or(0);
        if self.registrar.stopping && !self.stopped && told > refused {
            self.stopped = true;
            let tokens: Vec<u64> = self.registrar.parties.keys().copied().collect();
            for token in tokens {
                self.registrar.end(token, "shutting_down", around.book);
            }
        }
    }

    /// Ids of workers that somebody might guess.
    pub(crate) fn roll(&self) -> Vec<u64> {
        let parties = self.registrar.parties.values();
        let live = parties.filter(|it| it.phase == Phase::Live);
        live.map(|it| it.worker).collect()
    }

    /// Ids of INVOKEs that ran on other connections than this one, and that it might guess.
    pub(crate) fn foreign_ids(&self, near: Option<u64>) -> Vec<u64> {
        let parties = &self.registrar.parties;
        let own = near.and_then(|token| parties.get(&token));
        let is_own = |id: &u64| own.is_some_and(|it| it.invoked.contains_key(id));
        let all = parties.values().flat_map(|it| it.invoked.keys().copied());
        let ids: BTreeSet<u64> = all.filter(|id| !is_own(id)).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }
}
