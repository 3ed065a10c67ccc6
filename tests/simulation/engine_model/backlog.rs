//! What the engine has read and not handled, where a turn does little work. The model hears of a frame when the engine
//! says that it has handled it; that it comes as it was sent, in its order and to an end, is checked here. So is what the
//! slices of an event mean. How much later it may come is the business of `pace.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callboard::engine::{Stats, Verb};
use callboard::protocol::{Emit, FrameError, HEADER_LEN, Inbox, Message};

use super::{EngineModel, forbidden};
use crate::application::{KICK, kicked};
use crate::call_oracle::{CallOracle, number};
use crate::journal::{hold, note, saw};
use crate::peer_model::{Owed, Phase};
use crate::principals::Permit;

/// An event that is being cast, in slices.
#[derive(Debug)]
pub(crate) struct Emission {
    event: Rc<str>,
    number: Option<usize>,
    /// Functions that were bound to it all the time.
    throughout: BTreeSet<Rc<str>>,
    /// Functions that were bound to it at any time.
    ever: BTreeSet<Rc<str>>,
    /// Those of which all providers were meant at any time.
    to_all: BTreeSet<Rc<str>>,
    /// By which it was begun.
    permit: Rc<Permit>,
}

/// How many casts there must have been, and may have been.
#[derive(Debug, Default)]
pub(crate) struct CastCount {
    /// Casts since the last turn at whose end no event was being cast: at least.
    least: u64,
    /// Those that were counted.
    counted: u64,
    /// At most, in this turn.
    most: u64,
    /// All that were counted until this turn.
    before: u64,
    /// Events that ended before all had heard them.
    pub unfinished: u64,
}

/// The size of a step, as far as it says what it costs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    /// Entries of a registry request.
    pub entries: usize,
    /// Functions that leave with their worker.
    pub withdrawn: usize,
    /// Bindings of an event.
    pub bindings: usize,
}

/// The first thing in a connection's input.
enum Next {
    /// A whole frame.
    Frame(Vec<u8>),
    /// A part of one, which announces so many bytes.
    Part(usize),
    /// Something that is no frame: the connection is to be closed with this code.
    Fault(&'static str),
    Nothing,
}

impl EngineModel {
    /// The engine read these bytes, and handles them when it comes to them.
    pub(crate) fn keep(&mut self, token: u64, bytes: &[u8], now: u64) {
        let peer = self.peer(token);
        peer.hear_of(now);
        if matches!(peer.phase, Phase::Over(_)) {
            return;
        }
        peer.unread.extend_from_slice(bytes);
        self.note_part(token, now);
    }

    fn next(&self, token: u64) -> Next {
        let peer = &self.peers[&token];
        let limit = match peer.phase {
            Phase::Greeting => self.limits.max_hello,
            Phase::Live => self.limits.max_frame,
            Phase::Over(_) => return Next::Nothing,
        };
        let (mut inbox, mut rest) = (Inbox::default(), &peer.unread[..]);
        let next = inbox.next(&mut rest, limit as usize);
        match next.map(|frame| frame.map(<[u8]>::to_vec)) {
            Ok(Some(frame)) => Next::Frame(frame),
            Ok(None) if inbox.held() == 0 => Next::Nothing,
            Ok(None) => Next::Part(inbox.announced().unwrap_or(0)),
            Err(FrameError::TooLarge { .. }) if limit == self.limits.max_frame => {
                Next::Fault("frame_too_large")
            }
            Err(_) => Next::Fault("protocol_error"),
        }
    }

    /// Takes down since when a frame is incomplete.
    fn note_part(&mut self, token: u64, now: u64) {
        let next = self.next(token);
        let peer = self.peer(token);
        peer.frame = match next {
            Next::Part(announced) => {
                let since = peer.frame.map_or(now, |(since, _)| since);
                Some((since, announced))
            }
            _ => None,
        };
    }

    /// Whether a connection has sent something that the engine is still to handle.
    pub(crate) fn has_unread(&self, token: u64) -> bool {
        matches!(self.next(token), Next::Frame(_) | Next::Fault(_))
    }

    /// The same, or it has ended and the engine is still to draw the consequences.
    pub(crate) fn has_leftovers(&self, token: u64) -> bool {
        let peer = &self.peers[&token];
        let lives = !matches!(peer.phase, Phase::Over(_));
        lives && (peer.ending.is_some() || self.has_unread(token))
    }

