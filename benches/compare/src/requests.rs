//! Requests and replies of NATS, as the load that makes calls moves them: a request is published with a subject for its
//! answer, whose last digits are the number of the call. All subjects have the same length, so numbers stand at the
//! same places in all frames.

use crate::load::{Dialect, PAYLOAD};
use crate::wire::DIGITS;
use crate::wire::nats::{Said, said};

const CRLF: &[u8] = b"\r\n";

/// The subject that a pair's provider serves.
pub(crate) fn subject(pair: usize) -> String {
    format!("bench.echo{pair:03}")
}

/// What a pair's caller subscribes to: all answers to it.
pub(crate) fn answers(pair: usize) -> String {
    format!("_INBOX.p{pair:03}.*")
}

/// Bytes before the number, and with it, of a subject for an answer.
const BEFORE: usize = "_INBOX.p000.".len();
const ANSWER: usize = BEFORE + DIGITS;

/// A request of the pair's caller.
pub(crate) fn request(pair: usize) -> Vec<u8> {
    let (subject, answer) = (subject(pair), answer(pair));
    frame(&format!("PUB {subject} {answer} {}", PAYLOAD.len()))
}

/// A reply of its provider.
pub(crate) fn reply(pair: usize) -> Vec<u8> {
    frame(&format!("PUB {} {}", answer(pair), PAYLOAD.len()))
}

fn answer(pair: usize) -> String {
    format!("_INBOX.p{pair:03}.{:0DIGITS$}", 0)
}

fn frame(line: &str) -> Vec<u8> {
    [line.as_bytes(), CRLF, &PAYLOAD, CRLF].concat()
}

/// Where the subject for the answer stands in a request that is published, in one that is delivered, in a reply that is
/// published, and in one that is delivered.
const IN_REQUEST: usize = "PUB bench.echo000 ".len();
const IN_DELIVERED: usize = "MSG bench.echo000 1 ".len();
const IN_REPLY: usize = "PUB ".len();
const IN_ANSWER: usize = "MSG ".len();

pub(crate) struct Requests;

/// What has come and was not handed out yet: nothing, or whole messages and the beginning of one.
#[derive(Default)]
pub(crate) struct Inbox {
    held: Vec<u8>,
    at: usize,
}

impl Dialect for Requests {
    type Inbox = Inbox;

    fn next<'a, 'i: 'a>(inbox: &'a mut Inbox, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if inbox.at == inbox.held.len() {
            inbox.held.clear();
            inbox.at = 0;
            let Some(end) = end(input) else {
                inbox.held.extend_from_slice(input);
                *input = &[];
                return None;
            };
            let (message, rest) = input.split_at(end);
            *input = rest;
            return Some(message);
        }
        inbox.held.extend_from_slice(input);
        *input = &[];
        let from = inbox.at;
        let Some(length) = end(&inbox.held[from..]) else {
            inbox.held.drain(..from);
            inbox.at = 0;
            return None;
        };
        inbox.at += length;
        Some(&inbox.held[from..inbox.at])
    }

    fn whole(bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(..end(bytes)?)
    }

    fn move_id(asked: &[u8], answer: &mut [u8]) {
        let subject = &asked[IN_DELIVERED..][..ANSWER];
        answer[IN_REPLY..][..ANSWER].copy_from_slice(subject);
    }

    fn set_number(call: &mut [u8], number: u64) {
        let mut rest = number;
        for digit in call[IN_REQUEST + BEFORE..][..DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    fn number(answer: &[u8]) -> u64 {
        let digits = &answer[IN_ANSWER + BEFORE..][..DIGITS];
        let add = |number, digit: &u8| number * 10 + u64::from(digit - b'0');
        digits.iter().fold(0, add)
    }

    fn payload(frame: &[u8], length: usize) -> &[u8] {
        &frame[frame.len() - CRLF.len() - length..][..length]
    }
}

/// The end of the message that some bytes begin with. Nothing but messages comes once all is set up.
fn end(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    match said(bytes).expect("NATS's protocol") {
        Some((Said::Message { .. }, end)) => Some(end),
        Some((other, _)) => panic!("in the middle of calls: {other:?}"),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server makes of something that was published.
    fn delivered(published: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(published).unwrap();
        let (line, payload) = text.split_once("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let rest = words[1..].join(" ");
        format!("MSG {} 1 {rest}\r\n{payload}", words[0]).into_bytes()
    }

    #[test]
    fn a_number_travels_from_the_request_to_the_answer() {
        let (mut request, mut reply) = (request(7), reply(7));
        Requests::set_number(&mut request, 1_234);
        let asked = delivered(&request);
        assert_eq!(Requests::whole(&asked), Some(&asked[..]));
        Requests::move_id(&asked, &mut reply);
        let answer = delivered(&reply);
        assert_eq!(Requests::number(&answer), 1_234);
        assert_eq!(Requests::payload(&answer, PAYLOAD.len()), PAYLOAD);
    }

    #[test]
    fn messages_are_found_in_any_pieces() {
        let messages: Vec<Vec<u8>> = (0..3)
            .map(|number| {
                let mut request = request(0);
                Requests::set_number(&mut request, number);
                delivered(&request)
            })
            .collect();
        let stream = messages.concat();
        for size in 1..stream.len() {
            let (mut inbox, mut found) = (Inbox::default(), Vec::new());
            for mut piece in stream.chunks(size) {
                while let Some(message) = Requests::next(&mut inbox, &mut piece) {
                    found.push(message.to_vec());
                }
            }
            assert_eq!(found, messages, "pieces of {size}");
        }
    }
}
