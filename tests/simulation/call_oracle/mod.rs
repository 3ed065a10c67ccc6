//! The oracle of calls: every call, cast and event that a worker intended, what became of it on its way, and
//! how it may end. An intent is known by the number that its payload begins with; the library may make
//! several attempts at it, over several connections. Knows only what peers and the engine said to each
//! other.

mod attempt;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callboard::protocol::{Code, Executed, Failure};

use crate::coincidences::{Happening, happened};
use crate::journal::{hold, saw};

pub(crate) use attempt::{Attempt, Forbidden};

/// The kind of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Cast,
    Event,
}

/// How an answer or an ending reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Result(Vec<u8>),
    Failure {
        code: String,
        message: String,
        executed: Executed,
        retryable: bool,
        from_function: bool,
    },
}

impl Ending {
    pub(crate) fn of(it: &Failure<'_>) -> Self {
        Self::Failure {
            code: it.code.to_string(),
            message: it.message.to_string(),
            executed: it.executed,
            retryable: it.retryable,
            from_function: it.ext.from_function,
        }
    }

    pub(crate) fn brief(&self) -> &str {
        match self {
            Self::Result(_) => "result",
            Self::Failure { code, .. } => code,
        }
    }

    /// As the engine passes a worker's answer on.
    pub(crate) fn passed_on(mut self) -> Self {
        if let Self::Failure { from_function, .. } = &mut self {
            *from_function = true;
        }
        self
    }
}

/// An INVOKE that the engine wrote.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub token: u64,
    pub id: u64,
    /// Of which attempt it is, if only one of them can have come there then.
    pub attempt: Option<usize>,
    pub answer: Option<Ending>,
}

/// Something wanted.
#[allow(clippy::struct_excessive_bools)] // Independent facts, each with its own reason.
#[derive(Debug)]
pub(crate) struct Intent {
    pub kind: Kind,
    /// The function's name, or the event's.
    pub name: Rc<str>,
    pub payload: Bytes,
    pub headers: Vec<u8>,
    pub wait: bool,
    pub idempotent: bool,
    pub pinned: Option<u64>,
    /// Microseconds.
    pub timeout: u64,
    pub begun: u64,
    /// How often its caller had taken output from the library when it began.
    pub taken: u64,
    /// The engine itself answers.
    pub builtin: bool,
    /// Handlers that ran.
    pub runs: usize,
    /// What they answered.
    pub answers: Vec<Ending>,
    pub attempts: Vec<usize>,
    pub invokes: Vec<Invoked>,
    /// Of an event: the functions that were bound to it when the engine handled it, at any time of that, and whether
    /// all of their providers were meant.
    pub bound: BTreeMap<Rc<str>, bool>,
    /// Of a cast or an event: when the engine handled it, or began to.
    pub heard: Option<u64>,
    /// A cast that its sender may not make.
    pub forbidden: bool,
    /// Casts that the engine wrote: to whom, and for which function.
    pub casts: Vec<(u64, Rc<str>)>,
    /// The caller was told how it ended.
    pub ended: bool,
    /// The caller was told that it did not run.
    pub said_no: bool,
    /// No caller is left to be told.
    pub dropped: bool,
}

#[derive(Debug, Default)]
pub(crate) struct CallOracle {
    pub intents: Vec<Intent>,
    pub attempts: Vec<Attempt>,
    /// Those whose callers wait.
    pub open: BTreeSet<usize>,
    /// Attempts that may occupy a place of a provider although no INVOKE was seen.
    pub unseen: BTreeSet<usize>,
    /// The newest attempt of a user that came over a connection, of those for the same function and the same worker.
    newest: BTreeMap<Queue, usize>,
    /// Parked calls may go out over several turns.
    pub in_slices: bool,
}

/// A connection, and those calls that wait behind each other: for a function, and for the only worker that
/// will do.
type Queue = (u64, Rc<str>, Option<u64>, Rc<str>);

/// The number at the beginning of a payload.
pub(crate) fn number(payload: &[u8]) -> Option<usize> {
    let bytes = payload.get(..8)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes) as usize)
}

impl CallOracle {
    /// Writes an intent down and gives it its payload.
    #[allow(clippy::too_many_arguments)] // An intent has as many parts.
    pub(crate) fn begin(
        &mut self,
        kind: Kind,
        name: &str,
        filler: usize,
        options: (bool, bool, Option<u64>),
        timeout: u64,
        now: u64,
    ) -> usize {
        let number = self.intents.len();
        let mut payload = (number as u64).to_le_bytes().to_vec();
        payload.resize(8 + filler, number as u8);
        let headers = match number % 3 {
            0 => Vec::new(),
            _ => format!("headers of {number}").into_bytes(),
        };
        let (wait, idempotent, pinned) = options;
        self.intents.push(Intent {
            kind,
            name: name.into(),
            payload: Bytes(payload),
            headers,
            wait,
            idempotent,
            pinned,
            timeout,
            begun: now,
            taken: 0,
            builtin: false,
            runs: 0,
            answers: Vec::new(),
            attempts: Vec::new(),
            invokes: Vec::new(),
            bound: BTreeMap::new(),
            heard: None,
            forbidden: false,
            casts: Vec::new(),
            ended: false,
            said_no: false,
            dropped: false,
        });
        number
    }

