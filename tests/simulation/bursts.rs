//! Several events in one turn, of kinds that are drawn one by one: each is brought about, as far as the world has what
//! it takes, and the engine reads in that turn all that has come. It checks nothing.

use crate::application;
use crate::coincidences::{DEEDS, Happening};
use crate::context::Context;
use crate::host::Host;
use crate::journal::note;
use crate::network::Far;
use crate::stranger::Stranger;
use crate::worker::{Stage, Worker};
use crate::world::{World, context};

/// So far ahead the time jumps to a deadline, in microseconds.
const AHEAD: u64 = 3_000_000;

/// Kinds that few attempts bring about; the rarest twice.
const RARE: &[Happening] = &[
    Happening::Unready,
    Happening::Unready,
    Happening::Deadline,
    Happening::Kick,
    Happening::Kick,
    Happening::Expiry,
    Happening::Ping,
    Happening::Pause,
    Happening::Pause,
    Happening::Resume,
    Happening::Resume,
    Happening::Reset,
    Happening::Drain,
    Happening::Revocation,
    Happening::Stop,
];

/// Pairs that chance brings together too seldom.
const FORCED: &[[Happening; 2]] = &[
    [Happening::Kick, Happening::Unready],
    [Happening::Unready, Happening::Refusal],
    [Happening::Unready, Happening::Bind],
    [Happening::Unready, Happening::Unbind],
    [Happening::Unready, Happening::Pause],
    [Happening::Unready, Happening::Stop],
    [Happening::Pause, Happening::Stop],
    [Happening::Resume, Happening::Stop],
    [Happening::Expiry, Happening::Stop],
    [Happening::Answer, Happening::Kick],
    [Happening::Answer, Happening::Expulsion],
    [Happening::Answer, Happening::EndOfStream],
    [Happening::Emit, Happening::Kick],
    [Happening::Unregister, Happening::Kick],
    [Happening::Bind, Happening::Kick],
    [Happening::Unbind, Happening::Kick],
    [Happening::Unbind, Happening::EndOfStream],
    [Happening::Unbind, Happening::Expulsion],
    [Happening::Bind, Happening::EndOfStream],
    [Happening::Bind, Happening::Reset],
    [Happening::Cast, Happening::Kick],
    [Happening::Cast, Happening::Expulsion],
    [Happening::Cancel, Happening::Kick],
];

/// Strangers at a time.
const STRANGERS: usize = 4;

impl World {
    /// Draws what is to happen in the next turn.
    pub(crate) fn burst(&mut self) {
        self.at_once = true;
        // Nothing meets anything while workers wait to come back.
        for worker in &mut self.workers {
            worker.dial_at = worker.dial_at.min(self.now);
        }
        // Half of the time, what a worker does and suffers is all at the same one.
        self.focus = self.rng.one_in(2).then(|| self.rng.below(1 << 16));
        if std::mem::take(&mut self.mutes) {
            self.mute();
        }
        for _ in 0..4 + self.rng.below(7) {
            let lists = [Happening::ALL, RARE, RARE, DEEDS];
            let kinds = lists[self.rng.below(if self.focus.is_some() { 4 } else { 2 })];
            let what = self.rng.pick(kinds);
            if what == Happening::Stop && !self.rng.one_in(8) {
                continue;
            }
            note!("a burst: {what:?}");
            self.provoke(what);
        }
        for _ in 0..self.rng.below(3) {
            let pair = self.rng.pick(FORCED);
            note!("a burst: {pair:?}");
            let busy = self.workers.iter().position(Worker::is_busy);
            let busy = busy.filter(|_| pair[0] == Happening::Answer);
            self.focus = busy.or(self.focus).or(Some(self.hired));
            for what in pair {
                self.provoke(what);
            }
        }
    }

