//! The frames of a call whose id always takes the same nine bytes at the same place, so that code that plays caller
//! or provider can move it from frame to frame without decoding anything. For tests and benches of calls.
//! Sends nothing.
#![allow(dead_code, reason = "each user has its own part")]

use std::ops::Range;

use callboard::protocol::{Bin, Call, HEADER_LEN, Message, Outcome, Text};

/// Where the id stands in a frame of CALL, INVOKE and RESULT alike: behind the length, the array's head and the
/// kind.
const ID: Range<usize> = 6..15;

/// The same without the length.
const IN_BODY: Range<usize> = ID.start - HEADER_LEN..ID.end - HEADER_LEN;

/// From here on an id takes all nine bytes.
const FIRST: u64 = 1 << 32;

/// A CALL of this number. Numbers in flight on one connection differ.
pub(crate) fn call(number: u64, function: &str, payload: &[u8]) -> Vec<u8> {
    let call = Call {
        id: FIRST + number,
        function: Text(function),
        payload: Bin(payload),
        ..Call::default()
    };
    checked(call.to_frame())
}

/// A RESULT; [`move_id`] says which call it ends.
pub(crate) fn result(payload: &[u8]) -> Vec<u8> {
    let result = Outcome {
        id: FIRST,
        payload: Bin(payload),
        ..Outcome::default()
    };
    checked(result.to_frame())
}

/// Gives a frame the id that another's body has.
pub(crate) fn move_id(body: &[u8], frame: &mut [u8]) {
    frame[ID].copy_from_slice(&body[IN_BODY]);
}

/// Gives a CALL this number.
pub(crate) fn set_number(frame: &mut [u8], number: u64) {
    frame[ID.start + 1..ID.end].copy_from_slice(&(FIRST + number).to_be_bytes());
}

/// The number of the CALL that a RESULT ends, by the RESULT's body.
pub(crate) fn number(body: &[u8]) -> u64 {
    let id = body[IN_BODY.start + 1..].first_chunk();
    u64::from_be_bytes(*id.expect("eight bytes")) - FIRST
}

fn checked(frame: Vec<u8>) -> Vec<u8> {
    assert!(Message::decode(&frame[HEADER_LEN..]).is_ok());
    assert_eq!(frame[ID.start], 0xcf, "a u64 in full");
    frame
}
