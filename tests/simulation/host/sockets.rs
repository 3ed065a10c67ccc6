//! The sockets of a host: wires that it reads and writes, phase by phase of a turn. The model hears all that goes in, a
//! checker all that comes out. Never orders the phases.

use callboard::engine::{Close, ConnId, Engine, Stats, Time, Written};

use super::due::frame_time;
use super::paced::ADDRESSES;
use super::{Conn, Host, Surroundings};
use crate::coincidences::{Happening, happened};
use crate::journal::{self, hold, note, saw};
use crate::network::{End, Far};
use crate::peer_model::Phase;
use crate::turn::{Budget, Budgets, Sockets, Spent};
use crate::wire_checker::{Models, WireChecker};

/// A turn of a host.
pub(super) struct Turn<'t, 'a> {
    pub(super) host: &'t mut Host,
    pub(super) around: &'t mut Surroundings<'a>,
    /// Revisions that the model sealed.
    pub(super) sealed: u64,
    /// Bytes of the largest write.
    largest: usize,
}

/// The budgets of this turn: mostly the server's, at times so small that replies, news or both are left for the next
/// turn.
pub(super) fn budgets(around: &mut Surroundings<'_>) -> Budgets {
    if around.quiescent || !around.rng.one_in(5) {
        return Budgets::SERVER;
    }
    let mut small = || Budget {
        writes: around.rng.below(8),
        bytes: around.rng.bytes(&[usize::MAX, usize::MAX, 3_000, 100]),
    };
    let (replies, news) = (small(), small());
    match around.rng.below(3) {
        0 => Budgets {
            news,
            ..Budgets::SERVER
        },
        1 => Budgets {
            replies,
            ..Budgets::SERVER
        },
        _ => Budgets { replies, news },
    }
}

impl<'t, 'a> Turn<'t, 'a> {
    pub(super) fn new(host: &'t mut Host, around: &'t mut Surroundings<'a>) -> Self {
        Self {
            host,
            around,
            sealed: 0,
            largest: 0,
        }
    }

