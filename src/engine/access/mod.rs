//! Access: which principals may connect, and with which rights. Decides; applies nothing.

pub(crate) mod authenticator;
pub(crate) mod credentials;
pub(crate) mod grant;
pub(crate) mod review;
pub(crate) mod rights;
