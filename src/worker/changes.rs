//! A stream of news about the board, bounded.

use std::time::Duration;

use super::Notice;

/// The news since it was asked for. An iterator that waits for the next piece, and ends when the
/// worker is over. Who reads too slowly misses what does not fit, and is told ([`Notice::Missed`]).
#[derive(Debug)]
pub struct Changes {}

impl Changes {
    /// The next piece, waiting for it at most this long. `Ok(None)` is the end.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Notice>, RecvTimeout> {
        let _ = timeout;
        unimplemented!()
    }

    /// The next piece, if there is one.
    pub fn try_recv(&mut self) -> Option<Notice> {
        unimplemented!()
    }
}

/// Nothing came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvTimeout;

impl std::fmt::Display for RecvTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing came in time")
    }
}

impl std::error::Error for RecvTimeout {}

impl Iterator for Changes {
    type Item = Notice;

    fn next(&mut self) -> Option<Notice> {
        unimplemented!()
    }
}
