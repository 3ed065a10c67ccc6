//! The frames of a call whose id always takes the same nine bytes at the same place, so that whoever plays caller or
//! provider moves it from frame to frame and decodes nothing. Sends nothing.

use std::ops::Range;

use super::received_frame::ReceivedFrame;
use crate::protocol::{Bin, Call, Outcome, Text};

/// Where the id stands in a frame of CALL and RESULT alike: behind the length, the array's head and the kind.
const ID: Range<usize> = 6..15;

/// From here on an id takes all nine bytes.
const FIRST: u64 = 1 << 32;

/// A CALL or a RESULT, ready but for its id.
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

    /// The CALL of this number. Numbers in flight on one connection differ.
    pub(super) fn numbered(&mut self, number: usize) -> &[u8] {
        self.with_id(FIRST + number as u64)
    }

    /// The RESULT that answers this INVOKE.
    pub(super) fn answering(&mut self, invoke: &ReceivedFrame<'_>) -> &[u8] {
        // An engine may write an id shorter than here; as a number it is the same.
        self.with_id(invoke.number)
    }

    fn with_id(&mut self, id: u64) -> &[u8] {
        self.0[ID.start + 1..ID.end].copy_from_slice(&id.to_be_bytes());
        &self.0
    }
}

/// The number of the CALL that an answer ends.
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
