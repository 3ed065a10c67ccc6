//! The text protocol of NATS, as much of it as publishing, subscribing, requests and replies take.

use std::io::Write;

use super::carry::{decimal, line_end};
use super::{Carry, FRAME, Fault, News, number_at_start, put_padded, shown};

const SUBJECT: &str = "board";

/// Bytes around a payload: `MSG board 1 N payload`.
const ENVELOPE: usize = "MSG board 1 140\r\n".len() + 2;

const PAYLOAD: usize = FRAME - ENVELOPE;

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
                       \"lang\":\"rust\",\"version\":\"0\",\"protocol\":1}\r\n";

pub(super) fn subscribe() -> Vec<u8> {
    subscription(SUBJECT)
}

/// A connection's first bytes, with a subscription; PONG, hence [`News::Ready`], answers them.
pub(crate) fn subscription(subject: &str) -> Vec<u8> {
    format!("{CONNECT}SUB {subject} 1\r\nPING\r\n").into_bytes()
}

pub(super) fn greet() -> Vec<u8> {
    format!("{CONNECT}PING\r\n").into_bytes()
}

pub(super) fn publish(number: u64, out: &mut Vec<u8>) {
    write!(out, "PUB {SUBJECT} {PAYLOAD}\r\n").expect("memory");
    put_padded(number, PAYLOAD, out);
    out.extend_from_slice(b"\r\n");
}

/// One thing that the server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Info,
    Ping,
    Pong,
    Message {
        subject: &'a [u8],
        /// Where an answer goes; empty when none is asked for.
        reply: &'a [u8],
        payload: &'a [u8],
    },
}

/// What some bytes begin with, and where it ends.
pub(crate) fn said(bytes: &[u8]) -> Result<Option<(Said<'_>, usize)>, Fault> {
    let Some(end) = line_end(bytes) else {
        return Ok(None);
    };
    let line = &bytes[..end - 2];
    let said = match line {
        b"PING" => Said::Ping,
        b"PONG" => Said::Pong,
        _ if line.starts_with(b"INFO ") => Said::Info,
        _ => {
            let broken = || format!("unexpected: {}", shown(bytes));
            let rest = line.strip_prefix(b"MSG ").ok_or_else(broken)?;
            let mut words = rest.split(|&byte| byte == b' ');
            let mut word = || words.next().ok_or_else(broken);
            let (subject, _sid, third) = (word()?, word()?, word()?);
            let (reply, length) = match words.next() {
                Some(length) => (third, length),
                None => (&b""[..], third),
            };
            let length = decimal(length).ok_or_else(broken)?;
            let Some(payload) = bytes.get(end..end + length + 2) else {
                return Ok(None);
            };
            let message = Said::Message {
                subject,
                reply,
                payload: &payload[..length],
            };
            return Ok(Some((message, end + length + 2)));
        }
    };
    Ok(Some((said, end)))
}

#[derive(Default)]
pub(crate) struct Reader {
    carry: Carry,
}

impl Reader {
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.carry.cut(bytes, |bytes| {
            let Some((said, end)) = said(bytes)? else {
                return Ok(None);
            };
            match said {
                Said::Info => {}
                Said::Ping => answers.extend_from_slice(b"PONG\r\n"),
                Said::Pong => news(News::Ready)?,
                Said::Message { payload, .. } => news(News::Entry(number_at_start(payload)?))?,
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
        text.replace("PUB board", "MSG board 1").into_bytes()
    }

    #[test]
    fn what_is_published_is_found_in_any_pieces() {
        assert_eq!(message(1).len(), FRAME);
        let stream = [
            b"INFO {\"server_id\":\"x\"}\r\nPONG\r\n".to_vec(),
            message(7),
            b"PING\r\n".to_vec(),
            message(8),
        ];
        let wanted = [News::Ready, News::Entry(7), News::Entry(8)];
        in_pieces(Tongue::Nats, &stream.concat(), &wanted);
    }

    #[test]
    fn a_ping_is_answered() {
        let mut answers = Vec::new();
        let mut reader = Reader::default();
        reader
            .read(b"PING\r\n", &mut answers, &mut |_| Ok(()))
            .unwrap();
        assert_eq!(answers, b"PONG\r\n");
    }

    #[test]
    fn a_request_says_where_its_answer_goes() {
        let bytes = b"MSG echo 1 _INBOX.x.7 2\r\nhi\r\nMSG";
        let message = Said::Message {
            subject: b"echo",
            reply: b"_INBOX.x.7",
            payload: b"hi",
        };
        assert_eq!(said(bytes), Ok(Some((message, bytes.len() - 3))));
    }

    #[test]
    fn errors_are_faults() {
        let said = fault(Tongue::Nats, b"-ERR 'maximum connections exceeded'\r\n");
        assert!(said.contains("maximum connections"));
    }
}
