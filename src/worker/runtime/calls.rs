//! Calls through the runtime: outgoing calls with the threads that wait for them, and incoming calls with the
//! handlers that run for them. The link decides what becomes of them.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::{CLOSE_TIMEOUT, Runtime, State};
use crate::protocol::Code;
use crate::worker::call_error::CallError;
use crate::worker::call_port::CallPort;
use crate::worker::client::Client;
use crate::worker::context::Context;
use crate::worker::deadline::deadline_after;
use crate::worker::error::RequestError;
use crate::worker::fault::Fault;
use crate::worker::outgoing_call::OutgoingCall;
use crate::worker::pool::{Deliver, Job};
use crate::worker::result_slot::ResultSlot;
use crate::worker::service::{Handler, Service};
use crate::worker::serving::{Reply, Work};
use crate::worker::status::Registered;
use crate::worker::ticket::Ticket;

impl CallPort for Runtime {
    fn begin(self: Arc<Self>, call: OutgoingCall) -> Result<(Ticket, Arc<ResultSlot>), CallError> {
        let slot = Arc::new(ResultSlot::default());
        let mut state = self.state();
        let ticket = state.link.call(call, Instant::now())?;
        state.waiting.insert(ticket, slot.clone());
        // It may have ended already.
        self.dispatch(&mut state);
        self.send(state);
        Ok((ticket, slot))
    }

    fn cast(&self, function: &str, payload: &[u8], headers: &[u8]) -> Result<(), CallError> {
        let mut state = self.state();
        state.link.cast(function, payload, headers)?;
        self.send(state);
        Ok(())
    }

    fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.state().link.patience(ticket)
    }

    fn expire(self: Arc<Self>, ticket: Ticket) {
        let mut state = self.state();
        state.link.expire_call(ticket, Instant::now());
        self.dispatch(&mut state);
        self.send(state);
    }

    fn forget(&self, ticket: Ticket) {
        let mut state = self.state();
        state.waiting.remove(&ticket);
        state.link.forget_call(ticket);
        self.send(state);
    }
}

impl Runtime {
    /// Registers functions, and installs their handlers before the first call can arrive.
    pub(in crate::worker) fn register(
        self: &Arc<Self>,
        services: Vec<Service>,
    ) -> Result<Registered, RequestError> {
        let mut functions = Vec::with_capacity(services.len());
        let mut before: Vec<(Arc<str>, Option<Option<Handler>>)> = Vec::new();
        let mut state = self.state();
        for Service { function, handler } in services {
            let name = function.shared_name();
            let old = state.handlers.get(name).cloned();
            // A function registered again without a handler keeps its handler.
            let handler = handler.or_else(|| old.clone().flatten());
            state.handlers.insert(name.clone(), handler);
            before.push((name.clone(), old));
            functions.push(function);
        }
        drop(state);
        let result = self.run_operation(|link| link.register(functions));
        // After a timeout the library keeps trying.
        if matches!(&result, Err(error) if !matches!(error, RequestError::Timeout(_))) {
            let mut state = self.state();
            for (name, old) in before.into_iter().rev() {
                match old {
                    Some(old) => state.handlers.insert(name, old),
                    None => state.handlers.remove(&name),
                };
            }
        }
        result
    }

    pub(in crate::worker) fn unregister(
        &self,
        names: &[Arc<str>],
    ) -> Result<Registered, RequestError> {
        let result = self.run_operation(|link| link.unregister(names.to_vec()));
        if result.is_ok() {
            let mut state = self.state();
            let gone: Vec<_> = (names.iter())
                .map(|name| state.handlers.remove(name))
                .collect();
            drop(state);
            // Dropping what a handler holds may take a while.
            drop(gone);
        }
        result
    }

    /// Whether any function has a handler.
    pub(super) fn serves(&self) -> bool {
        self.state().handlers.values().any(Option::is_some)
    }

    /// Distributes the link's results: ends of calls to waiting threads, work to the pool.
    pub(super) fn dispatch(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        for (ticket, end) in state.link.take_ended_calls() {
            if let Some(slot) = state.waiting.remove(&ticket) {
                slot.put(end);
            }
        }
        for work in state.link.take_work() {
            self.run(work, state);
        }
    }

    fn run(self: &Arc<Self>, work: Work, state: &mut MutexGuard<'_, State>) {
        let Work {
            invocation,
            payload,
            reply,
        } = work;
        let known = state.handlers.get(&invocation.function);
        let provided = known.is_some();
        let Some(handler) = known.cloned().flatten() else {
            match reply {
                Some(reply) => state.link.answer_unserved(reply, provided),
                None => log::debug!(
                    "a cast to `{}` is ignored: it has no handler",
                    invocation.function
                ),
            }
            return;
        };
        let job = Job {
            handler,
            context: Context {
                invocation: Arc::new(invocation),
                client: Client::new(self.clone()),
            },
            payload,
            reply,
        };
        let deliver = || {
            let runtime = self.clone();
            let deliver = move |reply, result| runtime.deliver(reply, result);
            Box::new(deliver) as Deliver
        };
        if let Err(job) = self.pool.push(job, deliver) {
            match job.reply {
                Some(reply) => {
                    let fault = Fault::new(
                        Code::Overloaded.as_str(),
                        "too many calls wait for a thread here",
                    );
                    let fault = fault.retry_later().not_executed();
                    state.link.answer(reply, Err(fault));
                }
                None => log::warn!(
                    "a cast to `{}` is dropped: the queue for handlers is full",
                    job.context.function()
                ),
            }
        }
    }

    /// A handler has finished.
    fn deliver(&self, reply: Option<Reply>, result: Result<Vec<u8>, Fault>) {
        let mut state = self.state();
        match (reply, result) {
            (Some(reply), result) => state.link.answer(reply, result),
            (None, Ok(_)) => {}
            (None, Err(fault)) => log::warn!("a cast failed: {fault}"),
        }
        if state.link.is_draining() {
            self.changed.notify_all();
        }
        self.send(state);
    }

    /// Leaves the board and waits for the calls in flight. Returns whether all were answered.
    pub(in crate::worker) fn drain(&self, timeout: Duration) -> bool {
        let deadline = deadline_after(timeout);
        // If the engine does not answer, wait no longer than at a close.
        let last_call = deadline.min(deadline_after(CLOSE_TIMEOUT));
        let mut state = self.state();
        if state.link.ended().is_some() {
            return true;
        }
        state.link.drain();
        self.send(state);
        let own = self.pool.thread_jobs();
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let (open, more) = state.link.in_flight();
            let idle = open <= own.calls && self.pool.is_idle_except(own);
            let more = more && now < last_call;
            if idle && !more {
                return true;
            }
            if now >= deadline {
                state.link.cancel_serving();
                return false;
            }
            state = self.wait(state, if idle { last_call } else { deadline });
        }
    }
}