    pub(crate) fn attempt(&mut self, attempt: Attempt) -> usize {
        let index = self.attempts.len();
        self.intents[attempt.intent].attempts.push(index);
        self.attempts.push(attempt);
        self.open.insert(index);
        self.unseen.insert(index);
        index
    }

    /// Its caller gets no ending any more, or has it. No provider ran it, if `refused`.
    pub(crate) fn close(&mut self, attempt: usize, tick: u64, refused: bool) {
        let it = &mut self.attempts[attempt];
        it.over.get_or_insert(tick);
        it.refused |= refused;
        self.open.remove(&attempt);
        if refused {
            self.unseen.remove(&attempt);
        }
    }

    /// The engine wrote an INVOKE to a worker, whose connection had nothing left to be written at `clean`.
    /// `provided` says whether the worker could be asked since a tick.
    #[allow(clippy::too_many_arguments)] // So much stands in it.
    pub(crate) fn invoked(
        &mut self,
        (token, worker, tick, clean): (u64, u64, u64, u64),
        id: u64,
        function: &str,
        payload: &[u8],
        (caller, caller_name, headers): (u64, &str, &[u8]),
        is_over: impl Fn(u64) -> bool,
        provided: impl Fn(u64, u64) -> bool,
    ) -> usize {
        let known = number(payload).filter(|number| *number < self.intents.len());
        hold!(
            known.is_some(),
            "a call is delivered as it was made",
            "INVOKE {id} is nobody's"
        );
        let number = known.unwrap_or_default();
        let intent = &self.intents[number];
        hold!(
            intent.kind == Kind::Call
                && *intent.name == *function
                && intent.payload.0 == payload
                && intent.headers == headers,
            "a call is delivered as it was made",
            "call {number} came as {function}"
        );
        hold!(
            intent.pinned.is_none_or(|it| it == worker),
            "a pinned call goes to its worker or to nobody",
            "call {number} for {:?} went to worker {worker}",
            intent.pinned
        );
        // Of the same engine: the next one counts from the beginning.
        let same = |it: &&Invoked| it.id == id && it.token >> 48 == token >> 48;
        if intent.idempotent {
            for other in intent.invokes.iter().filter(same) {
                hold!(
                    other.token != token,
                    "a call comes once over a connection",
                    "call {number}, INVOKE {id}, came twice"
                );
                hold!(
                    is_over(other.token) || is_over(token) || other.answer.is_some(),
                    "a call is run by one provider at a time",
                    "call {number}, INVOKE {id:x}, went to {:x} and {token:x}",
                    other.token
                );
            }
            if intent.invokes.iter().any(|it| same(&it)) {
                saw("an idempotent call was given to the next provider");
            }
        } else {
            hold!(
                intent.invokes.is_empty(),
                "what is not idempotent runs at most once",
                "call {number} was delivered a second time"
            );
        }
        let fits = |index: &&usize| {
            let it = &self.attempts[**index];
            let until = it.over.unwrap_or(tick);
            it.worker == caller
                && *it.caller == *caller_name
                && it.forbidden != Forbidden::Certainly
                && provided(it.tick, until)
        };
        // What ended before all was written that was due there would have come before that.
        let can_come = |index: &&usize| {
            let other = |it: &Invoked| it.attempt == Some(**index) && !same(&it);
            self.attempts[**index].over.is_none_or(|over| over > clean)
                && !intent.invokes.iter().any(other)
        };
        let known = intent.invokes.iter().filter(same).find_map(|it| it.attempt);
        let able = intent.attempts.iter().filter(fits);
        let able: Vec<usize> = match known {
            Some(known) => able.filter(|it| **it == known).copied().collect(),
            None => able.filter(can_come).copied().collect(),
        };
        hold!(
            !able.is_empty(),
            "a removed provider is never called",
            "call {number} of {caller_name} ({caller}) to {function} was given to worker {worker}, \
             who did not provide it at any time since it was made; attempts: {:?}",
            intent
                .attempts
                .iter()
                .map(|it| &self.attempts[*it])
                .collect::<Vec<_>>()
        );
        let attempt = (able.len() == 1).then(|| able[0]);
        if let Some(attempt) = attempt {
            self.assert_first_come_first_served(token, attempt);
        }
        let intent = &self.intents[number];
        // What goes to one who is over already may be at the next one, too.
        let stays = intent.idempotent && is_over(token);
        for index in able {
            if self.attempts[index].nobody {
                saw("a call that waited for a provider was served");
            }
            if attempt.is_none() {
                self.attempts[index].doubtful = true;
            } else if !stays {
                self.unseen.remove(&index);
            }
        }
        self.intents[number].invokes.push(Invoked {
            token,
            id,
            attempt,
            answer: None,
        });
        number
    }

