//! The hot path without serde: reads CALL and RESULT, writes INVOKE and RESULT, including the RESULT of a
//! registration. What it reads and writes is what the general decoder and encoder would; anything unusual is left
//! to them, above all errors. Tests compare the two.

use super::frame::{begin_frame, end_frame};
use super::kinds::{Call, CallOptions, Invoke, InvokeOptions, Message, Outcome, OutcomeOptions};
use super::wire::{Bin, Text};

/// A message on the fast path. Smaller than a [`Message`], which would be moved with each frame.
#[derive(Debug)]
pub(crate) enum FastPath<'a> {
    Call(Call<'a>),
    /// A RESULT without extensions: its id and its payload.
    Outcome(u64, Bin<'a>),
}

impl<'a> FastPath<'a> {
    /// Reads a CALL or RESULT in the form that workers send. `None` for everything else.
    #[inline]
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let (&[head, kind], rest) = body.split_first_chunk()?;
        let mut input = Input(rest);
        let fast = match (u64::from(kind), head) {
            (Call::KIND, 0x94 | 0x95) => Self::Call(Call {
                id: input.number()?,
                function: input.text()?,
                payload: input.bytes()?,
                ext: match head {
                    0x95 => input.call_options()?,
                    _ => CallOptions::default(),
                },
            }),
            (Outcome::KIND, 0x93) => Self::Outcome(input.number()?, input.bytes()?),
            _ => return None,
        };
        if !input.0.is_empty() {
            return None;
        }
        Some(fast)
    }

    /// The same as a message.
    pub(super) fn into_message(self) -> Message<'a> {
        match self {
            Self::Call(call) => Message::Call(call),
            Self::Outcome(id, payload) => Message::Outcome(Outcome {
                id,
                payload,
                ext: OutcomeOptions::default(),
            }),
        }
    }
}

/// The rest of a body.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn big_endian<const WIDTH: usize>(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<WIDTH>()?;
        self.0 = rest;
        let mut wide = [0; 8];
        wide[8 - WIDTH..].copy_from_slice(bytes);
        Some(u64::from_be_bytes(wide))
    }

    fn number(&mut self) -> Option<u64> {
        match self.byte()? {
            small @ 0..=0x7f => Some(u64::from(small)),
            0xcc => self.big_endian::<1>(),
            0xcd => self.big_endian::<2>(),
            0xce => self.big_endian::<4>(),
            0xcf => self.big_endian::<8>(),
            _ => None,
        }
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0xc2 => Some(false),
            0xc3 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<Text<'a>> {
        let len = match self.byte()? {
            short @ 0xa0..=0xbf => u64::from(short & 0x1f),
            0xd9 => self.big_endian::<1>()?,
            _ => return None,
        };
        let text = std::str::from_utf8(self.take(len as usize)?).ok()?;
        Some(Text(text))
    }

    fn bytes(&mut self) -> Option<Bin<'a>> {
        let len = match self.byte()? {
            0xc4 => self.big_endian::<1>()?,
            0xc5 => self.big_endian::<2>()?,
            0xc6 => self.big_endian::<4>()?,
            _ => return None,
        };
        self.take(len as usize).map(Bin)
    }

    /// The known keys, each at most once.
    fn call_options(&mut self) -> Option<CallOptions<'a>> {
        let count = match self.byte()? {
            head @ 0x80..=0x8f => head & 0xf,
            _ => return None,
        };
        let mut options = CallOptions::default();
        let mut seen = 0_u8;
        for _ in 0..count {
            let bit = match self.text()?.0 {
                "timeout_ms" => {
                    options.timeout_ms = Some(self.number()?);
                    1
                }
                "wait" => {
                    options.wait = self.flag()?;
                    2
                }
                "idempotent" => {
                    options.idempotent = self.flag()?;
                    4
                }
                "worker" => {
                    options.worker = Some(self.number()?);
                    8
                }
                "headers" => {
                    options.headers = self.bytes()?;
                    16
                }
                _ => return None,
            };
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
        }
        Some(options)
    }
}