    fn provoke(&mut self, what: Happening) {
        match what {
            Happening::Connect | Happening::Refusal | Happening::Hello => self.meet_a_stranger(),
            Happening::Takeover | Happening::Ready => self.let_one_come_back(),
            Happening::Register => self.ask(|it, _, context| application::register(it, context)),
            Happening::Unregister => {
                self.ask(|it, _, context| application::unregister(it, context));
            }
            Happening::Bind => self.ask(|it, _, context| application::bind(it, context)),
            Happening::Unbind => self.ask(|it, _, context| application::unbind(it, context)),
            Happening::Call => self.ask(application::call),
            Happening::Cast => self.ask(|it, _, context| application::cast(it, context)),
            Happening::Emit => self.ask(|it, _, context| application::emit(it, context)),
            // An engine whose answers are not read may refuse it, and only the engine knows how much is unread.
            Happening::Kick
                if self.config.credentials && self.config.limits.max_outbound > 1 << 20 =>
            {
                self.kick();
            }
            Happening::Cancel => self.ask(|it, _, context| application::give_up(it, context)),
            Happening::Answer => {
                for worker in &mut self.workers {
                    worker.hurry(self.now);
                }
            }
            Happening::Drain => self.ask(|it, _, _| it.drain()),
            Happening::Goodbye => self.end(Worker::leave),
            Happening::Deadline => self.wait_for_a_call(),
            Happening::Unready => self.wait_for_ready(),
            Happening::Expiry => {
                let host = self.host.as_ref();
                self.jump(host.and_then(|it| it.expiry_at(self.now)));
            }
            Happening::Ping | Happening::Resume => {
                let next = self.host.as_ref().and_then(|it| it.engine.next_deadline());
                self.jump(next.map(|it| it.0));
            }
            Happening::Reload => self.redraw_rights(),
            Happening::Revocation => {
                if let Some(principals) = &mut self.principals {
                    principals.turn_out(&mut self.rng);
                    self.reload_soon();
                }
            }
            Happening::Expulsion => {
                let at = self.rng.below(self.strangers.len() + 1);
                match self.strangers.get_mut(at) {
                    Some(stranger) => stranger.break_rules(&mut self.rng),
                    None => self.end(|it, _| it.spoils = true),
                }
            }
            Happening::Block => self.squeeze(),
            Happening::Pause => {
                self.ask(|it, _, context| application::register(it, context));
                self.squeeze();
            }
            Happening::Unblock => {
                for (number, capacity) in std::mem::take(&mut self.squeezed) {
                    if let Some(wire) = self.wires.get_mut(&number) {
                        wire.down.capacity = capacity;
                    }
                }
            }
            Happening::EndOfStream => self.end(Worker::go),
            Happening::Reset => {
                let now = self.now;
                self.end(|it, context| {
                    it.write(context);
                    if let Some(wire) = it.wire.and_then(|it| context.wires.get_mut(&it)) {
                        wire.up.cut(usize::MAX, Some(now));
                        wire.down.cut(0, Some(now));
                        wire.is_cut = true;
                    }
                });
            }
            Happening::Stop => {
                if let Some(host) = &mut self.host {
                    host.shut_down(self.now);
                }
            }
            Happening::Kick => {}
        }
    }

    /// Some may something else, and the engine is told so.
    pub(crate) fn redraw_rights(&mut self) {
        if let Some(principals) = &mut self.principals {
            principals.redraw(&mut self.rng);
            self.reload_soon();
        }
    }

