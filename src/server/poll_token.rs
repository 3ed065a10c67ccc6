//! The poll tokens of the server's own event sources: listeners, signals, the waker. A connection's token is
//! its id, which never has this file's generation.

use mio::Token;

use crate::engine::ConnId;

// A poll token holds a slab key and a generation.
const _: () = assert!(usize::BITS == 64, "Callboard needs a 64-bit system");

/// Generation of the tokens of the server's own sources. No connection has it.
pub(super) const OWN_GENERATION: u32 = u32::MAX;

/// Keys of the server's own sources. The key of a listener is its index.
pub(super) const SIGNALS: u32 = u32::MAX;
pub(super) const WAKER: u32 = u32::MAX - 1;

pub(super) fn own_token(which: u32) -> Token {
    Token(ConnId::new(OWN_GENERATION, which).token())
}