    /// The engine has handled the next frame of a connection, or only a slice of it.
    pub(crate) fn handled(
        &mut self,
        token: u64,
        is_whole: bool,
        oracle: &mut CallOracle,
        now: u64,
    ) -> Size {
        let Next::Frame(frame) = self.next(token) else {
            hold!(
                false,
                "what a peer sent is handled once, in its order, while it lives",
                "connection {token:x} has sent no such frame: {:?}",
                self.peers[&token]
            );
            return Size::default();
        };
        self.tick += 1;
        let peer = self.peer(token);
        // The engine did not read it: that was no silence.
        peer.heard = peer.heard.max(now);
        if is_whole {
            peer.unread.drain(..HEADER_LEN + frame.len());
            peer.frame = None;
        }
        hold!(
            !peer.is_unjudged,
            "no frame is handled by older rights",
            "connection {token:x}"
        );
        let message = Message::decode(&frame);
        let mut size = Size::default();
        match &message {
            Ok(Message::Emit(it)) if peer.phase == Phase::Live => {
                size.bindings = self.board(token).bindings_to(&it.event);
                self.emit(token, it, is_whole, oracle);
            }
            // Those who are kicked are named one by one.
            Ok(Message::Call(it)) if !is_whole && it.function.0 == KICK => {}
            message => {
                hold!(
                    is_whole,
                    "only events are cast in slices",
                    "connection {token:x}: {message:?}"
                );
                size.entries = message.as_ref().map_or(0, entries);
                if matches!(message, Ok(Message::Goodbye(_))) && self.peer(token).holds {
                    let worker = self.peer(token).worker;
                    size.withdrawn = self.board(token).functions_of(worker).len();
                }
                self.frame(token, &frame, oracle, now);
            }
        }
        self.note_part(token, now);
        self.note_bindings(oracle);
        self.lately_unbound.clear();
        size
    }

    /// EMIT, or a slice of it.
    pub(super) fn emit(
        &mut self,
        token: u64,
        it: &Emit<'_>,
        is_whole: bool,
        oracle: &mut CallOracle,
    ) {
        let permit = self.peer(token).permit.clone();
        let bound = self.board(token).bound_to(&it.event);
        let refusal = if !permit.may(Verb::Emit, &it.event) {
            Some(forbidden())
        } else if self.stopping {
            Some(Owed::Refused("draining"))
        } else {
            None
        };
        let begun = self.peer(token).emission.take();
        if refusal.is_some() {
            hold!(is_whole, "what is refused is not cast", "{token:x}: {it:?}");
        }
        let number = number(&it.payload).filter(|_| permit.may(Verb::Emit, &it.event));
        let is_first = begun.is_none();
        let mut emission = begun.unwrap_or_else(|| Emission {
            event: it.event.0.into(),
            number,
            throughout: bound.keys().cloned().collect(),
            ever: BTreeSet::new(),
            to_all: BTreeSet::new(),
            permit: permit.clone(),
        });
        let tick = self.tick;
        if let Some(number) = number.filter(|_| is_first) {
            oracle.intents[number].heard.get_or_insert(tick);
        }
        emission.note(&bound, oracle);
        // They may have been cast to before.
        let namespace = &self.peers[&token].namespace;
        let (event, lately) = (it.event.0, self.lately_unbound.iter());
        let lately = lately.filter(|(name, key, _)| name == namespace && *key.0 == *event);
        let lately = lately.map(|(_, key, to_all)| (key.1.clone(), *to_all));
        emission.note_more(&lately.collect(), oracle);
        let is_refused = refusal.is_some();
        if !is_refused {
            // Of a function that all providers hear, every connection may be one.
            let all = self.peers.len() * emission.to_all.len();
            self.casts.most += (emission.ever.len() + all) as u64;
        }
        if !is_whole {
            saw("an event was cast in slices");
            self.peer(token).emission = Some(emission);
            return;
        }
        if !is_refused {
            let single = emission.throughout.difference(&emission.to_all).count();
            self.casts.least += single as u64;
            if !is_first && emission.throughout.len() < emission.ever.len() {
                saw("what is bound to an event changed between its slices");
            }
        }
        if it.id != 0 {
            let owed = refusal.unwrap_or_else(|| Owed::Matched(emission.matched(&permit)));
            self.owe(token, it.id, owed);
        }
    }

    /// A sender's cast goes to one provider, or is counted as dropped.
    pub(super) fn note_cast(&mut self, is_allowed: bool) {
        let count = u64::from(is_allowed && !self.stopping);
        self.casts.least += count;
        self.casts.most += count;
    }

    /// Something may have been bound or unbound, which events that are being cast meet.
    pub(super) fn note_bindings(&mut self, oracle: &mut CallOracle) {
        for peer in self.peers.values_mut() {
            if let Some(emission) = &mut peer.emission {
                let bound = self.namespaces[&peer.namespace].bound_to(&emission.event);
                emission.note(&bound, oracle);
            }
        }
    }

    /// A worker may lose its bindings, in a step that may have cast an event to them before.
    pub(super) fn note_unbound(&mut self, token: u64) {
        let (namespace, worker) = (self.peer(token).namespace.clone(), self.peer(token).worker);
        for key in self.board(token).bindings_of(worker) {
            let to_all = self.board(token).is_to_all(&key);
            self.lately_unbound.push((namespace.clone(), key, to_all));
        }
    }