    /// What one user has waiting for the same comes in the order in which it was made.
    fn assert_first_come_first_served(&mut self, token: u64, attempt: usize) {
        let intent = &self.intents[self.attempts[attempt].intent];
        if self.in_slices && !intent.wait {
            // It overtakes those that are to go out in a later turn.
            return;
        }
        let user = self.attempts[attempt].user.clone();
        let queue = (token, intent.name.clone(), intent.pinned, user);
        let newest = self.newest.entry(queue).or_insert(attempt);
        // What was at another provider before waits from then on.
        hold!(
            intent.idempotent || *newest <= attempt,
            "first come, first served",
            "{intent:?} was made before {:?}, and came behind it",
            self.attempts[*newest]
        );
        *newest = attempt.max(*newest);
    }

    /// The engine wrote a call's ending to its caller.
    pub(crate) fn told(
        &mut self,
        index: usize,
        ending: &Ending,
        (tick, now): (u64, u64),
        stopping: bool,
        somebody_left_since: impl Fn(u64) -> bool,
    ) {
        let attempt = &self.attempts[index];
        let (number, intent) = (attempt.intent, &self.intents[attempt.intent]);
        let Ending::Failure {
            code,
            executed,
            retryable,
            from_function: false,
            ..
        } = ending
        else {
            let answered = intent
                .invokes
                .iter()
                .any(|it| it.answer.as_ref() == Some(ending));
            hold!(
                answered,
                "a result answers the call that it belongs to",
                "call {number} ended with {ending:?}, which nobody answered to it"
            );
            saw(match ending {
                Ending::Result(_) => "a call had its result",
                Ending::Failure { .. } => "a call had its function's own error",
            });
            self.close(index, tick, false);
            return;
        };
        let maybe = *executed == Executed::Maybe;
        let known = Code::parse(code);
        hold!(
            known.is_some_and(|it| it.retryable() == *retryable),
            "an error is one of the documented ones",
            "{ending:?}"
        );
        let fine = match code.as_str() {
            "deadline_exceeded" => now >= attempt.deadline,
            "cancelled" => attempt.cancelled,
            "provider_gone" => {
                // With little room to wait in, not all can.
                let waits =
                    intent.idempotent && intent.wait && !attempt.may_be_refused && !stopping;
                maybe && !waits && somebody_left_since(attempt.tick)
            }
            "no_such_function" => !maybe && !intent.wait && attempt.nobody,
            "overloaded" => attempt.may_be_refused,
            "draining" => stopping,
            "forbidden" => attempt.forbidden != Forbidden::No,
            _ => false,
        };
        let fine = fine && (attempt.forbidden != Forbidden::Certainly || code == "forbidden");
        hold!(
            fine,
            "a call ends as it may",
            "call {number} {intent:?}, {attempt:?}, ended with {ending:?}"
        );
        hold!(
            maybe || intent.invokes.is_empty() || intent.attempts.len() > 1,
            "what is said not to have run did not run",
            "call {number} ended with {ending:?} after {:?}",
            intent.invokes
        );
        match code.as_str() {
            "deadline_exceeded" => {
                saw("a call's deadline passed");
                happened(Happening::Deadline, Some(self.attempts[index].token));
            }
            "cancelled" => saw("a call was cancelled"),
            "provider_gone" => saw("a provider went before it answered"),
            "no_such_function" => saw("a call found nobody"),
            "overloaded" if maybe => saw("a caller did not read its answers"),
            "overloaded" => saw("a call was refused for want of room"),
            "forbidden" => saw("a call's right was lost while it waited"),
            _ => saw("a draining engine ended a call"),
        }
        self.close(index, tick, !maybe);
    }

    /// The provider of an INVOKE is gone: the call may be at the next one, before anybody sees it there.
    pub(crate) fn unsee(&mut self, intent: usize, token: u64, id: u64) {
        let intent = &self.intents[intent];
        if !intent.idempotent {
            return;
        }
        let is_it = |it: &&Invoked| it.token == token && it.id == id;
        let attempt = intent.invokes.iter().find(is_it).and_then(|it| it.attempt);
        let of_it = |index: &&usize| attempt.is_none_or(|it| it == **index);
        let open = intent.attempts.iter().filter(of_it);
        let open = open.filter(|it| self.attempts[**it].over.is_none());
        self.unseen.extend(open);
    }

