//! The identity of a user: a principal, or without credentials (and before HELLO) the origin of its connections.

use std::fmt;
use std::rc::Rc;

use super::origin::Origin;

/// What tells one user from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Identity {
    Principal(Rc<str>),
    Origin(Origin),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => write!(f, "principal {name}"),
            Self::Origin(origin) => origin.fmt(f),
        }
    }
}