    /// The engine is told whom it lets in: before the next turn, or behind all that it reads in it.
    fn reload_soon(&mut self) {
        if self.rng.one_in(2) {
            return self.reload();
        }
        if let (Some(principals), Some(host)) = (&self.principals, &mut self.host) {
            note!("credentials behind what is read: {principals:?}");
            host.late_principals = Some(principals.clone());
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        let host = self.host.as_ref();
        host.is_some_and(|it| !it.engine_model.stopping)
    }

    /// The worker that the burst is about, or any other that is connected.
    fn one_of(&mut self, serves: impl Fn(&Worker) -> bool) -> Option<usize> {
        let is_up = |it: &Worker| it.link.connection().is_some() && serves(it);
        let up = self.workers.iter().enumerate().filter(|(_, it)| is_up(it));
        let up: Vec<usize> = up.map(|(at, _)| at).collect();
        let drawn = self.rng.below(up.len().max(1));
        let about = self.focus.map(|it| it % self.workers.len());
        let about = about.filter(|it| up.contains(it));
        about.or_else(|| up.get(drawn).copied())
    }

    /// A worker that is connected does something, or has it done to it.
    fn ask(&mut self, what: impl FnOnce(&mut Worker, &[u64], &mut Context<'_>)) {
        let at = self.one_of(|it| it.stage == Stage::Serving);
        self.ask_this(at, what);
    }

    /// A worker that may drain already ends.
    pub(crate) fn end(&mut self, what: impl FnOnce(&mut Worker, &mut Context<'_>)) {
        let at = self.one_of(|it| matches!(it.stage, Stage::Serving | Stage::Draining));
        self.ask_this(at, |it, _, context| what(it, context));
    }

    fn ask_this(
        &mut self,
        at: Option<usize>,
        what: impl FnOnce(&mut Worker, &[u64], &mut Context<'_>),
    ) {
        let ids = self.host.as_ref().map(Host::worker_ids).unwrap_or_default();
        if let Some(at) = at {
            what(&mut self.workers[at], &ids, &mut context!(self));
        }
    }

    /// One that may do so has a worker sent away.
    fn kick(&mut self) {
        let at = self.one_of(|it| matches!(it.stage, Stage::Serving | Stage::Draining));
        let victim = at.and_then(|at| self.workers[at].link.connection());
        let Some(victim) = victim.map(|it| it.worker) else {
            return;
        };
        let is_first = |it: &Worker| {
            let token = it.credential.as_deref().unwrap_or_default();
            let connection = it.link.connection();
            it.stage == Stage::Serving
                && token.starts_with("first")
                && connection.is_some_and(|it| it.worker != victim)
        };
        let by = self.workers.iter().position(is_first);
        self.ask_this(by, |it, _, context| application::kick(it, victim, context));
    }

    /// One more comes, or one of too many goes.
    fn meet_a_stranger(&mut self) {
        if self.strangers.len() < STRANGERS {
            if self.host.is_some() {
                let has_token = self.config.credentials;
                let stranger = Stranger::come(&self.strangers, has_token, &mut context!(self));
                self.strangers.push(stranger);
            }
        } else {
            let at = self.rng.below(self.strangers.len());
            let mut stranger = self.strangers.swap_remove(at);
            stranger.leave(&mut context!(self));
        }
    }

    /// One comes with the key of another and with other metadata, and registers nothing at first.
    pub(crate) fn take_a_strangers_place(&mut self) {
        let has_token = self.config.credentials;
        let keys = self.strangers.iter().filter_map(|it| it.session.clone());
        let keys: Vec<Vec<u8>> = keys.collect();
        if !keys.is_empty() && self.host.is_some() {
            let key = self.rng.pick(&keys);
            // Two with the same key take it from each other in one turn.
            for _ in 0..=self.rng.below(2) {
                let metadata = self.metadata();
                let stranger = Stranger::come_back(&key, &metadata, has_token, &mut context!(self));
                self.strangers.push(stranger);
            }
        }
    }

    /// A worker loses its connection, of which the engine knows nothing, and comes back at once.
    fn let_one_come_back(&mut self) {
        self.ask(|it, _, context| {
            if let Some(wire) = it.wire.and_then(|it| context.wires.get_mut(&it)) {
                wire.up.cut(usize::MAX, None);
                wire.down.cut(0, Some(context.now));
                wire.is_cut = true;
            }
            it.reconnect(context);
        });
        self.mutes |= self.rng.one_in(2);
    }

    /// A worker takes no more bytes, and is owed some.
    fn squeeze(&mut self) {
        let mut squeezed = None;
        self.ask(|it, _, context| {
            application::register(it, context);
            application::ask_for_stats(it, context);
            if let Some(number) = it.wire
                && let Some(wire) = context.wires.get_mut(&number)
                && wire.down.capacity > 0
                && wire.far != Far::Gone
            {
                squeezed = Some((number, std::mem::take(&mut wire.down.capacity)));
            }
        });
        self.squeezed.extend(squeezed);
    }

    /// The time jumps to the end of the wait for a READY. If the engine awaits none, a worker comes back that owes one.
    fn wait_for_ready(&mut self) {
        let host = self.host.as_ref();
        let next = host.and_then(|it| it.engine_model.unready_at());
        if next.is_some() {
            return self.jump(next);
        }
        for (number, capacity) in std::mem::take(&mut self.muted) {
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.up.capacity = capacity;
            }
        }
        self.take_a_strangers_place();
        self.let_one_come_back();
        self.mutes = true;
    }

    /// Workers that come back get no word through behind their HELLO.
    fn mute(&mut self) {
        for worker in &self.workers {
            if let Some(number) = worker.wire
                && worker.link.connection().is_none()
                && let Some(wire) = self.wires.get_mut(&number)
                && wire.up.capacity > 0
            {
                self.muted
                    .push((number, std::mem::take(&mut wire.up.capacity)));
            }
        }
    }

    /// The time jumps to a deadline of a call.
    fn wait_for_a_call(&mut self) {
        let open = self.oracle.open.iter();
        let deadlines = open.map(|it| self.oracle.attempts[*it].deadline);
        let next = deadlines.filter(|it| *it > self.now).min();
        // Deadlines are met with the next millisecond.
        let next = next.map(|it| it.next_multiple_of(1000));
        if next.is_some_and(|it| it < self.now + AHEAD) {
            self.jump(next);
        } else {
            self.ask(|it, _, context| application::call_in_vain(it, context));
        }
    }

    fn jump(&mut self, to: Option<u64>) {
        if let Some(to) = to.filter(|to| (self.now..self.now + AHEAD).contains(to)) {
            self.now = to;
        }
    }
}
