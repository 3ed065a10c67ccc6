//! Calls through the runtime, both ways: those that the application makes, with the threads that wait for
//! them, and those that come in, with the handlers that run for them. What becomes of them is decided
//! in the link.

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
    /// Orders the registration of functions, and has their handlers ready before the first call.
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
            // Who describes a function anew need not say again what runs.
            let handler = handler.or_else(|| old.clone().flatten());
            state.handlers.insert(name.clone(), handler);
            before.push((name.clone(), old));
            functions.push(function);
        }
        drop(state);
        let result = self.run_operation(|link| link.register(functions));
        // After a timeout the library goes on trying.
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
            // What a handler holds may take its time to be dropped.
            drop(gone);
        }
        result
    }

    /// Whether anything runs here when it is called.
    pub(super) fn serves(&self) -> bool {
        self.state().handlers.values().any(Option::is_some)
    }

    /// Passes on what the link has: ends to those who wait for them, work to the pool.
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
                None => log::debug!("a cast to `{}`: nothing runs it", invocation.function),
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
                    let fault = Fault::new(Code::Overloaded.as_str(), "too many calls wait here");
                    let fault = fault.retry_later().not_executed();
                    state.link.answer(reply, Err(fault));
                }
                None => log::warn!(
                    "a cast to `{}` is dropped: too many wait here",
                    job.context.function()
                ),
            }
        }
    }

    /// A handler is done.
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

    /// Leaves the board and waits for what is in flight. Says whether all of it was answered.
    pub(in crate::worker) fn drain(&self, timeout: Duration) -> bool {
        let deadline = deadline_after(timeout);
        // An engine that does not answer is not waited for longer than at the close.
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
