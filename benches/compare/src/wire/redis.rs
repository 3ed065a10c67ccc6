//! RESP, as much of it as publishing and subscribing take: simple strings, errors, integers, bulk strings, and
//! arrays of up to three of these.

use std::io::Write;

use super::carry::{decimal, line_end};
use super::{Carry, FRAME, Fault, News, number_at_start, put_padded, shown};

const CHANNEL: &str = "board";

/// Bytes around a payload: `*3 $7 message $5 board $N payload`.
const ENVELOPE: usize = 4 + 4 + 9 + 4 + 7 + 6 + 2;

const PAYLOAD: usize = FRAME - ENVELOPE;

/// The longest array that is understood.
const ITEMS: usize = 3;

pub(super) fn subscribe() -> Vec<u8> {
    format!("*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\n{CHANNEL}\r\n").into_bytes()
}

pub(super) fn ping() -> Vec<u8> {
    b"*1\r\n$4\r\nPING\r\n".to_vec()
}

pub(super) fn publish(number: u64, out: &mut Vec<u8>) {
    write!(
        out,
        "*3\r\n$7\r\nPUBLISH\r\n$5\r\n{CHANNEL}\r\n${PAYLOAD}\r\n"
    )
    .expect("memory");
    put_padded(number, PAYLOAD, out);
    out.extend_from_slice(b"\r\n");
}

/// A value that is no array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(&'a [u8]),
    Bulk(&'a [u8]),
}

/// The scalar that some bytes begin with, and where it ends.
fn scalar(bytes: &[u8]) -> Result<Option<(Scalar<'_>, usize)>, Fault> {
    let Some(end) = line_end(bytes) else {
        return Ok(None);
    };
    let line = &bytes[1..end - 2];
    let value = match bytes[0] {
        b'+' => Scalar::Simple(line),
        b'-' => Scalar::Error(line),
        b':' => Scalar::Integer(line),
        b'$' => {
            let length = decimal(line).ok_or_else(|| format!("no length: {}", shown(bytes)))?;
            let Some(value) = bytes.get(end..end + length + 2) else {
                return Ok(None);
            };
            return Ok(Some((Scalar::Bulk(&value[..length]), end + length + 2)));
        }
        _ => return Err(format!("not RESP: {}", shown(bytes))),
    };
    Ok(Some((value, end)))
}

/// The value that some bytes begin with, and where it ends: an array's items, or one.
fn value(bytes: &[u8]) -> Result<Option<([Scalar<'_>; ITEMS], usize)>, Fault> {
    let mut items = [Scalar::Bulk(b""); ITEMS];
    let (count, mut at) = if bytes[0] == b'*' {
        let Some(end) = line_end(bytes) else {
            return Ok(None);
        };
        let count = decimal(&bytes[1..end - 2]).filter(|&count| count <= ITEMS);
        let count = count.ok_or_else(|| format!("no such array: {}", shown(bytes)))?;
        (count, end)
    } else {
        (1, 0)
    };
    for item in &mut items[..count] {
        if at == bytes.len() {
            return Ok(None);
        }
        let Some((scalar, length)) = scalar(&bytes[at..])? else {
            return Ok(None);
        };
        *item = scalar;
        at += length;
    }
    Ok(Some((items, at)))
}

#[derive(Default)]
pub(crate) struct Reader {
    carry: Carry,
}

impl Reader {
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.carry.cut(bytes, |bytes| {
            let Some((items, end)) = value(bytes)? else {
                return Ok(None);
            };
            match items {
                [Scalar::Bulk(b"message"), _, Scalar::Bulk(payload)] => {
                    news(News::Entry(number_at_start(payload)?))?;
                }
                [Scalar::Bulk(b"subscribe") | Scalar::Simple(b"PONG"), ..] => {
                    news(News::Ready)?;
                }
                [Scalar::Integer(_), ..] => news(News::Done)?,
                _ => return Err(format!("unexpected: {}", shown(bytes))),
            }
            Ok(Some(end))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tongue;
    use super::super::tests::{fault, in_pieces};
    use super::*;

    fn message(number: u64) -> Vec<u8> {
        let mut published = Vec::new();
        publish(number, &mut published);
        let text = String::from_utf8(published).unwrap();
        text.replace("PUBLISH", "message").into_bytes()
    }

    #[test]
    fn what_is_published_is_found_in_any_pieces() {
        assert_eq!(message(1).len(), FRAME);
        let stream = [
            b"*3\r\n$9\r\nsubscribe\r\n$5\r\nboard\r\n:1\r\n".to_vec(),
            message(7),
            message(8),
            b":1000\r\n".to_vec(),
            b"+PONG\r\n".to_vec(),
        ];
        let wanted = [
            News::Ready,
            News::Entry(7),
            News::Entry(8),
            News::Done,
            News::Ready,
        ];
        in_pieces(Tongue::Redis, &stream.concat(), &wanted);
    }

    #[test]
    fn errors_and_other_protocols_are_faults() {
        let fault = |stream| fault(Tongue::Redis, stream);
        assert!(fault(b"-ERR max number of clients reached\r\n").contains("max number"));
        assert!(fault(b"HTTP/1.1 200 OK\r\n").starts_with("not RESP"));
        assert!(fault(b"*9\r\n").starts_with("no such array"));
    }
}