    pub(super) fn read(&mut self, token: u64, chunks: usize) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        let now = Time(around.now);
        for _ in 0..chunks {
            let Some(conn) = host.conns.get_mut(&token).filter(|it| !it.ended) else {
                return;
            };
            let id = conn.id;
            let wire = around
                .wires
                .get_mut(&conn.wire)
                .expect("a wire for each connection");
            if !host.engine.wants_read(id) && !wire.up.is_ending(around.now) {
                saw("the engine did not read for a while");
                conn.held_back = true;
                return;
            }
            (conn.held_back, conn.paused_since) = (false, None);
            let most = if around.quiescent || around.at_once {
                1 << 16
            } else {
                around.rng.bytes(&[1, 3, 100, 1 << 16, 1 << 16])
            };
            let bytes = wire.up.read(around.now, most);
            if bytes.is_empty() {
                match wire.up.ended(around.now) {
                    None => {}
                    Some(End::Closed) => {
                        conn.ended = true;
                        note!("{token:x} ends");
                        if host.pace.is_some() {
                            host.engine_model.hear_end(token, "eof");
                        } else {
                            host.engine_model.end(token, "eof", around.oracle);
                        }
                        host.ending = Some(token);
                        host.engine.handle_eof(id, now);
                        host.catch_up(around.oracle, around.now, false);
                        host.ending = None;
                    }
                    Some(End::Broken) => self.reset(token),
                }
                return;
            }
            journal::absorb(&bytes);
            if host.pace.is_some() {
                host.engine_model.keep(token, &bytes, around.now);
            } else {
                host.engine_model
                    .hear(token, &bytes, around.oracle, around.now);
            }
            host.engine.handle_bytes(id, &bytes, now);
            host.catch_up(around.oracle, around.now, false);
        }
    }

    fn reset(&mut self, token: u64) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        let Some(conn) = host.conns.get_mut(&token) else {
            return;
        };
        note!("{token:x} breaks");
        conn.ended = true;
        if host.pace.is_some() {
            host.engine_model.hear_end(token, "reset");
        } else {
            host.engine_model.end(token, "reset", around.oracle);
        }
        host.ending = Some(token);
        host.engine.handle_reset(conn.id, "reset", Time(around.now));
        host.catch_up(around.oracle, around.now, false);
        host.ending = None;
    }

    fn unblock(&mut self) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        for (token, conn) in &mut host.conns {
            conn.is_full = false;
            let wire = &around.wires[&conn.wire];
            let ends = wire.up.is_ending(around.now);
            // Where it may be told late that it still can't write, once is enough: it would never sleep.
            let knows = std::mem::replace(&mut conn.knows_end, ends) && host.pace.is_some();
            let wakes = wire.down.room() > 0 || ends && !knows;
            if conn.blocked_since.is_some() && wakes {
                conn.blocked_since = None;
                happened(Happening::Unblock, Some(*token));
                host.engine.handle_writable(conn.id);
            }
        }
    }

    /// Has the model note which connections the engine has to ping from now on.
    fn note_silence(&mut self) {
        let host = &mut *self.host;
        let ping_after = host.engine_model.limits.ping_after * 1000;
        let now = self.around.now;
        for (token, conn) in &mut host.conns {
            let peer = host.engine_model.peers.get_mut(token);
            if let Some(peer) = peer.filter(|_| host.engine.wants_read(conn.id)) {
                peer.ask(now, ping_after);
                if peer.asked == Some(now) {
                    conn.expired_at = now;
                }
            }
        }
    }

    /// Takes down whether readers that join and others that follow watch the same.
    fn note_audiences(&self) {
        let shown = self.host.checkers.values().filter_map(WireChecker::shown);
        let mut joining = shown.clone().filter(|(_, is_synced)| !is_synced);
        if joining.any(|(filter, _)| shown.clone().any(|it| it == (filter, true))) {
            saw("a joining and a synced reader shared an audience when a step came");
        }
    }

    fn note_stop(&mut self, stats: &Stats) {
        self.host.note_stop(stats, self.around.oracle);
    }

    /// A deadline ended a connection: it had passed, and what would have saved it was not there.
    fn assert_expired(&self, token: u64, code: &str) {
        let (host, around) = (&self.host, &self.around);
        let (limits, conn) = (&host.engine_model.limits, &host.conns[&token]);
        let (peer, wire) = (&host.engine_model.peers[&token], &around.wires[&conn.wire]);
        let since = |at: u64, limit: u64| around.now.saturating_sub(at) >= limit * 1000;
        let is_unread = host.engine_model.has_unread(token);
        let fine = match code {
            "silent" => {
                if wire.is_cut {
                    saw("the engine found a half-open connection");
                }
                let silent_since = peer.silent_since_early(limits.ping_after * 1000);
                since(silent_since, limits.silence)
                    && wire.up.arrived(around.now) == 0
                    && !is_unread
            }
            "too_slow" => {
                saw("a reader took nothing for too long");
                conn.blocked_since
                    .is_some_and(|at| since(at, limits.write_deadline))
            }
            "frame_timeout" => {
                saw("a frame was not completed in time");
                peer.frame
                    .is_some_and(|(at, announced)| since(at, frame_time(limits, announced)))
            }
            "hello_timeout" => {
                peer.phase == Phase::Greeting
                    && since(peer.opened, limits.hello_timeout)
                    && !is_unread
            }
            _ => false,
        };
        // A broken one whose end is still to come keeps no rules.
        let fine = fine || peer.ending == Some("reset");
        hold!(
            fine,
            "who keeps the rules is not sent away",
            "connection {token:x} was ended with {code}: {peer:?} {conn:?}"
        );
    }
}

impl Sockets for Turn<'_, '_> {
    fn engine(&mut self) -> &mut Engine {
        &mut self.host.engine
    }

    fn now(&self) -> Time {
        Time(self.around.now)
    }

    fn handle_events(&mut self) {
        self.unblock();
        for token in std::mem::take(&mut self.host.broken) {
            self.reset(token);
        }
    }

    fn read_ready(&mut self) {
        let tokens: Vec<u64> = self.host.conns.keys().copied().collect();
        if self.host.pace.is_some() {
            self.announce();
        } else if !tokens.is_empty() {
            let first = self.around.rng.below(tokens.len());
            for token in tokens[first..].iter().chain(&tokens[..first]) {
                let chunks = if self.around.quiescent || self.around.at_once {
                    64
                } else {
                    self.around.rng.below(4)
                };
                self.read(*token, chunks);
            }
        }
        let (host, around) = (&mut *self.host, &mut *self.around);
        if let Some(principals) = host.late_principals.take() {
            host.reload(&principals, around.oracle, around.now);
        }
        self.note_silence();
    }

