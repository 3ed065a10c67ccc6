//! The incoming calls of the current connection that are not answered yet, and the work for handlers. Does not know
//! what functions do.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deadline::deadline_from;
use super::fault::Fault;
use super::invocation::{Cancellation, Invocation};
use super::requests::Requests;
use crate::protocol::{Cast, Code, Invoke};

/// Work for a handler.
#[derive(Debug)]
pub struct Work {
    /// The function called, and its caller.
    pub invocation: Invocation,
    /// The arguments as bytes.
    pub payload: Vec<u8>,
    /// Identifies the call to answer; `None` for a cast.
    pub reply: Option<Reply>,
}

/// Identifies an incoming call, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Number of the connection. An answer on another connection is discarded.
    connection: u64,
    id: u64,
}

#[derive(Debug, Default)]
pub(super) struct Serving {
    connection: u64,
    open: HashMap<u64, Arc<Cancellation>>,
    work: Vec<Work>,
}

impl Serving {
    /// INVOKE arrived.
    pub(super) fn invoked(
        &mut self,
        invoke: &Invoke<'_>,
        capacity: u64,
        now: Instant,
        requests: &mut Requests,
    ) {
        if self.open.len() as u64 >= capacity {
            let message = format!("this worker already has {capacity} calls in flight");
            let fault = Fault::new(Code::Overloaded.as_str(), message).retry_later();
            return requests.answer(invoke.id, Err(fault.not_executed()));
        }
        let cancelled = Arc::new(Cancellation::default());
        self.open.insert(invoke.id, cancelled.clone());
        let time = Duration::from_millis(invoke.timeout_ms);
        let headers = invoke.ext.headers.0;
        self.work.push(Work {
            invocation: Invocation {
                function: invoke.function.0.into(),
                caller: invoke.ext.caller,
                caller_name: invoke.ext.caller_name.0.into(),
                deadline: Some(deadline_from(now, time)),
                headers: headers.into(),
                event: None,
                cancelled,
            },
            payload: invoke.payload.0.into(),
            reply: Some(Reply {
                connection: self.connection,
                id: invoke.id,
            }),
        });
    }

    /// CAST arrived.
    pub(super) fn cast(&mut self, cast: &Cast<'_>) {
        let event = cast.ext.event.0;
        self.work.push(Work {
            invocation: Invocation {
                function: cast.function.0.into(),
                caller: cast.ext.caller,
                caller_name: cast.ext.caller_name.0.into(),
                deadline: None,
                headers: cast.ext.headers.0.into(),
                event: (!event.is_empty()).then(|| event.into()),
                cancelled: Arc::default(),
            },
            payload: cast.payload.0.into(),
            reply: None,
        });
    }

    /// CANCEL arrived. An answer is still required.
    pub(super) fn cancelled(&self, id: u64) {
        if let Some(cancellation) = self.open.get(&id) {
            cancellation.cancel();
        }
    }

    /// Cancels every handler.
    pub(super) fn cancel_all(&self) {
        for cancellation in self.open.values() {
            cancellation.cancel();
        }
    }

    /// The connection was lost: these answers are no longer needed.
    pub(super) fn disconnected(&mut self) {
        self.cancel_all();
        self.open.clear();
        self.connection += 1;
    }

    /// A result is available. Discards it if no answer is required any more.
    pub(super) fn answer(
        &mut self,
        reply: Reply,
        result: Result<Vec<u8>, Fault>,
        requests: &mut Requests,
    ) {
        if reply.connection == self.connection && self.open.remove(&reply.id).is_some() {
            requests.answer(reply.id, result);
        }
    }

    /// The number of unanswered calls.
    pub(super) fn in_flight(&self) -> usize {
        self.open.len()
    }

    pub(super) fn take_work(&mut self) -> Vec<Work> {
        mem::take(&mut self.work)
    }
}

#[cfg(debug_assertions)]
impl Serving {
    /// Checks that all work that waits is of calls that want an answer.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn check_books(&self) {
        let Self {
            connection,
            open,
            work,
        } = self;
        for reply in work.iter().filter_map(|work| work.reply) {
            let is_lost = reply.connection < *connection;
            assert!(is_lost || open.contains_key(&reply.id), "{reply:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoke(id: u64) -> Invoke<'static> {
        Invoke {
            id,
            timeout_ms: 1000,
            ..Invoke::default()
        }
    }

    #[test]
    fn an_answer_is_given_once_and_over_the_connection_of_its_call_only() {
        let (mut serving, mut requests) = (Serving::default(), Requests::default());
        let now = Instant::now();
        serving.invoked(&invoke(7), 10, now, &mut requests);
        let lost = serving.take_work().remove(0).reply.unwrap();
        serving.disconnected();
        // On the next connection, the same id belongs to another call.
        serving.invoked(&invoke(7), 10, now, &mut requests);
        let reply = serving.take_work().remove(0).reply.unwrap();
        serving.answer(lost, Ok(b"of the lost one".to_vec()), &mut requests);
        assert!(requests.out.is_empty());
        serving.answer(reply, Ok(b"its own".to_vec()), &mut requests);
        assert!(requests.out.ends_with(b"its own"));
        let answered = requests.out.len();
        serving.answer(reply, Ok(b"again".to_vec()), &mut requests);
        assert_eq!(requests.out.len(), answered);
    }
}
