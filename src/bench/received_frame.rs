//! A received frame as the measurements see it: only the kind and the first number are decoded in advance.

use std::time::Instant;

use super::error::BenchError;

/// A frame received on a connection.
#[derive(Debug)]
pub(super) struct ReceivedFrame<'a> {
    /// Key of the connection.
    pub(super) peer: usize,
    /// When its bytes were read.
    pub(super) at: Instant,
    pub(super) kind: u64,
    /// The first field, if it is a number: the id of a request or its answer, or a revision.
    pub(super) number: u64,
    pub(super) body: &'a [u8],
    /// Bytes put here are sent over the same connection; all replies to one read go out in one write.
    pub(super) reply: &'a mut Vec<u8>,
}

/// The kind and first number of a frame's body.
pub(super) fn head(body: &[u8]) -> Result<(u64, u64), BenchError> {
    let mut rest = body;
    let kind = rmp::decode::read_array_len(&mut rest)
        .ok()
        .and_then(|_| rmp::decode::read_int(&mut rest).ok());
    let Some(kind) = kind else {
        return Err(BenchError::unexpected(body));
    };
    // Some kinds begin with a text, or have no field.
    let number = rmp::decode::read_int(&mut rest).unwrap_or_default();
    Ok((kind, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Drain, HEADER_LEN, Outcome, Resync, Text};

    #[test]
    fn the_head_of_a_frame_is_its_kind_and_its_first_number() {
        let of = |frame: Vec<u8>| head(&frame[HEADER_LEN..]).unwrap();
        for id in [0, 1, 200, 70_000, 1 << 40] {
            let outcome = Outcome {
                id,
                ..Outcome::default()
            };
            assert_eq!(of(outcome.to_frame()), (Outcome::KIND, id));
        }
        let resync = Resync {
            revision: 41,
            reason: Text("joined"),
            ..Resync::default()
        };
        assert_eq!(of(resync.to_frame()), (Resync::KIND, 41));
        assert_eq!(of(Drain::default().to_frame()), (Drain::KIND, 0));
        assert!(matches!(head(b"\xa1x"), Err(BenchError::NotAnEngine(_))));
    }
}
