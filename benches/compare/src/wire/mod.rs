//! What the targets speak. A [`Tongue`] knows what a watcher and a publisher say first and how a publication looks;
//! a [`Reader`] finds in the bytes of one connection what was delivered to it. All of them serve the same loop
//! (`crowd.rs`) and cost it about the same. Opens no socket and reads no clock.

mod arrival;
mod callboard;
mod carry;
pub(crate) mod etcd;
mod http2;
pub(crate) mod nats;
mod raw;
mod redis;

pub(crate) use arrival::{Arrival, join, joined_board};
pub(crate) use callboard::{
    Reader as CallboardReader, Skimmed, Skimmer, register, register_batch, toggle,
};
pub(crate) use carry::Carry;
pub(crate) use etcd::put;
pub(crate) use raw::{HEADER, HELLO, JOINER, PUBLISHER, READY, WATCHER, joiner, read_first};

/// Bytes that one delivered change takes on the wire of every target, its envelope included.
pub(crate) const FRAME: usize = 160;

/// Digits of the number that names a publication, wherever it stands.
pub(crate) const DIGITS: usize = 10;

/// The number of what comes and goes.
pub(crate) const TOGGLED: u64 = 0;

/// Something that a connection was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It is greeted, or sees the board: later publications reach it.
    Ready,
    /// The publication of this number.
    Entry(u64),
    /// What was published under this number is gone.
    Gone(u64),
    /// The entry of this number is there, as before, and may look different: what came of a change and its
    /// opposite, to a reader who was behind both.
    Updated(u64),
    /// One of its requests ended well.
    Done,
}

/// Why a connection is of no use any more: the target said something that it should not have.
pub(crate) type Fault = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tongue {
    /// Frames of the floor.
    Raw,
    Callboard,
    Redis,
    Nats,
    Etcd,
}

impl Tongue {
    /// What a watcher says first. [`News::Ready`] answers it.
    pub(crate) fn watch(self) -> Vec<u8> {
        match self {
            Self::Raw => raw::hello(WATCHER),
            Self::Callboard => callboard::hello(true),
            Self::Redis => redis::subscribe(),
            Self::Nats => nats::subscribe(),
            Self::Etcd => etcd::watch(),
        }
    }

    /// What a publisher says first. [`News::Ready`] answers it.
    pub(crate) fn greet(self) -> Vec<u8> {
        match self {
            Self::Raw => raw::hello(PUBLISHER),
            Self::Callboard => callboard::hello(false),
            Self::Redis => redis::ping(),
            Self::Nats => nats::greet(),
            Self::Etcd => etcd::greet(),
        }
    }

    /// Appends the publication of a number. Numbers of one connection begin with 1 and leave none out.
    pub(crate) fn publish(self, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Raw => raw::publish(number, out),
            Self::Callboard => callboard::publish(number, out),
            Self::Redis => redis::publish(number, out),
            Self::Nats => nats::publish(number, out),
            Self::Etcd => etcd::publish(number, out),
        }
    }

    /// Whether publications of one connection that are on their way together arrive in their order. gRPC's calls have
    /// none.
    pub(crate) fn is_ordered(self) -> bool {
        self != Self::Etcd
    }

    /// Whether each publication is acknowledged to its publisher.
    pub(crate) fn answers(self) -> bool {
        matches!(self, Self::Callboard | Self::Redis | Self::Etcd)
    }
}

/// What has come over one connection, and what it means.
pub(crate) enum Reader {
    Raw(raw::Reader),
    Callboard(callboard::Reader),
    Redis(redis::Reader),
    Nats(nats::Reader),
    Etcd(etcd::Reader),
}

impl Reader {
    /// Of a connection that watches, or of one that publishes.
    pub(crate) fn new(tongue: Tongue, watching: bool) -> Self {
        match tongue {
            Tongue::Raw => Self::Raw(raw::Reader::default()),
            Tongue::Callboard => Self::Callboard(callboard::Reader::new(watching)),
            Tongue::Redis => Self::Redis(redis::Reader::default()),
            Tongue::Nats => Self::Nats(nats::Reader::default()),
            Tongue::Etcd => Self::Etcd(etcd::Reader::default()),
        }
    }

    /// Takes in what came; `news` hears of it in order. What the protocol wants to have answered is appended to
    /// `answers`.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Self::Raw(reader) => reader.read(bytes, news),
            Self::Callboard(reader) => reader.read(bytes, answers, news),
            Self::Redis(reader) => reader.read(bytes, news),
            Self::Nats(reader) => reader.read(bytes, answers, news),
            Self::Etcd(reader) => reader.read(bytes, answers, news),
        }
    }
}

/// Appends a number as [`DIGITS`] digits.
fn put_number(number: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    write!(out, "{number:0DIGITS$}").expect("memory");
}

/// Appends the number and so many dots that it becomes this many bytes.
fn put_padded(number: u64, length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    put_number(number, out);
    out.resize(end, b'.');
}

/// The number that some bytes begin with.
fn number_at_start(bytes: &[u8]) -> Result<u64, Fault> {
    let digits = bytes.get(..DIGITS);
    let number = digits.and_then(|digits| {
        digits.iter().try_fold(0, |number: u64, &digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u64::from(digit - b'0'))
        })
    });
    number.ok_or_else(|| format!("no number: {}", shown(bytes)))
}

/// The number that some bytes end with.
fn number_at_end(bytes: &[u8]) -> Result<u64, Fault> {
    number_at_start(&bytes[bytes.len().saturating_sub(DIGITS)..])
}

/// The beginning of some bytes, for people.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(60)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reader is given this stream whole, and split in two at each place.
    pub(super) fn in_pieces(tongue: Tongue, stream: &[u8], wanted: &[News]) {
        for at in 0..=stream.len() {
            let mut reader = Reader::new(tongue, true);
            let mut heard = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                let mut news = |it| {
                    heard.push(it);
                    Ok(())
                };
                reader.read(piece, &mut Vec::new(), &mut news).unwrap();
            }
            assert_eq!(heard, wanted, "split at {at}");
        }
    }

    /// What a reader says to a stream that breaks the rules.
    pub(super) fn fault(tongue: Tongue, stream: &[u8]) -> Fault {
        let mut reader = Reader::new(tongue, true);
        let read = reader.read(stream, &mut Vec::new(), &mut |_| Ok(()));
        read.expect_err("it breaks the rules")
    }

    #[test]
    fn numbers_are_found_at_both_ends() {
        let mut out = b"orders::".to_vec();
        put_number(4_200_000_042, &mut out);
        assert_eq!(number_at_end(&out), Ok(4_200_000_042));
        assert_eq!(number_at_start(&out[8..]), Ok(4_200_000_042));
        assert!(number_at_start(&out).is_err());
        assert!(number_at_end(b"123").is_err());
    }
}
