//! The link's side of orders: what the application registers, unregisters, binds and unbinds. How an
//! order is carried out is the registrations' business.

use std::sync::Arc;
use std::time::Instant;

use super::{Draining, Link, Ticket};
use crate::protocol::Code;
use crate::worker::registrations::{Desk, Registrations};
use crate::worker::requests::{Asked, refusal};
use crate::worker::{Binding, Function, Offer, Refusal, Registered, RequestError};

impl Link {
    /// What the next HELLO presents to the engine.
    pub fn set_token(&mut self, token: Option<Arc<str>>) {
        self.token = token;
    }

    /// Orders the registration of these functions, as one batch. The ticket's end tells what came of it.
    pub fn register(&mut self, functions: Vec<Function>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, desk) = self.desk();
        Ok(registrations.register(functions, desk))
    }

    /// Orders the opposite.
    pub fn unregister(&mut self, names: Vec<Arc<str>>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, desk) = self.desk();
        Ok(registrations.unregister(names, desk))
    }

    /// Orders that these functions be tied to events, as one batch.
    pub fn bind(&mut self, bindings: Vec<Binding>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, desk) = self.desk();
        Ok(registrations.bind(bindings, desk))
    }

    /// Orders the opposite.
    pub fn unbind(&mut self, bindings: Vec<Binding>) -> Result<Ticket, RequestError> {
        self.check_not_over()?;
        let (registrations, desk) = self.desk();
        Ok(registrations.unbind(bindings, desk))
    }

    fn check_not_over(&self) -> Result<(), RequestError> {
        if let Some(end) = self.end.clone() {
            return Err(RequestError::Ended(end));
        }
        if self.draining != Draining::No {
            let message = "this worker leaves the board";
            return Err(RequestError::Refused(refusal(Code::Draining, message)));
        }
        Ok(())
    }

    /// How an order ended, if it has; told once.
    pub fn take_end(&mut self, ticket: Ticket) -> Option<Result<Registered, RequestError>> {
        self.registrations.take_end(ticket)
    }

    /// Nobody will ask for this order's end. It is carried out nevertheless.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.registrations.abandon(ticket);
    }

    /// What this worker wants to provide.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        self.registrations.offers()
    }

    pub(super) fn desk(&mut self) -> (&mut Registrations, Desk<'_>) {
        let desk = Desk {
            requests: &mut self.requests,
            view: &mut self.view,
            notices: &mut self.notices,
        };
        (&mut self.registrations, desk)
    }

    /// The engine says that this worker may register or bind something else than before.
    pub(super) fn rights_changed(&mut self) {
        log::info!("the rights of this worker have changed: all that it wants is registered again");
        if self.draining == Draining::No {
            let (registrations, desk) = self.desk();
            registrations.rights_changed(desk);
        }
    }

    /// The engine answered a request that is no call.
    pub(super) fn answered(
        &mut self,
        id: u64,
        asked: Option<Asked>,
        answer: Result<Option<u64>, Refusal>,
        now: Instant,
    ) {
        let Some(asked) = asked else {
            log::warn!("the engine answered request {id}, which is not open");
            return;
        };
        match asked {
            Asked::Nothing => return,
            Asked::Drained if self.draining == Draining::Asked => {
                self.draining = Draining::Confirmed;
            }
            _ => {}
        }
        self.answers += 1;
        let answer = answer.map(|revision| revision.unwrap_or(0));
        let desk = Desk {
            requests: &mut self.requests,
            view: &mut self.view,
            notices: &mut self.notices,
        };
        self.registrations
            .answered(asked, answer, now, &mut self.random, desk);
    }
}
