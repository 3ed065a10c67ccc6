//! The poll tokens of the server's own event sources: listeners, signals, the waker. A connection's token is
//! its id, which never has this file's generation.

use mio::Token;

use crate::engine::ConnId;

// A poll token holds a slab key and a generation.
const _: () = assert!(usize::BITS == 64, "Callboard needs a 64-bit system");

/// No connection is ever of this generation: its tokens are the server's own.
pub(super) const OWN_GENERATION: u32 = u32::MAX;

/// Tokens of the server's own sources. A listener's is its index.
pub(super) const SIGNALS: u32 = u32::MAX;
pub(super) const WAKER: u32 = u32::MAX - 1;

pub(super) fn own_token(which: u32) -> Token {
    Token(ConnId::new(OWN_GENERATION, which).token())
}