    /// How many calls may be at this worker unseen: those that are open, and those that ended after its
    /// connection had nothing left to be written, at `clean`.
    pub(crate) fn may_be_at(&self, function: impl Fn(&str) -> bool, clean: u64) -> usize {
        let may = |index: &&usize| {
            let it = &self.attempts[**index];
            it.over.is_none_or(|over| over > clean) && function(&self.intents[it.intent].name)
        };
        self.unseen.iter().filter(may).count()
    }

    /// When nothing is left to be written: no call waits while a provider of its function has room.
    pub(crate) fn assert_no_call_waits_in_vain(
        &self,
        now: u64,
        room: impl Fn(&Attempt, &Intent) -> bool,
    ) {
        for index in &self.unseen {
            let attempt = &self.attempts[*index];
            let intent = &self.intents[attempt.intent];
            let waits = attempt.over.is_none()
                && !attempt.cancelled
                && !attempt.doubtful
                && now < attempt.deadline;
            hold!(
                !waits || !room(attempt, intent),
                "no call waits while somebody has room for it",
                "call {} {intent:?}, {attempt:?}",
                attempt.intent
            );
        }
    }

    /// The engine is gone, and all that it knew.
    pub(crate) fn engine_gone(&mut self, tick: u64) {
        for attempt in &mut self.attempts {
            attempt.over.get_or_insert(tick);
        }
        self.open.clear();
        self.unseen.clear();
    }

    /// The caller's library says how an intent ended.
    pub(crate) fn ended(&mut self, number: usize, executed: Option<Executed>, by_function: bool) {
        let intent = &mut self.intents[number];
        hold!(
            !intent.ended,
            "a call ends exactly once",
            "call {number} ended twice"
        );
        intent.ended = true;
        if executed == Some(Executed::No) && !by_function {
            intent.said_no = true;
            hold!(
                intent.runs == 0,
                "what is said not to have run did not run",
                "call {number} ran {} times",
                intent.runs
            );
        }
    }

    /// A handler runs.
    pub(crate) fn ran(&mut self, number: usize) -> usize {
        let intent = &mut self.intents[number];
        intent.runs += 1;
        hold!(
            intent.runs == 1 || intent.idempotent,
            "what is not idempotent runs at most once",
            "call {number} ran {} times",
            intent.runs
        );
        hold!(
            !intent.said_no,
            "what is said not to have run did not run",
            "call {number} runs although its caller was told that it does not"
        );
        intent.runs
    }

    /// The engine wrote a cast.
    /// `may_know`: whether the receiver may be told of this event.
    pub(crate) fn cast(
        &mut self,
        token: u64,
        function: &Rc<str>,
        event: &str,
        payload: &[u8],
        may_know: impl Fn(&str, bool) -> bool,
    ) {
        let Some(number) = number(payload).filter(|it| *it < self.intents.len()) else {
            panic!("a cast is nobody's");
        };
        let intent = &mut self.intents[number];
        hold!(
            intent.payload.0 == payload
                && match intent.kind {
                    Kind::Call => false,
                    Kind::Cast =>
                        *intent.name == **function && event.is_empty() && !intent.forbidden,
                    Kind::Event => {
                        let told = !event.is_empty();
                        (!told || *intent.name == *event)
                            && may_know(&intent.name, told)
                            && intent.bound.contains_key(function)
                    }
                },
            "a cast is delivered as it was made",
            "{number} came as a cast of {function} for {event}: {intent:?}"
        );
        let to_all = intent.bound.get(function).is_some_and(|all| *all);
        let twice = intent
            .casts
            .iter()
            .any(|(it, name)| name == function && (*it == token || !to_all));
        hold!(
            !twice,
            "a cast is delivered once",
            "{number} came twice to {function} at {token:x}: {intent:?}"
        );
        intent.casts.push((token, function.clone()));
        saw(match (intent.kind, to_all) {
            (Kind::Cast, _) => "a cast was delivered",
            (_, false) => "an event was delivered",
            (_, true) => "an event was delivered to all",
        });
    }

    /// When nothing is under way any more: every call has ended for each caller that is still connected.
    pub(crate) fn assert_all_ended(&self) {
        for (number, intent) in self.intents.iter().enumerate() {
            let owed = intent.kind == Kind::Call && !intent.dropped;
            hold!(
                intent.ended || !owed,
                "a call ends exactly once",
                "call {number} never ended: {intent:?}"
            );
        }
    }
}

/// Bytes that a failure need not show.
#[derive(PartialEq, Eq)]
pub(crate) struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests;
