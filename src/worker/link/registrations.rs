//! The link's interface for operations: register, unregister, bind and unbind. `registrations` carries them out.

use std::sync::Arc;
use std::time::Instant;

use super::{DrainState, Link};
use crate::protocol::Code;
use crate::worker::entry::Binding;
use crate::worker::error::{Refusal, RequestError};
use crate::worker::function::Function;
use crate::worker::registrations::{Effects, Registrations};
use crate::worker::requests::{Purpose, refusal};
use crate::worker::status::{Offer, Registered};
use crate::worker::ticket::Ticket;

impl Link {
    /// The token for the next HELLO.
    pub fn set_token(&mut self, token: Option<Arc<str>>) {
        self.token = token;
    }

    /// Registers these functions as one batch. The end of the ticket tells the outcome.
    pub fn register(&mut self, functions: Vec<Function>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, effects) = self.effects();
        Ok(registrations.register(functions, effects))
    }

    /// Unregisters these functions as one batch.
    pub fn unregister(&mut self, names: Vec<Arc<str>>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, effects) = self.effects();
        Ok(registrations.unregister(names, effects))
    }

    /// Binds functions to events as one batch.
    pub fn bind(&mut self, bindings: Vec<Binding>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, effects) = self.effects();
        Ok(registrations.bind(bindings, effects))
    }

    /// Removes these bindings as one batch.
    pub fn unbind(&mut self, bindings: Vec<Binding>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, effects) = self.effects();
        Ok(registrations.unbind(bindings, effects))
    }

    fn check_not_over(&self) -> Result<(), RequestError> {
        if let Some(end) = self.end.clone() {
            return Err(RequestError::Ended(end));
        }
        if self.draining != DrainState::No {
            let message = "this worker is draining";
            return Err(RequestError::Refused(refusal(Code::Draining, message)));
        }
        Ok(())
    }

    /// The end of an operation, once it has ended; returned once.
    pub fn take_end(&mut self, ticket: Ticket) -> Option<Result<Registered, RequestError>> {
        self.registrations.take_end(ticket)
    }

    /// The application no longer waits for this operation. It is carried out nevertheless.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.registrations.abandon(ticket);
    }

    /// The functions that this worker wants to provide.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        self.registrations.offers()
    }

    pub(super) fn effects(&mut self) -> (&mut Registrations, Effects<'_>) {
        let effects = Effects {
            requests: &mut self.requests,
            view: &mut self.view,
            notices: &mut self.notices,
        };
        (&mut self.registrations, effects)
    }

    /// The engine reports that this worker's rights have changed.
    pub(super) fn rights_changed(&mut self) {
        log::info!("the rights of this worker changed: registering everything again");
        if self.draining == DrainState::No {
            let (registrations, effects) = self.effects();
            registrations.rights_changed(effects);
        }
    }

    /// The engine answered a request that is not a call.
    pub(super) fn answered(
        &mut self,
        id: u64,
        asked: Option<Purpose>,
        answer: Result<Option<u64>, Refusal>,
        now: Instant,
    ) {
        let Some(asked) = asked else {
            log::warn!("the engine answered request {id}, which is not open");
            return;
        };
        match asked {
            Purpose::Cancelled => return,
            Purpose::Drain if self.draining == DrainState::Purpose => {
                self.draining = DrainState::Confirmed;
            }
            _ => {}
        }
        self.answers += 1;
        let answer = answer.map(|revision| revision.unwrap_or(0));
        let effects = Effects {
            requests: &mut self.requests,
            view: &mut self.view,
            notices: &mut self.notices,
        };
        self.registrations
            .answered(asked, answer, now, &mut self.random, effects);
    }
}
