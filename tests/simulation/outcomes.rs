//! How a worker's orders and calls may end, going by what its application knows. It changes nothing but the
//! oracle, and what the application takes for granted.

use callboard::protocol::Executed;
use callboard::worker::link::Answer;
use callboard::worker::{CallError, Registered, RequestError, Standing};

use crate::call_oracle::{Ending, Kind};
use crate::context::Context;
use crate::journal::{hold, saw};
use crate::network::Far;
use crate::worker::{Order, Stage, Worker};

impl Worker {
    pub(crate) fn end_order(&mut self, order: &mut Order, end: &Result<Registered, RequestError>) {
        let code = match end {
            Ok(_) => "",
            Err(RequestError::Ended(_)) => return,
            Err(error) => error.code(),
        };
        let fine = match (&mut *order, code) {
            (Order::Register(names), "") => {
                self.wanted.extend(names.drain(..));
                true
            }
            (Order::Unregister(names), "") => {
                self.wanted.retain(|name| !names.contains(name));
                true
            }
            (Order::Bind(ties), "") => {
                self.bound.extend(ties.drain(..));
                true
            }
            (Order::Unbind(ties), "") => {
                self.bound.retain(|tie| !ties.contains(tie));
                true
            }
            (Order::Register(names), "exclusive") => names.iter().any(|it| it.starts_with('x')),
            (Order::Register(names), "forbidden") => {
                let refused = names.drain(..).map(|name| (name, self.connections));
                self.refused.extend(refused);
                self.credential.is_some()
            }
            (Order::Bind(_), "forbidden") => self.credential.is_some(),
            // Or with a right.
            (Order::Unregister(_) | Order::Unbind(_), "not_registered")
                if self.credential.is_some() =>
            {
                true
            }
            (Order::Register(_), "too_many_functions") => {
                saw("a worker had too many functions");
                true
            }
            // All that it had has left with its DRAIN.
            (Order::Unregister(_) | Order::Unbind(_), "not_registered")
                if self.link.is_draining() =>
            {
                true
            }
            (Order::Unregister(names), "not_registered") => {
                names.iter().any(|name| !self.wanted.contains(name)) || self.is_refused(names)
            }
            (Order::Unbind(ties), "not_registered") => {
                ties.iter().any(|it| !self.bound.contains(it))
            }
            _ => false,
        };
        hold!(
            fine,
            "an order ends as it may",
            "{}: {order:?}: {end:?}",
            self.name
        );
    }

    fn is_refused(&self, names: &[String]) -> bool {
        let offers = self.link.offers();
        let refused = |it: &callboard::worker::Offer| matches!(it.standing, Standing::Refused(_));
        offers
            .iter()
            .any(|it| refused(it) && names.iter().any(|name| name == it.function.name()))
    }

    pub(crate) fn end_call(
        &mut self,
        intent: usize,
        end: &Result<Answer, CallError>,
        context: &mut Context<'_>,
    ) {
        let it = &context.oracle.intents[intent];
        let waited = context.now - it.begun;
        // Milliseconds are cut off on the way.
        let is_late = waited + 2_000 >= it.timeout;
        let (fine, executed, by_function) = match end {
            Ok(answer) if it.kind == Kind::Event => (answer.payload.is_empty(), None, false),
            Ok(_) if it.builtin => (true, None, false),
            Ok(answer) => (
                it.answers.contains(&Ending::Result(answer.payload.clone())),
                None,
                false,
            ),
            Err(CallError::Function(fault)) => {
                let known = it.answers.contains(&own(fault.code(), fault.message()));
                (known, Some(fault.executed()), true)
            }
            Err(CallError::Timeout { executed, .. }) => {
                saw("the library gave a call up");
                // Of one that could be made, the engine tells the end.
                let was_kept = || {
                    self.up_since.is_none_or(|at| at >= it.begun + it.timeout)
                        || it.timeout == 0
                        || self.may_keep_calls(context)
                };
                let fine = waited >= it.timeout && (*executed == Executed::Maybe || was_kept());
                (fine, Some(*executed), false)
            }
            Err(CallError::ConnectionLost { executed }) => {
                saw("a call was lost with its connection");
                let repeatable = it.idempotent && it.kind == Kind::Call;
                // What was never written is made again, or ends in time.
                let was_written = self.taken > it.taken;
                (
                    !repeatable && was_written && *executed == Executed::Maybe,
                    Some(*executed),
                    false,
                )
            }
            Err(CallError::Ended { executed, .. }) => {
                (self.stage == Stage::Over, Some(*executed), false)
            }
            Err(CallError::Engine(refusal)) => {
                let fine = match &*refusal.code {
                    "deadline_exceeded" => is_late,
                    "no_such_function" => !it.wait,
                    "provider_gone" => refusal.executed == Executed::Maybe,
                    "overloaded" | "draining" => true,
                    "forbidden" => self.credential.is_some(),
                    _ => false,
                };
                (fine, Some(refusal.executed), false)
            }
            Err(_) => (false, None, false),
        };
        hold!(
            fine,
            "a call ends as it may",
            "{}: call {intent} {it:?} ended after {waited} us with {end:?}",
            self.name
        );
        context.oracle.ended(intent, executed, by_function);
    }

    /// What it wrote all of, over a connection where WELCOME has come, has every call in it.
    pub(crate) fn assert_calls_sent(&self, context: &Context<'_>) {
        if self.may_keep_calls(context) {
            return;
        }
        for number in self.calls.values() {
            hold!(
                self.said.has(*number) || context.oracle.intents[*number].builtin,
                "a call is made as soon as there is an engine to make it to",
                "{} keeps call {number}: {:?}",
                self.name,
                context.oracle.intents[*number]
            );
        }
    }

    /// It has no connection over which a call could be made, or cannot write to it, or the engine is about to stop.
    pub(crate) fn may_keep_calls(&self, context: &Context<'_>) -> bool {
        let wire = self.wire.and_then(|it| context.wires.get(&it));
        self.up_since.is_none()
            || wire.is_none_or(|it| it.far == Far::Gone)
            || context.engine_stops
            || !self.out.is_empty()
            || self.link.output_bytes() > 0
    }
}

/// A function's own failure, as it comes to its caller; whether it ran is left open on the way.
pub(crate) fn own(code: &str, message: &str) -> Ending {
    Ending::Failure {
        code: code.to_owned(),
        message: message.to_owned(),
        executed: Executed::Maybe,
        retryable: false,
        from_function: true,
    }
}
