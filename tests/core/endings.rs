//! Seeded calls: callers and providers that call, answer, forge, cancel, stall, drain, die, return and take
//! sessions over, in small worlds and at random. Whatever happens, each call ends once, and as it may.

use std::collections::BTreeSet;

use callboard::limits::Limits;
use callboard::protocol::{
    Bin, CallOptions, Definition, Drain, Goodbye, Hello, HelloOptions, Text, Watch,
};

use crate::call_model::{Asked, CallModel, Made, Peer, headers};
use crate::reader::{CallEnding, CallFailure, Reader, WatchFilter};
use crate::rng::{Rng, seeds, watched};
use crate::turn::Budgets;
use crate::world::World;

const FUNCTIONS: [&str; 3] = ["f", "g", "h"];
const GRACE: u64 = 400;

/// Seeds that showed a fault once, of the engine or of the model.
const FAILED_ONCE: [u64; 1] = [179_571_281_405_700];

struct Stage {
    world: World,
    rng: Rng,
    model: CallModel,
    /// What a newcomer does not confirm stays its own for as long as anything lasts here.
    patient: bool,
    /// No reader stalls and nothing is held back any more.
    calm: bool,
    /// When the grace period ends, in microseconds.
    grace_ends: Option<u64>,
    stop_turn: Option<u64>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut limits = Limits {
            log_bytes: [1_500, 16 << 20][rng.below(2)],
            changes_per_second: 0,
            grace: GRACE,
            // No connection expires here: the tests of clocks are elsewhere.
            ping_after: 3_600_000,
            silence: 7_200_000,
            write_deadline: 7_200_000,
            ..Limits::default()
        };
        let patient = rng.one_in(2);
        if patient {
            limits.ready_timeout = 7_200_000;
        }
        let tight = rng.one_in(5);
        let mut crowds = false;
        if tight {
            match rng.below(4) {
                0 => limits.max_parked = 2,
                1 => limits.max_retained = 150,
                2 => limits.max_calls = 3,
                _ => {
                    limits.max_calls_total = 5;
                    crowds = true;
                }
            }
        }
        let mut stage = Self {
            world: World::seeded(limits, seed),
            rng,
            model: CallModel {
                tight,
                crowds,
                ..CallModel::default()
            },
            patient,
            calm: false,
            grace_ends: None,
            stop_turn: None,
        };
        for _ in 0..2 + stage.rng.below(3) {
            let provider = stage.come(None);
            stage.register(provider);
        }
        for _ in 0..2 + stage.rng.below(3) {
            let caller = stage.come(None);
            if stage.rng.one_in(3) {
                stage.register(caller);
            }
        }
        stage.turn();
        stage
    }

    /// A worker connects, perhaps with the key of the session at `older`.
    fn come(&mut self, older: Option<usize>) -> usize {
        let filter = match self.rng.below(3) {
            0 => WatchFilter::new(&[""], &[""]),
            _ => WatchFilter::new(&[], &[]),
        };
        let link = self.world.open(Reader::new(filter.clone()));
        let mut peer = Peer {
            name: format!("peer {link}"),
            capacity: 1 + self.rng.below(3) as u64,
            fluent_since: Some(self.model.turn),
            ..Peer::default()
        };
        let session = older.and_then(|older| self.world.reader(older).welcome.clone());
        if let Some(older) = older {
            // Its key may be good still after a takeover whose WELCOME was lost.
            let mut holder = older;
            let mut possible = self.model.peers[holder].possible.clone();
            while let Some(taker) = self.model.peers[holder].taker {
                holder = taker;
                possible.extend(&self.model.peers[holder].possible);
            }
            if self.model.peers[holder].worker == 0 {
                // Its HELLO, with the same key, must not come behind the newcomer's.
                self.world.reset(holder);
                self.world.links[holder].up.clear();
            }
            let holder = &mut self.model.peers[holder];
            holder.taker = Some(link);
            peer.heir_of = std::mem::take(&mut holder.certain);
            peer.heir_from = holder.worker;
            holder.gone = true;
            peer.ever.clone_from(&possible);
            peer.possible = possible;
        }
        let all = (!filter.is_nothing()).then(|| vec![Text("")]);
        let hello = Hello {
            versions: vec![1],
            name: Text(&peer.name),
            namespace: Text(""),
            ext: HelloOptions {
                watch: Some(Watch {
                    functions: all.clone(),
                    workers: all,
                    bindings: None,
                }),
                session: session.as_ref().map(|welcome| Bin(&welcome.session)),
                capacity: Some(peer.capacity),
                ..HelloOptions::default()
            },
        };
        self.world.say(link, &hello.to_frame());
        self.model.peers.push(peer);
        link
    }

    /// A living peer that the engine has greeted.
    fn someone(&mut self, want: impl Fn(&Peer) -> bool) -> Option<usize> {
        self.rng.pick(&self.model.peers, |peer| {
            !peer.gone && peer.worker != 0 && want(peer)
        })
    }

    fn register(&mut self, link: usize) {
        let peer = &self.model.peers[link];
        if peer.gone || peer.draining {
            return;
        }
        let mut names: BTreeSet<&'static str> = BTreeSet::new();
        for _ in 0..=self.rng.below(2) {
            names.insert(FUNCTIONS[self.rng.below(3)]);
        }
        let description = "long enough to fill a small log ".repeat(1 + self.rng.below(20));
        let definitions = names.iter().map(|name| Definition {
            name: Text(name),
            description: Text(&description),
            ..Definition::default()
        });
        let id = self.world.register_definitions(link, definitions.collect());
        let peer = &mut self.model.peers[link];
        peer.possible.extend(&names);
        peer.ever.extend(&names);
        peer.wanted.extend(&names);
        let names = names.into_iter().collect();
        peer.asked.insert(id, Asked::Register(names));
    }

    fn unregister(&mut self, link: usize) {
        let names: Vec<_> = self.model.peers[link].certain.iter().copied().collect();
        let count = 1 + self.rng.below(3);
        let names: Vec<_> = names.into_iter().take(count).collect();
        if names.is_empty() {
            return;
        }
        let id = self.world.unregister(link, &names);
        let peer = &mut self.model.peers[link];
        for name in &names {
            peer.certain.remove(name);
            peer.wanted.remove(name);
        }
        peer.asked.insert(id, Asked::Withdraw(names));
    }

    fn drain(&mut self, link: usize) {
        self.world.say(link, &Drain::default().to_frame());
        // Its answer marks the place from where on nothing may come any more.
        let id = self.world.ready(link);
        let peer = &mut self.model.peers[link];
        peer.draining = true;
        peer.certain.clear();
        peer.heir_of.clear();
        peer.wanted.clear();
        let all = FUNCTIONS.to_vec();
        peer.asked.insert(id, Asked::Withdraw(all));
    }

    fn ready(&mut self, link: usize) {
        let id = self.world.ready(link);
        let peer = &mut self.model.peers[link];
        let kept = peer.wanted.clone();
        peer.certain.retain(|name| kept.contains(name));
        peer.heir_of.clear();
        peer.asked.insert(id, Asked::Confirm(kept));
    }

    fn call(&mut self, link: usize) {
        let tag = self.model.calls.len();
        let mut payload = (tag as u64).to_le_bytes().to_vec();
        payload.resize(8 + [0, 10, 100, 3000][self.rng.below(4)], tag as u8);
        let function = match self.rng.below(12) {
            0 => "nobody's",
            other => FUNCTIONS[other % 3],
        };
        let timeout_ms = match self.rng.below(4) {
            0 => self.rng.below(30) as u64,
            1 => 100 + self.rng.below(200) as u64,
            _ => 8_000,
        };
        let pinned = self.rng.one_in(6).then(|| {
            let at = self.rng.below(self.model.peers.len());
            self.model.peers[at].worker
        });
        let (wait, idempotent) = (self.rng.one_in(2), self.rng.one_in(2));
        let headers = headers(tag);
        let options = CallOptions {
            timeout_ms: Some(timeout_ms),
            wait,
            idempotent,
            worker: pinned,
            headers: Bin(&headers),
        };
        let request = self.world.call(link, function, &payload, options);
        self.model.made(Made {
            link,
            request,
            function,
            payload,
            timeout_ms,
            wait,
            idempotent,
            pinned,
            cancelled: false,
            arrived: None,
            ending: None,
            received_by: Vec::new(),
            answers: Vec::new(),
        });
    }

    /// A provider answers what it was asked, once or more often.
    fn answer(&mut self, link: usize) {
        let peer = &mut self.model.peers[link];
        let at = self.rng.below(peer.open.len());
        let (invoke, tag) = peer.open.remove(at);
        peer.done.push((invoke, tag));
        peer.said += 1;
        let call = &mut self.model.calls[tag];
        if self.rng.one_in(4) {
            let message = format!("{tag} of link {link}");
            self.world.answer_failure(link, invoke, "its_own", &message);
            call.answers.push(CallEnding::Failure(CallFailure {
                code: "its_own".into(),
                message,
                executed: callboard::protocol::Executed::No,
                retryable: false,
                from_function: true,
                details: Vec::new(),
            }));
        } else {
            let payload = [&b"result of "[..], &call.payload].concat();
            self.world.answer(link, invoke, &payload);
            call.answers.push(CallEnding::Result(payload));
        }
        if self.rng.one_in(5) {
            self.world.answer(link, invoke, b"answered twice");
        }
    }

    /// A worker answers a call that is not its to answer, or not any more, or never was.
    fn forge(&mut self, link: usize) {
        let at = self.rng.below(self.model.peers.len());
        let other = &self.model.peers[at];
        let mut known = other.done.clone();
        if at != link {
            known.extend(&other.open);
        }
        // A call that is tried again keeps its id, and may be this one's by now.
        let provides = !self.model.peers[link].ever.is_empty();
        let is_safe = |(_, tag): &(u64, usize)| !(provides && self.model.calls[*tag].idempotent);
        let known = known.into_iter().filter(is_safe);
        let ids: Vec<u64> = known.map(|(id, _)| id).collect();
        let id = match ids.len() {
            0 => self.rng.below(5) as u64,
            n => ids[self.rng.below(n)] + self.rng.below(4) as u64 / 3 * (1 << 50),
        };
        if self.rng.one_in(2) {
            self.world.answer(link, id, b"forged");
        } else {
            self.world.answer_failure(link, id, "forged", "forged");
        }
    }

    fn cancel(&mut self, link: usize) {
        if self.rng.one_in(5) {
            return self.world.cancel(link, 1_000_000);
        }
        let Some(at) = self.rng.pick(&self.model.calls, |call| call.link == link) else {
            return;
        };
        let call = &mut self.model.calls[at];
        call.cancelled = true;
        self.world.cancel(link, call.request);
        if self.rng.one_in(4) {
            self.world.cancel(link, call.request);
        }
    }

    fn die(&mut self, link: usize) {
        let turn = self.model.turn;
        let peer = &mut self.model.peers[link];
        let was_gone = std::mem::replace(&mut peer.gone, true);
        match self.rng.below(3) {
            0 => {
                self.world.reset(link);
                self.world.links[link].up.clear();
                peer.gone_turn.get_or_insert(turn);
            }
            1 => {
                self.world.eof(link);
                self.world.links[link].up.clear();
                peer.gone_turn.get_or_insert(turn);
            }
            _ if !was_gone => self.world.say(link, &Goodbye::default().to_frame()),
            _ => {}
        }
    }

    /// Stops reading, or goes on.
    fn stall(&mut self, link: usize) {
        let stalls = self.model.peers[link].fluent_since.take().is_none();
        self.world.links[link].capacity = if stalls { usize::MAX } else { 0 };
        if stalls {
            // In the next turn the engine hears that it may write again, in the one after it does.
            self.model.peers[link].fluent_since = Some(self.model.turn + 2);
        }
    }

    fn shut_down(&mut self) {
        if self.model.shutdown.is_some() {
            self.model.stopped = true;
        } else {
            self.model.shutdown = Some(self.model.turn);
            self.grace_ends = Some(self.world.now.0 + GRACE * 1000);
        }
        self.world.engine.handle_shutdown(self.world.now);
        self.note_stop();
    }

    fn note_stop(&mut self) {
        if self.model.shutdown.is_some() && self.stop_turn.is_none() {
            let closed = self.world.engine.stats().closed;
            self.stop_turn = closed
                .contains_key("shutting_down")
                .then_some(self.model.turn);
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.rng.below(64) {
            0..=23 => {
                if let Some(link) = self.someone(|_| true) {
                    self.call(link);
                }
            }
            24..=41 => {
                if let Some(link) = self.someone(|peer| !peer.open.is_empty()) {
                    self.answer(link);
                }
            }
            42..=43 => {
                if let Some(link) = self.someone(|_| true) {
                    self.forge(link);
                }
            }
            44..=47 => {
                if let Some(link) = self.someone(|_| true) {
                    self.cancel(link);
                }
            }
            48..=49 => {
                let want = |peer: &Peer| peer.gone_turn.is_none();
                if let Some(link) = self.rng.pick(&self.model.peers, want) {
                    self.die(link);
                }
            }
            50..=51 => {
                let link = self.rng.below(self.model.peers.len());
                self.stall(link);
            }
            52..=54 => {
                if let Some(link) = self.someone(|_| true) {
                    self.register(link);
                }
            }
            55..=56 => {
                if let Some(link) = self.someone(|peer| !peer.certain.is_empty()) {
                    self.unregister(link);
                }
            }
            57 => {
                if let Some(link) = self.someone(|_| true) {
                    self.drain(link);
                }
            }
            58..=59 => {
                let link = self.come(None);
                self.register(link);
            }
            60..=61 => {
                let welcomed = |peer: &Peer| peer.worker != 0;
                if let Some(older) = self.rng.pick(&self.model.peers, welcomed) {
                    let link = self.come(Some(older));
                    if self.rng.one_in(2) {
                        self.register(link);
                    }
                    if self.rng.one_in(2) {
                        self.ready(link);
                    }
                }
            }
            62 => {
                if let Some(link) = self.someone(|_| true) {
                    self.ready(link);
                }
            }
            _ if self.rng.one_in(4) => self.shut_down(),
            _ => {}
        }
    }

    fn turn(&mut self) {
        self.model.begin_turn();
        let count = self.world.links.len();
        let first = self.rng.below(count);
        for link in (first..count).chain(0..first) {
            if self.calm || !self.rng.one_in(5) {
                self.world.arrive(link, usize::MAX);
            }
        }
        self.model.clock = self.world.now.0;
        if self.grace_ends.is_some_and(|ends| ends <= self.world.now.0) {
            self.model.stopped = true;
        }
        self.world.finish_turn(Budgets::ALL);
        self.world.finish_turn(Budgets::ALL);
        self.note_stop();
        for link in 0..count {
            if self.world.links[link].up.is_empty() {
                self.model.heard(link, self.world.now);
            }
            if self.model.peers[link].fluent_since.is_some() {
                self.world.receive(link, usize::MAX);
            }
            let peer = &mut self.model.peers[link];
            if let Some(welcome) = &self.world.links[link].reader.welcome
                && peer.worker == 0
            {
                peer.worker = welcome.worker;
                let inherits = welcome.taken_over && peer.heir_from == welcome.worker;
                if inherits && self.patient && !peer.gone {
                    let inherited = std::mem::take(&mut peer.heir_of);
                    peer.certain.extend(&inherited);
                }
            }
        }
        for link in 0..count {
            let events = &self.world.links[link].reader.events;
            self.model.take_invokes(link, events);
        }
        for link in 0..count {
            let events = &self.world.links[link].reader.events;
            self.model.take_endings(link, events);
        }
        self.world.wait(match self.rng.below(12) {
            0 => 150,
            1..=4 => 0,
            _ => self.rng.below(20) as u64,
        });
    }

    /// All that was begun is brought to its end, by peers that behave from now on.
    fn finish(&mut self) {
        self.calm = true;
        for link in 0..self.world.links.len() {
            // Its taker may have died before it said HELLO, or have come with a key of no use.
            if self.model.peers[link].taker.is_some() {
                self.world.reset(link);
            }
        }
        for link in 0..self.world.links.len() {
            if self.model.peers[link].fluent_since.is_none() {
                self.stall(link);
            }
        }
        let mut turns = 0;
        for wait in [0, 2_500, 8_000] {
            self.world.wait(wait);
            let mut quiet = 0;
            while quiet < 5 {
                self.turn();
                quiet += 1;
                turns += 1;
                if turns > 4 && self.model.shutdown.is_none() {
                    self.model.check_no_call_waits_in_vain();
                }
                while let Some(link) = self.someone(|peer| !peer.open.is_empty()) {
                    self.answer(link);
                    quiet = 0;
                }
            }
        }
        self.model.check_all(self.stop_turn);
        let stats = self.world.engine.stats();
        let left = (stats.calls, stats.parked, stats.retained_bytes);
        assert_eq!(left, (0, 0, 0), "calls, parked calls, bytes retained");
        if self.model.shutdown.is_none() {
            if !self.model.tight {
                self.check_slots();
            }
        } else {
            self.world.wait(GRACE + 2_500);
            self.turn();
            self.turn();
            assert!(self.world.engine.is_finished(), "the engine never ended");
        }
    }

    /// Every provider takes as many calls as on its first day.
    fn check_slots(&mut self) {
        let caller = self.come(None);
        self.turn();
        let providers = 0..self.model.peers.len();
        for link in providers.filter(|&link| link != caller) {
            let peer = &self.model.peers[link];
            let Some(&function) = peer.certain.first().filter(|_| !peer.gone) else {
                continue;
            };
            let (worker, capacity) = (peer.worker, peer.capacity as usize);
            let options = CallOptions {
                worker: Some(worker),
                ..CallOptions::default()
            };
            let before = self.world.reader(link).invocations().count();
            for _ in 0..=capacity {
                self.world.call(caller, function, b"", options.clone());
            }
            self.world.turn();
            let came = self.world.reader(link).invocations().count() - before;
            assert_eq!(came, capacity, "link {link} lost a slot, or won one");
        }
    }
}

fn run(seed: u64) {
    let mut stage = Stage::new(seed);
    for _ in 0..20 + stage.rng.below(21) {
        for _ in 0..=stage.rng.below(3) {
            stage.step();
        }
        stage.turn();
    }
    stage.finish();
}

#[test]
fn every_call_ends_once_and_as_it_may_whatever_happens() {
    for seed in watched(
        "every_call_ends_once_and_as_it_may_whatever_happens",
        seeds(0..3000).chain(FAILED_ONCE),
    ) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} (run it alone: `run({seed})`)");
    }
}
