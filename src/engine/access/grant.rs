//! A grant: the rights that a connection was admitted with. All connections that presented the same key of the same
//! principal share one. Decides nothing about admission.

use std::rc::Rc;

use crate::engine::refusal::Refusal;
use crate::protocol::Code;

use super::credentials::TokenHash;
use super::rights::{Rights, Rules, Verb};

/// The proof by which a connection was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AccessKey {
    /// No proof: the engine has no credentials.
    Anyone,
    /// The user that runs the engine, or root; the engine has no credentials.
    Owner,
    Token(TokenHash),
    User(u32),
}

/// The rights behind one key of one principal.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) key: AccessKey,
    pub(crate) principal: Rc<str>,
    /// The principal's part of a contended engine, compared with those of others.
    pub(crate) weight: u32,
    /// The lowest tier that its workers may ask for, and the one of those that name none.
    pub(crate) tier: u64,
    /// The only namespace; `None` without credentials.
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) rights: Rights,
    /// The rules of the verb `observe`, unless they allow everything.
    pub(crate) observe: Option<Rc<Rules>>,
    /// Changes whenever these rules change: a resume point is valid for one edition, since the view may have followed
    /// other rules in between.
    pub(crate) edition: u64,
    /// The credentials that it is of: how often they were replaced until then.
    pub(crate) issue: u64,
}

impl Grant {
    pub(crate) fn new(
        key: AccessKey,
        principal: &str,
        namespace: Option<&str>,
        rights: &Rights,
        edition: u64,
    ) -> Self {
        let observe = rights.of(Verb::Observe);
        Self {
            key,
            principal: principal.into(),
            weight: 1,
            tier: 0,
            namespace: namespace.map(Into::into),
            rights: rights.clone(),
            observe: (!observe.is_everything()).then(|| Rc::new(observe.clone())),
            edition,
            issue: 0,
        }
    }

    /// Whether functions and events called `name` may be seen.
    pub(crate) fn may_observe(&self, name: &str) -> bool {
        self.observe.as_ref().is_none_or(|rules| rules.allows(name))
    }

    /// The tier of a worker that asked for this one, or for none.
    ///
    /// # Errors
    /// `unauthorized`, if the principal may not ask for one so low.
    pub(crate) fn tier(&self, asked: Option<u64>) -> Result<u64, Refusal> {
        match asked {
            Some(tier) if tier < self.tier => {
                let (principal, least) = (&self.principal, self.tier);
                let message = format!(
                    "principal `{principal}` may ask for tier {least} or higher, not {tier}"
                );
                Err(Refusal::new(Code::Unauthorized, message))
            }
            _ => Ok(asked.unwrap_or(self.tier)),
        }
    }

    /// Whether both belong to one principal in one namespace. Then a session may pass from one to the other.
    pub(crate) fn is_same_principal(&self, other: &Self) -> bool {
        self.principal == other.principal && self.namespace == other.namespace
    }
}
