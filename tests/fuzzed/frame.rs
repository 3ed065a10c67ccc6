//! Frames: a stream of bytes is cut into bodies, however it arrives; bodies are checked, decoded, encoded
//! and decoded again. A generic MessagePack reader, which shares no code with the protocol's own, decides
//! which bodies are well-formed.

use std::collections::BTreeSet;

use callboard::protocol::{
    DecodeError, FrameError, HEADER_LEN, Inbox, MAX_DEPTH, MAX_ELEMENTS, MAX_FRAME_CEILING,
    MAX_MAP_KEYS, Malformed, Message, check_wellformed,
};
use rmpv::Value;

use super::bounded;

/// Bytes at the beginning of the input that choose the limit and the sizes of the reads.
const HEAD: usize = 5;

/// Memory that decoding may hold for each byte of a body: an empty map, one byte, can stand for a
/// definition of 88.
const BYTES_PER_BYTE: usize = 90;

/// One input: how to read, then the stream.
pub fn run(data: &[u8]) {
    let Some((head, stream)) = data.split_at_checked(HEAD) else {
        return;
    };
    let limit = [64, 16_384, 1_114_112, MAX_FRAME_CEILING - 1][usize::from(head[0] & 3)];
    let (bodies, error) = frames([stream].into_iter(), limit);
    let (split, split_error) = frames(reads(stream, &head[1..]), limit);
    assert_eq!(bodies, split);
    assert_eq!(error, split_error);
    for body in &bodies {
        assert!(body.len() <= limit);
        check_body(body);
    }
    // Most inputs are no stream of frames; as a body they say something nevertheless.
    check_body(stream);
}

/// The stream in pieces of the sizes given, again and again.
fn reads<'a>(stream: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = 1 + usize::from(*sizes.next()?);
        let (read, left) = rest.split_at(size.min(rest.len()));
        rest = left;
        (!read.is_empty()).then_some(read)
    })
}

/// All bodies in what is read, and the error that ended it.
fn frames<'a>(
    reads: impl Iterator<Item = &'a [u8]>,
    limit: usize,
) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut inbox = Inbox::default();
    let (mut bodies, mut arrived, mut taken) = (Vec::new(), 0, 0);
    for mut read in reads {
        arrived += read.len();
        loop {
            match inbox.next(&mut read, limit) {
                Ok(Some(body)) => {
                    taken += HEADER_LEN + body.len();
                    bodies.push(body.to_vec());
                    assert_eq!((inbox.held(), inbox.announced()), (0, None));
                }
                Ok(None) => break,
                Err(error) => return (bodies, Some(error)),
            }
        }
        assert!(read.is_empty(), "bytes were left behind");
        assert_eq!(inbox.held(), arrived - taken);
    }
    (bodies, None)
}

/// What must hold for any body.
fn check_body(body: &[u8]) {
    let wellformed = check_wellformed(body);
    if wellformed == Err(Malformed::ReservedByte) {
        // The generic reader takes it for nil.
        assert!(body.contains(&0xc1));
    } else {
        assert_eq!(wellformed.is_ok(), is_wellformed(body), "{wellformed:?}");
    }
    let most = BYTES_PER_BYTE * body.len() + 4096;
    match bounded(most, || Message::decode(body)) {
        Ok(message) => {
            assert!(wellformed.is_ok_and(|values| (1..=body.len()).contains(&values)));
            check_message(&message, body);
        }
        Err(DecodeError::Malformed(why)) => assert_eq!(wellformed, Err(why)),
        Err(DecodeError::Field(why)) => {
            assert!(wellformed.is_ok_and(|values| (1..=body.len()).contains(&values)));
            assert!(!why.is_empty());
        }
    }
}

/// What must hold for any message.
fn check_message(message: &Message<'_>, body: &[u8]) {
    let known = Message::KINDS
        .iter()
        .any(|&(name, kind)| (name, kind) == (message.kind_name(), message.kind()));
    let mut frame = Vec::new();
    message.encode(&mut frame);
    if let Message::Unknown { kind, id } = message {
        assert!(!known && frame.is_empty());
        assert_eq!(
            id.is_some(),
            *kind < callboard::protocol::FIRST_UNANSWERED_KIND
        );
        return;
    }
    assert!(known);
    let encoded = &frame[HEADER_LEN..];
    let again = Message::decode(encoded).expect("what was encoded is decoded");
    assert_eq!(*message, again);
    let mut frame_again = Vec::new();
    again.encode(&mut frame_again);
    assert_eq!(frame, frame_again);
    // What was read can be passed on: it takes no more room. The words of FAILURE's `executed` alone may
    // grow, from a newer peer's to `maybe`.
    assert!(encoded.len() <= body.len() + 5);
}

/// Whether the generic reader finds exactly one array of at least one element, and in it nothing that the
/// protocol does not have.
fn is_wellformed(body: &[u8]) -> bool {
    let mut rest = body;
    let Ok(value) = rmpv::decode::read_value_with_max_depth(&mut rest, 200) else {
        return false;
    };
    let is_array = value.as_array().is_some_and(|array| !array.is_empty());
    is_array && rest.is_empty() && is_plain(&value, MAX_DEPTH)
}

fn is_plain(value: &Value, depth: usize) -> bool {
    match value {
        Value::Ext(..) => false,
        Value::String(text) => text.as_str().is_some(),
        Value::Array(elements) => {
            depth > 0
                && elements.len() <= MAX_ELEMENTS
                && elements.iter().all(|element| is_plain(element, depth - 1))
        }
        Value::Map(entries) => {
            let keys: BTreeSet<_> = entries.iter().filter_map(|(key, _)| key.as_str()).collect();
            depth > 0
                && keys.len() == entries.len()
                && keys.len() <= MAX_MAP_KEYS
                && entries.iter().all(|(_, value)| is_plain(value, depth - 1))
        }
        _ => true,
    }
}
