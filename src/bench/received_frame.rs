//! One frame that a connection was sent, as the kinds of measurement look at it: its kind and first number are read,
//! the rest only by whoever needs it.

use std::time::Instant;

use super::BenchError;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct ReceivedFrame<'a> {
    /// Which connection.
    pub(super) peer: usize,
    /// When its bytes were read.
    pub(super) at: Instant,
    pub(super) kind: u64,
    /// The first field, if it is a number: the id of requests and of their ends, a revision.
    pub(super) number: u64,
    pub(super) body: &'a [u8],
    /// What is put here is sent over the same connection, all that one read brought in one write.
    pub(super) reply: &'a mut Vec<u8>,
}

/// Kind and first number of a frame's body.
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
