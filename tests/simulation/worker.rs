//! A worker: the library's own state machine, with a thin shell around it as the library's real one, over a
//! wire of the virtual network, and what its application wants of it. What the library says is held
//! against the model; what its application did is recorded with the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use callboard::worker::link::{Identity, Invocation, Link, Reply, Ticket, Work};
use callboard::worker::{End as Over, Fault, Loss, Notice};

use crate::call_oracle::{Ending, number};
use crate::context::Context;
use crate::digest::Said;
use crate::filter::Filter;
use crate::journal::{self, hold, note, saw};
use crate::network::Far;
use crate::outcomes::own;
use crate::replica::Replica;

/// How much later than the engine the library may give a call up, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// How far a worker's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    /// It said DRAIN.
    Draining,
    /// It said GOODBYE.
    Leaving,
    Over,
}

/// What an order was about.
#[derive(Debug)]
pub(crate) enum Order {
    Register(Vec<String>),
    Unregister(Vec<String>),
    Bind(Vec<Tied>),
    Unbind(Vec<Tied>),
}

/// Event, function and id.
pub(crate) type Tied = (String, String, String);

/// A handler that runs.
#[derive(Debug)]
pub(crate) struct Job {
    reply: Reply,
    invocation: Invocation,
    /// Over which connection it came.
    connection: u64,
    intent: usize,
    run: usize,
    pub until: u64,
}

pub(crate) struct Worker {
    pub name: String,
    /// What it watches, whatever of it it may see.
    pub filter: Filter,
    /// By which it is let in; none where that takes none.
    pub credential: Option<String>,
    pub capacity: u64,
    pub link: Link,
    pub wire: Option<u64>,
    pub stage: Stage,
    /// It does not read before.
    pub stalled_until: u64,
    pub orders: Vec<(Ticket, Order)>,
    pub wanted: BTreeSet<String>,
    pub bound: BTreeSet<Tied>,
    /// What was refused for want of a right, and over which connection. An order that was in doubt may have had its
    /// effect over the connection before: what of it may stay is on the board until READY.
    pub refused: BTreeMap<String, u64>,
    pub calls: BTreeMap<Ticket, usize>,
    pub dial_at: u64,
    /// How many connections it made.
    pub connections: u64,
    /// Bytes read over the present one.
    read: u64,
    /// When its newest connection arrives: they do so in their order.
    arrives: u64,
    /// Taken from the link, and not written.
    pub out: Vec<u8>,
    /// Written over the present connection.
    pub said: Said,
    /// How often something was taken from it.
    pub taken: u64,
    /// When the present connection was welcomed.
    pub up_since: Option<u64>,
    /// Behind what it writes next, something follows that is no frame.
    pub spoils: bool,
    /// That was written over the present connection.
    pub spoiled: bool,
    replica: Replica,
    pub jobs: Vec<Job>,
    /// Epoch and revision of the view that was compared last, and how much it held.
    pub compared: (u64, u64, bool, usize),
    /// So long a board may be kept that an engine before had.
    pub settles_at: u64,
}

impl Worker {
    pub(crate) fn new(identity: Identity, filter: Filter, context: &mut Context<'_>) -> Self {
        let (name, capacity) = (identity.name.clone(), identity.capacity.unwrap_or(1000));
        Self {
            name,
            filter,
            credential: None,
            capacity,
            link: Link::new(identity, context.rng.seed(), context.instant()),
            wire: None,
            stage: Stage::Serving,
            stalled_until: 0,
            orders: Vec::new(),
            wanted: BTreeSet::new(),
            bound: BTreeSet::new(),
            refused: BTreeMap::new(),
            calls: BTreeMap::new(),
            dial_at: context.now,
            connections: 0,
            read: 0,
            arrives: 0,
            out: Vec::new(),
            said: Said::default(),
            taken: 0,
            up_since: None,
            spoils: false,
            spoiled: false,
            replica: Replica::default(),
            jobs: Vec::new(),
            compared: (0, 0, false, 0),
            settles_at: 0,
        }
    }

    /// It is let in by this token.
    pub(crate) fn present(&mut self, token: String) {
        self.link.set_token(Some(token.as_str().into()));
        self.credential = Some(token);
    }

    /// It is there, and its board is up to date.
    pub(crate) fn is_live(&self) -> bool {
        self.link.connection().is_some() && self.link.view().is_live()
    }