    fn read_next(&mut self, id: ConnId) {
        self.catch_up();
        self.read_named(id);
    }

    fn read_again(&mut self, id: ConnId) {
        self.catch_up();
        let stats = self.host.engine.stats();
        self.note_stop(&stats);
        self.read(self.host.token(id), usize::MAX);
    }

    fn handle_expired(&mut self, id: ConnId) {
        let token = self.host.token(id);
        if let Some(conn) = self.host.conns.get_mut(&token) {
            conn.expired_at = self.around.now;
        }
        let before = self.host.engine.stats().closed;
        self.host.engine.handle_expired(id, Time(self.around.now));
        let (oracle, now) = (&mut *self.around.oracle, self.around.now);
        self.host.catch_up(oracle, now, true);
        let after = self.host.engine.stats().closed;
        // If it was the last that a stopping engine waited for, all are told to go.
        let differs = |(code, count): &(&&str, &u64)| {
            **code != "shutting_down" && before.get(**code) != Some(*count)
        };
        let code = after.iter().find(differs);
        let host_is_paced = self.host.pace.is_some();
        let engine_model = &mut self.host.engine_model;
        let peer = &engine_model.peers[&token];
        let unheard = self.around.now.saturating_sub(peer.heard);
        if let Some((code, _)) = code {
            note!("{token:x} is ended: {code}");
            self.assert_expired(token, code);
            let engine_model = &mut self.host.engine_model;
            engine_model.end(token, code, self.around.oracle);
            let stats = self.host.engine.stats();
            self.note_stop(&stats);
        } else if !engine_model.is_over(token)
            && engine_model.is_unconfirmed(token)
            // Its READY may be among it.
            && !(host_is_paced && engine_model.has_unread(token))
            && unheard >= engine_model.limits.ready_timeout * 1000
        {
            saw("a newcomer did not say READY in time");
            happened(Happening::Unready, Some(token));
            engine_model.tick += 1;
            engine_model.confirm(token);
        }
    }

    fn sealed(&mut self) {
        self.catch_up();
        self.host.seal_pace();
        self.sealed = self.host.engine_model.seal();
        if self.sealed > 0 {
            self.note_audiences();
        }
    }

    fn write(&mut self, id: ConnId) -> Option<Written> {
        let (host, around) = (&mut *self.host, &mut *self.around);
        let token = host.token(id);
        let conn = host
            .conns
            .get_mut(&token)
            .expect("who is written to is connected");
        let wire = around
            .wires
            .get_mut(&conn.wire)
            .expect("a wire for each connection");
        let arrives = around.now + around.rng.between(wire.delay.0..wire.delay.1 + 1);
        let torn = !around.quiescent && around.rng.one_in(6);
        let breaks = wire.up.is_ending(around.now) && wire.is_cut && around.rng.one_in(2);
        let (rng, broken) = (&mut *around.rng, &mut host.broken);
        let (mut sent, mut written) = (Vec::new(), None);
        host.engine.flush(id, Time(around.now), |slices| {
            let total: usize = slices.iter().map(|slice| slice.len()).sum();
            let room = wire.down.room();
            let outcome = if breaks {
                broken.push(token);
                Written::Broken
            } else if room == 0 || conn.is_full {
                conn.blocked_since = Some(around.now);
                conn.stalled = true;
                happened(Happening::Block, Some(token));
                Written::Blocked
            } else {
                let whole = total.min(room);
                let count = match torn {
                    false => whole,
                    // At the end of a frame: what follows is made up when it is its turn.
                    true if rng.one_in(2) => {
                        conn.is_full = rng.one_in(2);
                        slices[0].len().min(room)
                    }
                    true => rng.part_of(whole),
                };
                for slice in slices {
                    sent.extend_from_slice(&slice[..slice.len().min(count - sent.len())]);
                }
                Written::Bytes(count)
            };
            written = Some(outcome);
            outcome
        });
        self.largest = self.largest.max(sent.len());
        if sent.is_empty() {
            return written;
        }
        host.catch_up(around.oracle, around.now, true);
        let conn = host.conns.get_mut(&token).expect("it was written to");
        if std::mem::take(&mut conn.stalled)
            && let Some(peer) = host.engine_model.peers.get_mut(&token)
        {
            peer.heard = around.now;
        }
        journal::absorb(&sent);
        wire.down.write(&sent, arrives);
        let mut models = Models {
            engine_model: &mut host.engine_model,
            oracle: around.oracle,
            histories: around.histories,
            now: around.now,
        };
        hold!(
            models.engine_model.stopping || !models.engine_model.is_unjudged(token),
            "nothing is written by older rights",
            "connection {token:x}"
        );
        let checker = host.checkers.get_mut(&token);
        let checker = checker.expect("a checker for each connection");
        checker.hear(&sent, &mut models);
        let filters = around.filters.entry(conn.wire).or_default();
        filters.append(&mut checker.filters);
        written
    }

