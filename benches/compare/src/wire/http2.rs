//! HTTP/2 (RFC 9113) as a client of gRPC needs it: the frames that open a connection and a stream, and the cutting
//! of what comes into gRPC messages. It offers the largest windows there are, so no server ever waits for one of ours;
//! of the server's it spends no more than it was given. Headers that come are not decoded: a stream that ends
//! without a message is an error, whatever its headers say.

use std::collections::HashMap;

use super::{Carry, Fault};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head: length, type, flags, stream.
const HEAD: usize = 9;

/// Bytes of a gRPC message's head: compressed or not, length.
const PREFIX: usize = 5;

pub(super) const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The largest window, and the one a connection begins with.
const WINDOW_MAX: u32 = i32::MAX as u32;
const WINDOW: u32 = 65_535;

/// After so many bytes the window is made whole again.
const TOP_UP: u32 = 1 << 28;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A connection's first bytes.
pub(super) fn open(out: &mut Vec<u8>) {
    out.extend_from_slice(PREFACE);
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    // No pushes; windows of streams.
    let settings = [setting(2, 0), setting(4, WINDOW_MAX)].concat();
    frame(SETTINGS, 0, 0, &settings, out);
    window_update(0, WINDOW_MAX - WINDOW, out);
}

fn window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes(), out);
}

/// Opens a stream (1, 3, 5 …) for a method with its first message; `last` if no other comes.
pub(super) fn request(stream: u32, path: &str, message: &[u8], last: bool, out: &mut Vec<u8>) {
    // HPACK: the first three from the static table, the others as literals that enter no table.
    let mut headers = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        headers.extend_from_slice(name);
        headers.push(value.len() as u8);
        headers.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "localhost");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    frame(HEADERS, END_HEADERS, stream, &headers, out);
    let length = (message.len() as u32).to_be_bytes();
    let data = [&[0], &length[..], message].concat();
    frame(DATA, if last { END_STREAM } else { 0 }, stream, &data, out);
}

/// The head of the frame that some bytes begin with, if all of the frame is there: its length, its stream, its type,
/// and whether the stream ends with it.
pub(super) fn head(bytes: &[u8]) -> Option<(usize, u32, u8, bool)> {
    let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
    let length = HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
    let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
    (bytes.len() >= length).then(|| (length, u32::from_be_bytes(stream), kind, ends))
}

/// What comes over one connection.
#[derive(Default)]
pub(crate) struct Reader {
    carry: Carry,
    streams: Streams,
}

#[derive(Default)]
struct Streams {
    /// Messages of which not all has come, by stream.
    unfinished: HashMap<u32, Vec<u8>>,
    messages: u64,
    ended: u64,
    /// Bytes since the window was made whole.
    taken: u32,
}

impl Reader {
    /// `message` is shown each gRPC message, with its stream.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        mut message: impl FnMut(u32, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let streams = &mut self.streams;
        self.carry.cut(bytes, |bytes| {
            let Some(head) = bytes.first_chunk::<HEAD>() else {
                return Ok(None);
            };
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let end = HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
            let Some(payload) = bytes.get(HEAD..end) else {
                return Ok(None);
            };
            let stream = u32::from_be_bytes(stream);
            streams.frame((kind, flags, stream), payload, answers, &mut message)?;
            Ok(Some(end))
        })
    }
}

impl Streams {
    fn frame(
        &mut self,
        (kind, flags, stream): (u8, u8, u32),
        payload: &[u8],
        answers: &mut Vec<u8>,
        message: &mut impl FnMut(u32, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match kind {
            DATA => {
                self.data(stream, payload, message)?;
                self.taken += payload.len() as u32;
                if self.taken > TOP_UP {
                    let more = std::mem::take(&mut self.taken);
                    window_update(0, more, answers);
                }
            }
            SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[], answers),
            PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, answers),
            RST_STREAM => return Err(format!("stream {stream} was reset: {payload:?}")),
            GOAWAY => return Err(format!("GOAWAY: {}", payload.escape_ascii())),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.ended += 1;
            if self.ended > self.messages {
                return Err(format!("stream {stream} ended without a message"));
            }
        }
        Ok(())
    }

    fn data(
        &mut self,
        stream: u32,
        payload: &[u8],
        message: &mut impl FnMut(u32, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut held = self.unfinished.remove(&stream);
        if let Some(held) = &mut held {
            held.extend_from_slice(payload);
        }
        let mut bytes = held.as_deref().unwrap_or(payload);
        while let Some(prefix) = bytes.first_chunk::<PREFIX>() {
            let [compressed, length @ ..] = *prefix;
            if compressed != 0 {
                return Err("a compressed message".to_owned());
            }
            let end = PREFIX + u32::from_be_bytes(length) as usize;
            let Some(body) = bytes.get(PREFIX..end) else {
                break;
            };
            self.messages += 1;
            message(stream, body)?;
            bytes = &bytes[end..];
        }
        if !bytes.is_empty() {
            let rest = bytes.to_vec();
            self.unfinished.insert(stream, rest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of two streams, one of them over two frames, as a server would send them.
    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        frame(SETTINGS, 0, 0, &[], &mut out);
        frame(HEADERS, END_HEADERS, 1, b"\x88", &mut out);
        frame(DATA, 0, 1, b"\0\0\0\0\x05hello\0\0\0\0\x05wo", &mut out);
        frame(DATA, 0, 3, b"\0\0\0\0\x00", &mut out);
        frame(PING, 0, 0, b"12345678", &mut out);
        frame(DATA, 0, 1, b"rld", &mut out);
        frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xbf", &mut out);
        out
    }

    #[test]
    fn messages_are_found_in_any_pieces_and_pings_answered() {
        let bytes = stream();
        for at in 0..=bytes.len() {
            let (mut reader, mut answers, mut found) = (Reader::default(), Vec::new(), Vec::new());
            for piece in [&bytes[..at], &bytes[at..]] {
                let read = reader.read(piece, &mut answers, |stream, body| {
                    found.push((stream, body.to_vec()));
                    Ok(())
                });
                read.unwrap();
            }
            let wanted = [(1, &b"hello"[..]), (3, b""), (1, b"world")];
            assert_eq!(found, wanted.map(|(stream, body)| (stream, body.to_vec())));
            let mut acks = Vec::new();
            frame(SETTINGS, ACK, 0, &[], &mut acks);
            frame(PING, ACK, 0, b"12345678", &mut acks);
            assert_eq!(answers, acks);
        }
    }

    #[test]
    fn a_stream_that_ends_with_an_error_alone_is_a_fault() {
        let mut bytes = Vec::new();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88", &mut bytes);
        let read = Reader::default().read(&bytes, &mut Vec::new(), |_, _| Ok(()));
        assert!(read.unwrap_err().contains("without a message"));
    }
}