    /// A connection has closed or is broken, as the engine knows from now on. What is unread of a broken one has no effect
    /// any more.
    pub(crate) fn hear_end(&mut self, token: u64, code: &'static str) {
        self.tick += 1;
        if self.is_over(token) {
            return;
        }
        if code == "reset" {
            self.drop_unread(token);
        }
        let tick = self.tick;
        let peer = self.peer(token);
        peer.ending = Some(code);
        note!(
            "{token:x} ends: {code}, with {} bytes unread",
            peer.unread.len()
        );
        peer.dying.get_or_insert(tick);
    }

    /// Whether the next frame of a connection kicks another one.
    fn is_kicking(&self, by: u64, token: u64) -> bool {
        let Next::Frame(frame) = self.next(by) else {
            return false;
        };
        let (by, it) = (&self.peers[&by], &self.peers[&token]);
        matches!(Message::decode(&frame), Ok(Message::Call(call))
            if call.function.0 == KICK
                && by.namespace == it.namespace
                && kicked(&call.payload) == Some(it.worker))
    }

    pub(super) fn drop_unread(&mut self, token: u64) {
        let peer = self.peer(token);
        (peer.unread, peer.frame) = (Vec::new(), None);
        if peer.emission.take().is_some() {
            saw("an event ended with its emitter");
            self.casts.unfinished += 1;
        }
    }

    /// The engine has ended a connection, for this reason. If it did so because of a frame, that is yet to be named.
    pub(crate) fn ended(&mut self, token: u64, code: &str, oracle: &mut CallOracle) {
        if self.is_over(token) {
            return;
        }
        match code {
            "eof" | "reset" => {
                hold!(
                    self.peers[&token].ending == Some(code) && !self.has_unread(token),
                    "what a peer sent before its end is handled before that",
                    "connection {token:x}: {code}: {:?}",
                    self.peers[&token]
                );
                self.end(token, code, oracle);
            }
            "kicked" => {
                let is_by = |by: &u64| *by != token && self.is_kicking(*by, token);
                hold!(
                    self.peers.keys().any(is_by),
                    "nobody is sent away without a reason",
                    "connection {token:x} was kicked by nobody"
                );
                saw("a worker was kicked");
                self.end(token, code, oracle);
            }
            _ => {
                if let Next::Fault(fault) = self.next(token)
                    && fault == code
                {
                    self.end(token, code, oracle);
                }
            }
        }
        self.note_bindings(oracle);
    }

    /// The turn is over: casts were delivered or counted, as often as events and their bindings say.
    pub(crate) fn assert_casts(&mut self, stats: &Stats) {
        let dropped = |why: &str| stats.dropped.get(why).copied().unwrap_or(0);
        let whys = ["event_full", "event_nobody", "cast_full", "cast_nobody"];
        let all = stats.casts + whys.iter().map(|why| dropped(why)).sum::<u64>();
        let casts = &mut self.casts;
        let new = all - std::mem::replace(&mut casts.before, all);
        let most = std::mem::take(&mut casts.most);
        hold!(
            new <= most,
            "an event is cast while its emitter lives, to what is bound to it",
            "{new} casts in a turn in which there can be {most}"
        );
        casts.counted += new;
        hold!(
            self.stopping || dropped("event_unfinished") == casts.unfinished,
            "an event that ends with its emitter is counted",
            "{} and not {}",
            dropped("event_unfinished"),
            casts.unfinished
        );
        if self.peers.values().any(|it| it.emission.is_some()) {
            return;
        }
        hold!(
            casts.counted >= casts.least,
            "what is bound throughout hears an event",
            "{} casts instead of {}",
            casts.counted,
            casts.least
        );
        (casts.counted, casts.least) = (0, 0);
    }
}

impl Emission {
    /// This is bound to it now.
    fn note(&mut self, bound: &BTreeMap<Rc<str>, bool>, oracle: &mut CallOracle) {
        self.throughout.retain(|it| bound.contains_key(it));
        self.note_more(bound, oracle);
    }

    /// This was bound to it.
    fn note_more(&mut self, bound: &BTreeMap<Rc<str>, bool>, oracle: &mut CallOracle) {
        for (function, to_all) in bound {
            self.ever.insert(function.clone());
            if *to_all {
                self.to_all.insert(function.clone());
            }
            if let Some(number) = self.number {
                let known = oracle.intents[number].bound.entry(function.clone());
                *known.or_insert(false) |= to_all;
            }
        }
    }

    /// How many functions RESULT says were found.
    fn matched(&self, permit: &Permit) -> std::ops::RangeInclusive<u64> {
        if *self.permit != *permit {
            return 0..=self.ever.len() as u64;
        }
        let visible = permit.visible();
        let seen = |list: &BTreeSet<Rc<str>>| {
            let seen = list.iter().filter(|it| visible.has(it)).count();
            if visible.has(&self.event) {
                seen as u64
            } else {
                0
            }
        };
        seen(&self.throughout)..=seen(&self.ever)
    }
}

/// Entries of a registry request.
fn entries(message: &Message<'_>) -> usize {
    match message {
        Message::Register(it) => it.functions.len(),
        Message::Unregister(it) => it.names.len(),
        Message::Bind(it) => it.bindings.len(),
        Message::Unbind(it) => it.bindings.len(),
        _ => 0,
    }
}
