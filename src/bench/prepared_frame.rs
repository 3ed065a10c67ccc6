//! Frames of calls whose id always occupies the same nine bytes, so that callers and providers copy it from frame
//! to frame without decoding. Sends nothing.

use std::ops::Range;

use super::received_frame::ReceivedFrame;
use crate::protocol::{Bin, Call, Outcome, Text};

/// Position of the id in frames of CALL and RESULT: after the length, the array's head and the kind.
const ID: Range<usize> = 6..15;

/// From this value on an id takes nine bytes.
const FIRST: u64 = 1 << 32;

/// A CALL or RESULT, complete except for its id.
#[derive(Debug)]
pub(super) struct PreparedFrame(Vec<u8>);

impl PreparedFrame {
    /// A CALL.
    pub(super) fn call(function: &str, payload: &[u8]) -> Self {
        let call = Call {
            id: FIRST,
            function: Text(function),
            payload: Bin(payload),
            ..Call::default()
        };
        Self(call.to_frame())
    }

    /// A RESULT.
    pub(super) fn result(payload: &[u8]) -> Self {
        let result = Outcome {
            id: FIRST,
            payload: Bin(payload),
            ..Outcome::default()
        };
        Self(result.to_frame())
    }

    /// The CALL with this number, which must be unique among those in flight on a connection.
    pub(super) fn numbered(&mut self, number: usize) -> &[u8] {
        self.with_id(FIRST + number as u64)
    }

    /// The RESULT that answers this INVOKE.
    pub(super) fn answering(&mut self, invoke: &ReceivedFrame<'_>) -> &[u8] {
        // The engine may encode an id more compactly; its value is the same.
        self.with_id(invoke.number)
    }

    fn with_id(&mut self, id: u64) -> &[u8] {
        self.0[ID.start + 1..ID.end].copy_from_slice(&id.to_be_bytes());
        &self.0
    }
}

/// The number of the CALL that this answers.
pub(super) fn number(answer: &ReceivedFrame<'_>) -> Option<usize> {
    answer.number.checked_sub(FIRST).map(|it| it as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{HEADER_LEN, Message};

    #[test]
    fn only_the_id_of_a_prepared_frame_changes() {
        let mut call = PreparedFrame::call("a::b", b"xyz");
        for number in [0, 1, 77_777] {
            let frame = call.numbered(number);
            let Ok(Message::Call(read)) = Message::decode(&frame[HEADER_LEN..]) else {
                panic!("no CALL");
            };
            assert_eq!(read.id, FIRST + number as u64);
            assert_eq!((read.function.0, read.payload.0), ("a::b", &b"xyz"[..]));
        }
        let mut result = PreparedFrame::result(b"xyz");
        for id in [0, 5, u64::MAX] {
            let frame = result.with_id(id);
            let Ok(Message::Outcome(read)) = Message::decode(&frame[HEADER_LEN..]) else {
                panic!("no RESULT");
            };
            assert_eq!((read.id, read.payload.0), (id, &b"xyz"[..]));
        }
    }
}