impl Invoke<'_> {
    /// Like [`Invoke::encode`].
    pub(crate) fn encode_fast(&self, out: &mut Vec<u8>) {
        let InvokeOptions {
            caller,
            caller_name,
            headers,
        } = &self.ext;
        let keys = u8::from(*caller != 0)
            + u8::from(!caller_name.is_empty())
            + u8::from(!headers.is_empty());
        let names = self.function.len() + caller_name.len();
        out.reserve(FIXED + names + self.payload.len() + headers.len());
        let mark = begin_frame(out);
        out.push(if keys > 0 { 0x96 } else { 0x95 });
        put_number(out, Self::KIND);
        put_number(out, self.id);
        put_text(out, &self.function);
        put_number(out, self.timeout_ms);
        put_bytes(out, &self.payload);
        if keys > 0 {
            out.push(0x80 | keys);
            if *caller != 0 {
                out.extend_from_slice(CALLER);
                put_number(out, *caller);
            }
            if !caller_name.is_empty() {
                out.extend_from_slice(CALLER_NAME);
                put_text(out, caller_name);
            }
            if !headers.is_empty() {
                out.extend_from_slice(HEADERS);
                put_bytes(out, headers);
            }
        }
        end_frame(out, mark);
    }
}

impl Outcome<'_> {
    /// Like [`Outcome::encode`], without extensions.
    pub(crate) fn encode_fast(id: u64, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(FIXED + payload.len());
        let mark = begin_frame(out);
        out.push(0x93);
        put_number(out, Self::KIND);
        put_number(out, id);
        put_bytes(out, payload);
        end_frame(out, mark);
    }

    /// Like [`Outcome::encode`], without a payload and with a revision: the answer to a registry request.
    pub(crate) fn encode_acknowledgement(id: u64, revision: u64, out: &mut Vec<u8>) {
        let mark = begin_frame(out);
        out.push(0x94);
        put_number(out, Self::KIND);
        put_number(out, id);
        put_bytes(out, &[]);
        out.push(0x81);
        out.extend_from_slice(REVISION);
        put_number(out, revision);
        end_frame(out, mark);
    }
}

/// Keys in their encoded form.
const CALLER: &[u8] = b"\xa6caller";
const CALLER_NAME: &[u8] = b"\xabcaller_name";
const HEADERS: &[u8] = b"\xa7headers";
const REVISION: &[u8] = b"\xa8revision";

/// An upper bound for the size of a frame besides its names, payload and headers.
const FIXED: usize = 96;

