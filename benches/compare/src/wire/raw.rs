//! The frames of the floor: a big-endian `u32` length, a number, and padding. What a connection is for it says in
//! its first frame; the floor (`floor.rs`) looks at nothing else.

use super::{Carry, FRAME, Fault, News, number_at_start, put_number, put_padded};

/// Bytes of a length.
pub(crate) const HEADER: usize = 4;

/// Bytes of a first frame's body: what the connection is for, and a number.
pub(crate) const HELLO: usize = 11;

/// First byte of the first frame of a connection that is sent all that is published.
pub(crate) const WATCHER: u8 = b'w';
/// Of a connection whose bytes go to all watchers.
pub(crate) const PUBLISHER: u8 = b'p';
/// Of a connection that is sent a number of bytes.
pub(crate) const JOINER: u8 = b'j';

/// What the floor answers to a watcher and to a publisher.
pub(crate) const READY: [u8; HEADER + 1] = [0, 0, 0, 1, b'r'];

pub(super) fn hello(role: u8) -> Vec<u8> {
    first(role, 0)
}

/// A first frame that asks for so many bytes, at once.
pub(crate) fn joiner(bytes: u64) -> Vec<u8> {
    first(JOINER, bytes)
}

fn first(role: u8, number: u64) -> Vec<u8> {
    let mut out = (HELLO as u32).to_be_bytes().to_vec();
    out.push(role);
    put_number(number, &mut out);
    out
}

/// What a first frame says: what the connection is for, and its number.
pub(crate) fn read_first(frame: &[u8; HEADER + HELLO]) -> Result<(u8, u64), Fault> {
    Ok((frame[HEADER], number_at_start(&frame[HEADER + 1..])?))
}

pub(super) fn publish(number: u64, out: &mut Vec<u8>) {
    let body = FRAME - HEADER;
    out.extend_from_slice(&(body as u32).to_be_bytes());
    put_padded(number, body, out);
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
            let Some(header) = bytes.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let end = HEADER + u32::from_be_bytes(*header) as usize;
            let Some(body) = bytes.get(HEADER..end) else {
                return Ok(None);
            };
            match body {
                [b'r'] => news(News::Ready)?,
                _ => news(News::Entry(number_at_start(body)?))?,
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

    #[test]
    fn what_is_published_is_found_in_any_pieces() {
        let mut stream = READY.to_vec();
        publish(7, &mut stream);
        publish(8, &mut stream);
        assert_eq!(stream.len(), READY.len() + 2 * FRAME);
        in_pieces(
            Tongue::Raw,
            &stream,
            &[News::Ready, News::Entry(7), News::Entry(8)],
        );
        assert!(fault(Tongue::Raw, b"\0\0\0\x0bsomething..").starts_with("no number"));
    }

    #[test]
    fn a_first_frame_says_what_it_is_for() {
        let frame = joiner(123_456);
        let frame = frame.first_chunk().expect("a whole frame");
        assert_eq!(read_first(frame), Ok((JOINER, 123_456)));
    }
}