    /// It has nothing left to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.orders.is_empty()
            && self.calls.is_empty()
            && self.jobs.is_empty()
            && self.out.is_empty()
    }

    /// What its view shows by the rights that the engine made it by, and which of those that held over this
    /// connection they are.
    pub(crate) fn sees(&self, context: &Context<'_>) -> (usize, Filter) {
        let filters = self.wire.and_then(|wire| context.filters.get(&wire));
        let known = filters.into_iter().flatten().enumerate();
        let known = known.take_while(|(_, (behind, _))| *behind <= self.read);
        known.last().map_or_else(
            || (0, self.filter.clone()),
            |(at, (_, filter))| (at, filter.clone()),
        )
    }

    /// One turn of its threads.
    pub(crate) fn turn(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Over {
            return;
        }
        if self.wire.is_none() && self.dial_at <= context.now {
            self.dial(context);
        }
        self.read(context);
        let due = self.link.next_deadline();
        if due.is_some_and(|at| at <= context.instant())
            && let Err(loss) = self.link.handle_time(context.instant())
        {
            self.lose(&loss, context);
        }
        self.listen(context);
        self.work_on(context);
        self.mind_calls(context);
        if self.stage == Stage::Draining
            && self.jobs.is_empty()
            && self.link.in_flight() == (0, false)
        {
            self.leave(context);
        }
        #[cfg(debug_assertions)]
        self.link.check_books();
        self.write(context);
        if self.spoils {
            self.spoil(context);
        }
        self.assert_calls_sent(context);
    }

    /// Says GOODBYE.
    pub(crate) fn leave(&mut self, context: &mut Context<'_>) {
        note!("{} leaves", self.name);
        self.stage = Stage::Leaving;
        self.link.leave(context.instant());
        if self.wire.is_none() {
            self.finish(Over::Closed, context);
        }
    }

    fn finish(&mut self, end: Over, context: &mut Context<'_>) {
        self.link.finish(end, context.instant());
        self.stage = Stage::Over;
        self.listen(context);
        hold!(
            self.orders.is_empty() && self.calls.is_empty(),
            "a call ends exactly once",
            "{} is over and {:?} {:?} never ended",
            self.name,
            self.orders,
            self.calls
        );
    }

    pub(crate) fn hang_up(&mut self, context: &mut Context<'_>) {
        self.out.clear();
        if let Some(wire) = self.wire.take().and_then(|it| context.wires.get_mut(&it)) {
            wire.near_gone = true;
            wire.up
                .close(context.now + context.rng.between(wire.delay.0..wire.delay.1 + 1));
            wire.down.cut(0, None);
        }
    }

    fn dial(&mut self, context: &mut Context<'_>) {
        if !context.engine_is_up {
            self.dial_at = context.now + context.rng.between(20_000..400_000);
            return;
        }
        let number = context.dial(self.arrives);
        if let Far::Dialling(at) = context.wires[&number].far {
            self.arrives = at;
        }
        self.connections += 1;
        self.read = 0;
        self.said = Said::default();
        (self.spoils, self.spoiled) = (false, false);
        self.wire = Some(number);
        let address = "engine:1".parse().expect("an address");
        self.link.open(address, None, context.instant());
    }

    fn read(&mut self, context: &mut Context<'_>) {
        if self.stalled_until > context.now {
            return;
        }
        let chunks = if context.quiescent || context.at_once {
            64
        } else {
            context.rng.below(4)
        };
        for _ in 0..chunks {
            let Some(wire) = self.wire.and_then(|it| context.wires.get_mut(&it)) else {
                return;
            };
            let most = if context.quiescent || context.at_once {
                1 << 16
            } else {
                context.rng.bytes(&[1, 5, 200, 1 << 16])
            };
            let bytes = wire.down.read(context.now, most);
            if bytes.is_empty() {
                if wire.down.ended(context.now).is_some() {
                    let loss = self.link.handle_end(None, context.instant());
                    self.lose(&loss, context);
                }
                return;
            }
            self.read += bytes.len() as u64;
            let was_up = self.link.connection().is_some();
            let result = self.link.handle_bytes(&bytes, context.instant());
            if let Some(connection) = self.link.connection().filter(|_| !was_up) {
                let until = context.now + connection.settling.as_micros() as u64;
                self.settles_at = self.settles_at.max(until);
                self.up_since = Some(context.now);
            }
            match result {
                Ok(()) => self.assert_view(context),
                Err(loss) => self.lose(&loss, context),
            }
        }
    }

    /// The link has ended its connection.
    pub(crate) fn lose(&mut self, loss: &Loss, context: &mut Context<'_>) {
        note!("{} lost its connection: {loss}", self.name);
        let was_cut = self
            .wire
            .and_then(|it| context.wires.get(&it))
            .is_some_and(|it| it.is_cut || it.far == Far::Gone);
        let pause = match loss {
            Loss::Closed | Loss::ClosedBeforeWelcome | Loss::NoWelcome => 0,
            Loss::Silent(_) => {
                if was_cut {
                    saw("a worker found a half-open connection");
                }
                0
            }
            Loss::Goodbye { retry_after, .. } => {
                let code = loss.code().unwrap_or_default();
                let known = [
                    "silent",
                    "too_slow",
                    "frame_timeout",
                    "hello_timeout",
                    "shutting_down",
                    "too_many_connections",
                    "kicked",
                ];
                let is_known = known.contains(&code)
                    || code == "protocol_error" && self.spoiled
                    || code == "unauthorized" && self.credential.is_some();
                hold!(
                    is_known,
                    "who keeps the rules is not sent away",
                    "{} was: {loss}",
                    self.name
                );
                retry_after.map_or(0, |it| it.as_micros() as u64)
            }
            _ => panic!(
                "PROMISE BROKEN: worker and engine understand each other ({}): {}: {loss}",
                journal::moment(),
                self.name
            ),
        };
        self.hang_up(context);
        self.up_since = None;
        let jitter = if context.rng.one_in(5) {
            2_000_000
        } else {
            50_000
        };
        self.dial_at = context.now + pause + context.rng.between(0..jitter);
        self.listen(context);
        if self.stage == Stage::Leaving {
            self.finish(Over::Closed, context);
        } else if let Loss::Goodbye { refusal, .. } = loss
            && &*refusal.code == "kicked"
        {
            self.finish(Over::Kicked(refusal.clone()), context);
        }
    }

    /// Takes what came of it all: work first, since it came before what ends orders about it.
    fn listen(&mut self, context: &mut Context<'_>) {
        for work in self.link.take_work() {
            self.begin_work(work, context);
        }
        let notices = self.link.take_notices();
        let news = !notices.is_empty();
        for notice in notices {
            // It may have been lost again with the same bytes.
            if let Notice::Connected(connection) = &notice {
                let until = context.now + connection.settling.as_micros() as u64;
                self.settles_at = self.settles_at.max(until);
            }
            self.replica.hear(notice);
        }
        if news {
            self.replica.assert_adds_up_to(&self.link, &self.name);
        }
        let mut orders = std::mem::take(&mut self.orders);
        orders.retain_mut(|(ticket, order)| match self.link.take_end(*ticket) {
            None => true,
            Some(end) => {
                self.end_order(order, &end);
                false
            }
        });
        self.orders.splice(0..0, orders);
        for (ticket, end) in self.link.take_ended_calls() {
            let intent = self.calls.remove(&ticket);
            hold!(
                intent.is_some(),
                "a call ends exactly once",
                "{}: {ticket:?} ended twice",
                self.name
            );
            self.end_call(intent.unwrap_or_default(), &end, context);
        }
    }

    /// Whether it may be asked to run this, going by what its application was told.
    fn provides(&self, function: &str) -> bool {
        let pending = |order: &(Ticket, Order)| match &order.1 {
            Order::Register(names) => names.iter().any(|it| it == function),
            _ => false,
        };
        self.wanted.contains(function) || self.orders.iter().any(pending)
    }

    fn begin_work(&mut self, work: Work, context: &mut Context<'_>) {
        let function = &*work.invocation.function;
        let provides = self.provides(function);
        hold!(
            provides || self.refused.get(function) == Some(&self.connections),
            "a removed provider is never called",
            "{} is asked to run {function}, which it unregistered",
            self.name
        );
        let intent = number(&work.payload).expect("every call is in the oracle");
        let Some(reply) = work.reply else {
            saw("a cast was run");
            return;
        };
        if !provides || context.rng.one_in(30) {
            // As the shell does when the handler has just gone.
            saw("a call met a worker without a handler");
            context.oracle.intents[intent]
                .answers
                .push(own("no_such_function", "this worker does not provide it"));
            return self.link.answer_unserved(reply, false);
        }
        let run = context.oracle.ran(intent);
        let takes = match context.rng.below(8) {
            0..=3 => 0,
            4..=6 => context.rng.between(0..200_000),
            _ => context.rng.between(0..3_000_000),
        };
        let takes = if context.at_once { 3_000_000 } else { takes };
        let takes = if context.quiescent { 0 } else { takes };
        self.jobs.push(Job {
            reply,
            invocation: work.invocation,
            connection: self.connections,
            intent,
            run,
            until: context.now + takes,
        });
    }

    /// Handlers come to their end.
    fn work_on(&mut self, context: &mut Context<'_>) {
        let jobs = std::mem::take(&mut self.jobs);
        for job in jobs {
            let stops = job.invocation.is_cancelled() && context.rng.one_in(2);
            if job.until > context.now && !stops && !context.quiescent {
                self.jobs.push(job);
                continue;
            }
            let message = format!("{} run {}", job.intent, job.run);
            let (result, ending) = if context.rng.one_in(5) {
                (
                    Err(Fault::new("its_own", &*message)),
                    own("its_own", &message),
                )
            } else {
                let mut payload = message.into_bytes();
                payload.resize(payload.len() + context.rng.pick(&[0, 0, 50, 2_500]), b'.');
                (Ok(payload.clone()), Ending::Result(payload))
            };
            context.oracle.intents[job.intent].answers.push(ending);
            let before = self.link.output_bytes();
            self.link.answer(job.reply, result);
            hold!(
                job.connection == self.connections || self.link.output_bytes() == before,
                "an answer goes out where its INVOKE came, or not at all",
                "{} answers call {} over another connection",
                self.name,
                job.intent
            );
        }
    }

    /// Gives up calls whose time is over, as those do who wait for them.
    fn mind_calls(&mut self, context: &mut Context<'_>) {
        let now = context.instant();
        let tickets: Vec<Ticket> = self.calls.keys().copied().collect();
        for ticket in tickets {
            let intent = &context.oracle.intents[self.calls[&ticket]];
            let last =
                context.start + Duration::from_micros(intent.begun + intent.timeout + PATIENCE);
            let until = self.link.patience(ticket);
            hold!(
                until.is_some_and(|until| until <= last),
                "no call hangs",
                "{}: call {} waits until {until:?}",
                self.name,
                self.calls[&ticket]
            );
            if until.is_some_and(|until| until <= now) {
                self.link.expire_call(ticket, now);
            }
        }
        self.listen(context);
    }

    pub(crate) fn write(&mut self, context: &mut Context<'_>) {
        let number = self.wire.unwrap_or_default();
        let Some(wire) = self.wire.and_then(|it| context.wires.get_mut(&it)) else {
            // The shell's writer has nowhere to write to.
            while self.link.take_output(&mut self.out) {
                self.out.clear();
            }
            return;
        };
        let arrives = context.now + context.rng.between(wire.delay.0..wire.delay.1 + 1);
        while wire.up.room() > 0 {
            if self.out.is_empty() {
                if !self.link.take_output(&mut self.out) {
                    return;
                }
                self.taken += 1;
            }
            let n = wire.up.room().min(self.out.len());
            let n = if context.quiescent || context.at_once || !context.rng.one_in(4) {
                n
            } else {
                context.rng.part_of(n)
            };
            wire.up.write(&self.out[..n], arrives);
            self.said.hear(number, &self.out[..n]);
            self.out.drain(..n);
        }
    }

    /// When it has something to do by itself.
    pub(crate) fn next(&self, scene_now: u64, start: Instant) -> Option<u64> {
        if self.stage == Stage::Over {
            return None;
        }
        let micros = |at: Instant| at.saturating_duration_since(start).as_micros() as u64 + 1;
        let link = self.link.next_deadline().map(micros);
        let dial = self.wire.is_none().then_some(self.dial_at);
        let calls = self
            .calls
            .keys()
            .filter_map(|it| self.link.patience(*it))
            .map(micros);
        let times = link
            .into_iter()
            .chain(dial)
            .chain(calls)
            .chain([self.stalled_until]);
        times.filter(|at| *at > scene_now).min()
    }
}