#[allow(clippy::inline_always)] // A call costs as much again as what is done here: docs/COSTS.md.
#[inline(always)]
fn put_number(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

#[allow(clippy::inline_always)] // A call costs as much again as what is done here: docs/COSTS.md.
#[inline(always)]
fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = text.len();
    match len {
        0..=0x1f => out.push(0xa0 | len as u8),
        0x20..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[allow(clippy::inline_always)] // A call costs as much again as what is done here: docs/COSTS.md.
#[inline(always)]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    match len {
        0..=0xff => out.extend_from_slice(&[0xc4, len as u8]),
        0x100..=0xffff => {
            out.push(0xc5);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xc6);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::protocol::{HEADER_LEN, check_wellformed, read_wellformed};

    fn read(body: &[u8]) -> Option<Message<'_>> {
        FastPath::read(body).map(FastPath::into_message)
    }

    /// A number of any width, the edges of each width often.
    fn number(rng: &mut StdRng) -> u64 {
        let edge = 1_u64 << (rng.next_u64() % 64);
        edge.wrapping_add(rng.next_u64() % 3).wrapping_sub(1)
    }

    /// Of any length up to some 70,000, short ones often.
    fn bytes(rng: &mut StdRng) -> Vec<u8> {
        let most = [1, 40, 300, 70_000][rng.next_u64() as usize % 4];
        vec![0x5a; rng.next_u64() as usize % most]
    }

    fn options<'a>(rng: &mut StdRng, headers: &'a [u8]) -> CallOptions<'a> {
        let mut half = || rng.next_u64().is_multiple_of(2);
        let (timed, wait, idempotent, pinned, headed) = (half(), half(), half(), half(), half());
        CallOptions {
            timeout_ms: timed.then(|| number(rng)),
            wait,
            idempotent,
            worker: pinned.then(|| number(rng)),
            headers: Bin(if headed { headers } else { &[] }),
        }
    }

    fn general(body: &[u8]) -> Option<Message<'_>> {
        check_wellformed(body).ok()?;
        read_wellformed(body).ok()
    }

    #[test]
    fn what_is_read_at_once_is_what_the_general_way_reads() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut at_once = 0;
        for round in 0..3_000 {
            let (payload, headers, name) = (bytes(&mut rng), bytes(&mut rng), bytes(&mut rng));
            let name = String::from_utf8(name).unwrap();
            let (id, plain) = (number(&mut rng), round % 4 == 0);
            let ext = options(&mut rng, &headers);
            let call = Call {
                id,
                function: Text(&name),
                payload: Bin(&payload),
                ext: if plain { CallOptions::default() } else { ext },
            };
            let result = Outcome {
                id,
                payload: Bin(&payload),
                ..Outcome::default()
            };
            for frame in [call.to_frame(), result.to_frame()] {
                let body = &frame[HEADER_LEN..];
                let message = general(body);
                assert!(message.is_some());
                if name.len() <= 255 {
                    assert_eq!(read(body), message, "{body:02x?}");
                }
                // Whatever becomes of it on the way: never another message.
                let mut changed = body.to_vec();
                for _ in 0..40 {
                    let at = rng.next_u64() as usize % changed.len().min(60);
                    match rng.next_u64() % 4 {
                        0 => changed[at] = rng.next_u64() as u8,
                        1 => changed[at] ^= 1 << (rng.next_u64() % 8),
                        2 => changed.truncate(changed.len() - usize::from(changed.len() > 2)),
                        _ => changed.insert(at, rng.next_u64() as u8),
                    }
                    if let Some(message) = read(&changed) {
                        at_once += 1;
                        assert_eq!(Some(message), general(&changed), "{changed:02x?}");
                    }
                    if rng.next_u64() % 3 == 0 {
                        changed = body.to_vec();
                    }
                }
            }
        }
        assert!(
            at_once > 1_000,
            "{at_once} of the changed were read at once"
        );
    }

    #[test]
    fn the_same_key_twice_is_left_to_the_general_way() {
        let body = [0x95, 6, 1, 0xa1, b'f', 0xc4, 0, 0x82];
        let wait = [0xa4, b'w', b'a', b'i', b't', 0xc3];
        let body = [&body[..], &wait, &wait].concat();
        assert_eq!(read(&body), None);
        assert_eq!(general(&body), None);
    }

    #[test]
    fn what_is_written_is_what_the_general_way_writes() {
        let mut rng = StdRng::seed_from_u64(2);
        for _ in 0..3_000 {
            let (payload, headers) = (bytes(&mut rng), bytes(&mut rng));
            let (name, other) = (bytes(&mut rng), bytes(&mut rng));
            let (name, other) = (
                String::from_utf8(name).unwrap(),
                String::from_utf8(other).unwrap(),
            );
            let invoke = Invoke {
                id: number(&mut rng),
                function: Text(&name),
                timeout_ms: number(&mut rng),
                payload: Bin(&payload),
                ext: InvokeOptions {
                    caller: number(&mut rng) * (rng.next_u64() % 2),
                    caller_name: Text(&other),
                    headers: Bin(&headers),
                },
            };
            let mut out = vec![7];
            invoke.encode_fast(&mut out);
            assert_eq!(out[1..], invoke.to_frame());
            let result = Outcome {
                id: invoke.id,
                payload: Bin(&payload),
                ..Outcome::default()
            };
            out.truncate(1);
            Outcome::encode_fast(result.id, &payload, &mut out);
            assert_eq!(out[1..], result.to_frame());
            for revision in [number(&mut rng), 0] {
                let mut receipt = Outcome {
                    id: invoke.id,
                    ..Outcome::default()
                };
                receipt.ext.revision = Some(revision);
                out.truncate(1);
                Outcome::encode_acknowledgement(receipt.id, revision, &mut out);
                assert_eq!(out[1..], receipt.to_frame());
            }
        }
    }
}