    fn flushed(&mut self, replies: Spent, news: Spent) {
        let host = &mut *self.host;
        host.note_writes([replies, news], self.largest);
        if !replies.is_drained {
            saw("replies were left for the next turn");
            if news.bytes > 0 {
                saw("news went out while replies were left for the next turn");
            }
        }
        if !news.is_drained {
            saw("news was left for the next turn");
        }
        if !(replies.is_drained && news.is_drained) {
            return;
        }
        if host.pace.is_some() && host.is_busy(self.around.now) {
            // Its own budget may have ended the writing.
            return;
        }
        for (token, conn) in &host.conns {
            if conn.blocked_since.is_none()
                && !host.broken.contains(token)
                && host.engine_model.is_over(*token)
            {
                host.said_all.push(*token);
            }
            if conn.blocked_since.is_none()
                && !host.broken.contains(token)
                && host.checkers[token].has_all()
                && let Some(peer) = host.engine_model.peers.get_mut(token)
            {
                peer.clean = host.engine_model.tick;
            }
        }
    }

    fn close(&mut self, close: Close) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        let (Close::SendingHalf(id) | Close::Socket(id)) = close;
        let token = host.token(id);
        let wire = around
            .wires
            .get_mut(&host.conns[&token].wire)
            .expect("a wire for each");
        let arrives = around.now + around.rng.between(wire.delay.0..wire.delay.1 + 1);
        wire.down.close(arrives);
        host.conns.get_mut(&token).expect("checked").half_closed = true;
        if matches!(close, Close::Socket(_)) {
            wire.far = Far::Gone;
            host.conns.remove(&token);
            host.checkers.remove(&token);
            host.engine_model.forget(token);
            host.free.push(id.key() as u32);
        }
    }

    fn resume(&mut self, id: ConnId) {
        let token = self.host.token(id);
        happened(Happening::Resume, Some(token));
        if let Some(peer) = self.host.engine_model.peers.get_mut(&token) {
            peer.heard = self.around.now;
        }
        if let Some(conn) = self.host.conns.get_mut(&token) {
            (conn.held_back, conn.paused_since) = (false, None);
            conn.unread_at = self.around.now;
        }
    }

    fn accept(&mut self) {
        let (host, around) = (&mut *self.host, &mut *self.around);
        for (&number, wire) in around.wires.iter_mut() {
            if !matches!(wire.far, Far::Dialling(at) if at <= around.now) {
                continue;
            }
            let key = host.free.pop().unwrap_or_else(|| {
                host.keys += 1;
                host.keys - 1
            });
            host.generation += 1;
            let id = ConnId::new(host.generation, key);
            let token = host.token(id);
            wire.far = Far::Taken(token);
            let conn = Conn {
                id,
                wire: number,
                blocked_since: None,
                is_full: false,
                stalled: false,
                held_back: false,
                ended: false,
                half_closed: false,
                unread_at: 0,
                paused_since: None,
                expired_at: 0,
                over_since: None,
                is_announced: false,
                knows_end: false,
            };
            let address = (number % ADDRESSES) as u8;
            let peer = host.peer_of(address);
            host.conns.insert(token, conn);
            happened(Happening::Connect, Some(token));
            host.checkers.insert(token, WireChecker::new(token));
            let origin = host.origin(address);
            host.engine_model
                .open(token, origin, around.oracle, around.now);
            host.engine.handle_open(id, peer, Time(around.now));
            host.note_accept(token);
            host.catch_up(around.oracle, around.now, true);
        }
    }
}
