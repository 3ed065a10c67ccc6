//! The model that the seeded calls are held against: which peers are connected, which of them may be invoked for which function,
//! what was called, and how it may end. Knows of the engine only what its peers see, and so never more than a peer could.

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::Time;
use callboard::protocol::{Code, Executed};

use crate::reader::{CallEnding, CallFailure, Event, Invocation};

/// A call, as its caller knows it.
#[derive(Debug)]
pub(crate) struct Made {
    pub link: usize,
    pub request: u64,
    pub function: &'static str,
    pub payload: Vec<u8>,
    pub timeout_ms: u64,
    pub wait: bool,
    pub idempotent: bool,
    pub pinned: Option<u64>,
    pub cancelled: bool,
    /// The turn in which the engine had it, and the time.
    pub arrived: Option<(u64, Time)>,
    pub ending: Option<CallEnding>,
    /// Links whose peers were asked to run it.
    pub received_by: Vec<usize>,
    /// What honest providers answered first.
    pub answers: Vec<CallEnding>,
}

/// What a peer asked of the registry.
#[derive(Debug)]
pub(crate) enum Asked {
    Register(Vec<&'static str>),
    /// Said behind what withdraws these: DRAIN, UNREGISTER, or the end of a takeover.
    Withdraw(Vec<&'static str>),
    /// READY of a newcomer that registered these again.
    Confirm(BTreeSet<&'static str>),
}

/// The peer that speaks on a link.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub name: String,
    pub worker: u64,
    pub capacity: u64,
    /// Its connection was ended, or its session is being taken over.
    pub gone: bool,
    /// The newcomer that takes its session over, if its key is still good.
    pub taker: Option<usize>,
    /// The turn in which the engine knew that it is gone.
    pub gone_turn: Option<u64>,
    pub draining: bool,
    /// What it may be asked to run.
    pub possible: BTreeSet<&'static str>,
    /// What it provides for certain.
    pub certain: BTreeSet<&'static str>,
    pub ever: BTreeSet<&'static str>,
    /// What its session had for certain, if it takes one over.
    pub heir_of: BTreeSet<&'static str>,
    /// The worker of that session.
    pub heir_from: u64,
    /// What it asked for and did not withdraw.
    pub wanted: BTreeSet<&'static str>,
    pub asked: BTreeMap<u64, Asked>,
    /// INVOKEs that it owes an answer: id and call.
    pub open: Vec<(u64, usize)>,
    /// INVOKEs that it answered.
    pub done: Vec<(u64, usize)>,
    /// Answers said, and those of them that the engine had.
    pub said: u64,
    pub heard: u64,
    pub received: u64,
    /// It takes what it is sent, since this turn.
    pub fluent_since: Option<u64>,
    /// The last call of each caller to each function that was no second try.
    pub last: BTreeMap<(usize, &'static str), usize>,
    /// How many of the reader's events were taken down.
    pub seen: usize,
    /// At the begin of the turn: the calls that the engine may count as its own.
    pub carried: u64,
    /// INVOKEs received in this turn.
    pub fresh: u64,
    /// Provided for certain since the begin of the turn.
    pub steady: BTreeSet<&'static str>,
}

/// The peers and calls of a seeded run; each frame is checked against it.
#[derive(Debug, Default)]
pub(crate) struct CallModel {
    pub peers: Vec<Peer>,
    pub calls: Vec<Made>,
    pub by_request: BTreeMap<(usize, u64), usize>,
    pub turn: u64,
    /// The time, in microseconds.
    pub clock: u64,
    /// The turn of SIGTERM.
    pub shutdown: Option<u64>,
    /// SIGTERM came twice, or the grace period ended.
    pub stopped: bool,
    /// Limits on calls are so tight that they may be met.
    pub tight: bool,
    /// So few abandoned calls may be held (`max_calls_total`) that a provider that holds one may be sent no others.
    pub crowds: bool,
}

impl CallModel {
    pub(crate) fn made(&mut self, call: Made) {
        self.by_request
            .insert((call.link, call.request), self.calls.len());
        self.calls.push(call);
    }

    pub(crate) fn begin_turn(&mut self) {
        self.turn += 1;
        for peer in &mut self.peers {
            peer.carried = peer.received - peer.heard;
            peer.fresh = 0;
            let fluent = peer.fluent_since.is_some_and(|since| since < self.turn);
            peer.steady = if fluent && !peer.gone {
                peer.certain.clone()
            } else {
                BTreeSet::new()
            };
        }
    }

    /// All that a link's peer said so far has reached the engine.
    pub(crate) fn heard(&mut self, link: usize, now: Time) {
        let peer = &mut self.peers[link];
        peer.heard = peer.said;
        if peer.gone && peer.taker.is_none() {
            peer.gone_turn.get_or_insert(self.turn);
        }
        for call in self.calls.iter_mut().filter(|call| call.link == link) {
            call.arrived.get_or_insert((self.turn, now));
        }
    }

    /// Takes down what came for a link, in two rounds: what was run, then what ended.
    pub(crate) fn take_invokes(&mut self, link: usize, events: &[Event]) {
        let seen = self.peers[link].seen;
        for event in &events[seen..] {
            match event {
                Event::Invoke(invocation) => self.invoked(link, invocation),
                Event::Cancel(id) => self.told_to_cancel(link, *id, events),
                Event::Ended(request) => self.registry_ended(link, *request),
                Event::CallEnded(..) => {}
            }
        }
    }

    pub(crate) fn take_endings(&mut self, link: usize, events: &[Event]) {
        let seen = std::mem::replace(&mut self.peers[link].seen, events.len());
        for event in &events[seen..] {
            if let Event::CallEnded(request, ending) = event {
                let tag = self.by_request[&(link, *request)];
                self.check_ending(tag, ending);
                self.calls[tag].ending = Some(ending.clone());
            }
        }
    }

    /// The call that an INVOKE's payload names.
    fn tag(invocation: &Invocation) -> usize {
        let bytes = invocation.payload[..8].try_into().expect("a tag");
        u64::from_le_bytes(bytes) as usize
    }

    fn invoked(&mut self, link: usize, invocation: &Invocation) {
        let tag = Self::tag(invocation);
        let call = &self.calls[tag];
        assert_eq!(invocation.function, call.function, "call {tag}");
        assert_eq!(invocation.payload, call.payload, "call {tag}");
        assert_eq!(invocation.headers, headers(tag), "call {tag}");
        assert!(invocation.timeout_ms <= call.timeout_ms, "call {tag}");
        let caller = &self.peers[call.link];
        let who = (caller.worker, &*caller.name);
        assert_eq!((invocation.caller, &*invocation.caller_name), who);
        if call.idempotent {
            let runs = call.received_by.iter().chain([&link]);
            let living = runs.filter(|&&it| !self.peers[it].gone).count();
            assert!(living <= 1, "call {tag} is run by two");
        } else {
            assert!(call.received_by.is_empty(), "call {tag} was run twice");
        }
        let (caller, function) = (call.link, call.function);
        let (idempotent, pinned) = (call.idempotent, call.pinned);
        self.calls[tag].received_by.push(link);
        let peer = &mut self.peers[link];
        peer.received += 1;
        peer.fresh += 1;
        if peer.gone {
            return;
        }
        assert!(
            peer.possible.contains(function),
            "link {link} does not provide {}",
            invocation.function
        );
        assert!(pinned.is_none_or(|worker| worker == peer.worker));
        peer.open.push((invocation.id, tag));
        assert!(
            peer.open.len() as u64 <= peer.capacity,
            "link {link} is over its capacity"
        );
        if !idempotent {
            let before = peer.last.insert((caller, function), tag);
            assert!(
                before.is_none_or(|before| before < tag),
                "calls {before:?} and {tag} of link {caller} came to link {link} out of order"
            );
        }
    }

    fn told_to_cancel(&self, link: usize, id: u64, events: &[Event]) {
        let invoke = events.iter().find_map(|event| match event {
            Event::Invoke(invocation) if invocation.id == id => Some(invocation),
            _ => None,
        });
        let tag = Self::tag(invoke.expect("the reader saw it"));
        let call = &self.calls[tag];
        let (_, arrived) = call.arrived.expect("it was invoked");
        let reason = call.cancelled
            || self.peers[call.link].gone
            || self.stopped
            || self.clock >= arrived.0 + call.timeout_ms * 1000;
        assert!(
            reason,
            "call {tag} was cancelled at link {link} for nothing"
        );
    }

    fn registry_ended(&mut self, link: usize, request: u64) {
        let peer = &mut self.peers[link];
        match peer.asked.remove(&request) {
            Some(Asked::Register(names)) if !peer.gone && self.shutdown.is_none() => {
                // What was withdrawn meanwhile is possible again only until that is answered.
                let withdrawn = |name: &&str| {
                    peer.asked
                        .values()
                        .any(|it| matches!(it, Asked::Withdraw(names) if names.contains(name)))
                };
                if !peer.draining {
                    let stay = names.into_iter().filter(|name| !withdrawn(name));
                    peer.certain.extend(stay.collect::<Vec<_>>());
                }
            }
            Some(Asked::Withdraw(names)) => {
                let asked_again = |name: &&'static str| {
                    let later = peer.asked.values();
                    let mut later = later.filter_map(|it| match it {
                        Asked::Register(names) => Some(names),
                        _ => None,
                    });
                    later.any(|names| names.contains(name)) || peer.certain.contains(name)
                };
                let gone: Vec<_> = names.into_iter().filter(|it| !asked_again(it)).collect();
                peer.possible.retain(|name| !gone.contains(name));
            }
            Some(Asked::Confirm(kept)) => {
                let asked = peer.asked.values().flat_map(|it| match it {
                    Asked::Register(names) => names.clone(),
                    _ => Vec::new(),
                });
                let asked: Vec<_> = asked.collect();
                peer.possible
                    .retain(|name| kept.contains(name) || asked.contains(name));
            }
            _ => {}
        }
    }

    /// A worker provided the function for certain in this whole turn; with `room`, and could take a call at
    /// any time in it.
    fn surely(&self, function: &str, pinned: Option<u64>, room: bool) -> bool {
        let takes_another = |peer: &Peer| {
            let held = peer.carried + peer.fresh;
            held < peer.capacity && (held == 0 || !self.crowds)
        };
        self.peers.iter().any(|peer| {
            !peer.gone
                && peer.steady.contains(function)
                && peer.certain.contains(function)
                && pinned.is_none_or(|worker| worker == peer.worker)
                && (!room || takes_another(peer))
        })
    }

    fn check_ending(&self, tag: usize, ending: &CallEnding) {
        let call = &self.calls[tag];
        assert!(call.ending.is_none(), "call {tag} ended twice");
        let failure = match ending {
            CallEnding::Failure(failure) if !failure.from_function => failure,
            _ => {
                assert!(
                    call.answers.contains(ending),
                    "call {tag} got {ending:?}, which is not its own"
                );
                return;
            }
        };
        let code = Code::parse(&failure.code).expect("a code of the engine");
        assert_eq!(failure.retryable, code.retryable(), "call {tag}");
        self.check_code(tag, code, failure);
    }

    fn check_code(&self, tag: usize, code: Code, failure: &CallFailure) {
        let call = &self.calls[tag];
        let (turn, arrived) = call.arrived.expect("it was answered");
        let maybe = failure.executed == Executed::Maybe;
        // A reader that lags says nothing about this turn.
        let since = self.peers[call.link].fluent_since;
        let prompt = since.is_some_and(|since| since < self.turn) && self.shutdown.is_none();
        let surely = |room| prompt && self.surely(call.function, call.pinned, room);
        let fine = match code {
            Code::DeadlineExceeded => self.clock >= arrived.0 + call.timeout_ms * 1000,
            Code::Cancelled => call.cancelled,
            Code::ProviderGone => {
                let somebody_went = self.peers.iter().any(|peer| {
                    peer.gone
                        && peer.gone_turn.is_none_or(|gone| gone >= turn)
                        && peer.ever.contains(call.function)
                });
                let waits = call.idempotent && call.wait && self.shutdown.is_none() && !self.tight;
                maybe && somebody_went && !waits && !(call.idempotent && surely(true))
            }
            Code::NoSuchFunction => !maybe && !call.wait && !surely(false),
            Code::Overloaded => !maybe && (self.tight || !call.wait && !surely(true)),
            Code::Draining => {
                let shutdown = self.shutdown.expect("nobody asked the engine to stop");
                let is_new = turn > shutdown;
                let was_tried = call.idempotent && maybe;
                self.stopped || is_new && !maybe || call.wait && (!maybe || was_tried)
            }
            _ => false,
        };
        assert!(
            fine,
            "call {tag} may not end like this: {failure:?}\n{call:?}"
        );
    }

    /// When no reader stalls any more: no call waits while a provider has room for it.
    pub(crate) fn check_no_call_waits_in_vain(&self) {
        for (tag, call) in self.calls.iter().enumerate() {
            let waits = call.arrived.is_some_and(|(turn, _)| turn < self.turn);
            if !waits || call.ending.is_some() || self.peers[call.link].gone {
                continue;
            }
            let runs = call.received_by.iter().any(|&link| {
                let peer = &self.peers[link];
                !peer.gone && peer.open.iter().any(|&(_, open)| open == tag)
            });
            assert!(
                runs || !self.surely(call.function, call.pinned, true),
                "call {tag} waits while somebody has room: {call:?}"
            );
        }
    }

    /// What must hold when all is over: every call of a caller that lived has ended, unless the engine
    /// stopped in the turn in which it came.
    pub(crate) fn check_all(&self, stop_turn: Option<u64>) {
        for (tag, call) in self.calls.iter().enumerate() {
            if let Some(CallEnding::Failure(failure)) = &call.ending
                && !failure.from_function
                && failure.executed == Executed::No
            {
                let runs = &call.received_by;
                assert!(
                    runs.is_empty(),
                    "call {tag} is said not to have run: {call:?}"
                );
            }
            let arrived = call.arrived.map(|(turn, _)| turn);
            let owed = match (arrived, stop_turn) {
                (None, _) => false,
                (Some(arrived), Some(stop)) => arrived < stop,
                (Some(_), None) => true,
            };
            if owed && !self.peers[call.link].gone {
                assert!(call.ending.is_some(), "call {tag} never ended: {call:?}");
            }
        }
    }
}

/// The headers that a call carries.
pub(crate) fn headers(tag: usize) -> Vec<u8> {
    if tag.is_multiple_of(3) {
        Vec::new()
    } else {
        format!("headers of {tag}").into_bytes()
    }
}
