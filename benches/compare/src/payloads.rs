//! Bare payloads, as the load that makes calls moves them through a relay that knows no frames: each message is a
//! payload and nothing else, and the first bytes of it are the number of the call.

use socket2::Socket;

use crate::load::{Dialect, PAYLOAD, Pair};

/// Bytes of a message.
const MESSAGE: usize = PAYLOAD.len();

/// Bytes of it that are the number.
const NUMBER: usize = size_of::<u64>();

/// A caller and a provider whom a relay has made mates.
pub(crate) fn pair(caller: Socket, provider: Socket) -> Pair<Payloads> {
    Pair::of(caller, PAYLOAD.to_vec(), provider, PAYLOAD.to_vec())
}

pub(crate) struct Payloads;

impl Dialect for Payloads {
    /// The beginning of a message, or one that was handed out.
    type Inbox = Vec<u8>;

    fn next<'a, 'i: 'a>(held: &'a mut Vec<u8>, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        if held.len() == MESSAGE {
            held.clear();
        }
        if held.is_empty()
            && let Some((message, rest)) = input.split_at_checked(MESSAGE)
        {
            *input = rest;
            return Some(message);
        }
        let missing = MESSAGE - held.len();
        let (piece, rest) = input.split_at(missing.min(input.len()));
        held.extend_from_slice(piece);
        *input = rest;
        (held.len() == MESSAGE).then_some(held)
    }

    fn whole(bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(..MESSAGE)
    }

    fn move_id(asked: &[u8], answer: &mut [u8]) {
        answer[..NUMBER].copy_from_slice(&asked[..NUMBER]);
    }

    fn set_number(call: &mut [u8], number: u64) {
        call[..NUMBER].copy_from_slice(&number.to_be_bytes());
    }

    fn number(answer: &[u8]) -> u64 {
        let number = answer.first_chunk().expect("a whole message");
        u64::from_be_bytes(*number)
    }

    fn payload(frame: &[u8], length: usize) -> &[u8] {
        &frame[frame.len() - length..]
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;
    use crate::load::{self, Shape};
    use crate::peer;
    use crate::relay::Relay;

    /// Nothing here takes so long.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// More than the sockets between two mates take.
    const FLOOD: usize = 32 << 20;

    /// The address of a bare relay, which runs until the tests end.
    fn relay() -> String {
        let mut relay = Relay::new(None).expect("a poll");
        let address = relay.listen("127.0.0.1:0").expect("a free port");
        std::thread::spawn(move || relay.run().expect("events"));
        address
    }

    /// A caller and its provider.
    fn mates(address: &str) -> [Socket; 2] {
        let provider = peer::connect(address);
        let mates = [peer::connect(address), provider];
        for socket in &mates {
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        }
        mates
    }

    #[test]
    fn a_number_travels_from_the_call_to_the_answer() {
        let (mut call, mut answer) = (PAYLOAD, PAYLOAD);
        Payloads::set_number(&mut call, 1_234_567_890_123);
        assert_eq!(Payloads::whole(&call), Some(&call[..]));
        assert_eq!(Payloads::whole(&call[1..]), None);
        Payloads::move_id(&call, &mut answer);
        assert_eq!(Payloads::number(&answer), 1_234_567_890_123);
        assert_eq!(Payloads::payload(&answer, PAYLOAD.len()), call);
        assert_eq!(answer[NUMBER..], PAYLOAD[NUMBER..]);
    }

    #[test]
    fn messages_are_found_in_any_pieces() {
        let messages = [0, 1, u64::MAX].map(|number| {
            let mut message = PAYLOAD;
            Payloads::set_number(&mut message, number);
            message
        });
        let stream = messages.concat();
        for size in 1..=stream.len() {
            let (mut inbox, mut found) = (Vec::new(), Vec::new());
            for mut piece in stream.chunks(size) {
                while let Some(message) = Payloads::next(&mut inbox, &mut piece) {
                    found.push(message.to_vec());
                }
                assert!(piece.is_empty(), "pieces of {size}");
            }
            assert_eq!(found, messages, "pieces of {size}");
        }
    }

    #[test]
    fn calls_of_all_shapes_end_through_a_bare_relay() {
        let address = relay();
        let pair = |_| {
            let [caller, provider] = mates(&address);
            pair(caller, provider)
        };
        let mut pairs: Vec<Pair<Payloads>> = (0..3).map(pair).collect();
        assert_eq!(pairs[0].exchange(), [MESSAGE; 4]);
        // With no time for more, each call that is in flight at once ends, and no other begins.
        for (shape, calls) in [
            (Shape::Pairs(3), 3),
            (Shape::Single(5), 5),
            (Shape::Gathered(5), 5),
        ] {
            let run = load::run(&mut pairs[..shape.pairs()], shape, Duration::ZERO);
            assert_eq!(run.calls, calls);
        }
    }

    #[test]
    fn a_bare_relay_keeps_what_a_mate_does_not_take_at_once() {
        let [mut caller, mut provider] = mates(&relay());
        let sent: Vec<u8> = (0..FLOOD).map(|at| (at % 251) as u8).collect();
        // The relay takes all of it while the provider reads nothing.
        caller.set_write_timeout(Some(PATIENCE)).expect("a socket");
        caller.write_all(&sent).expect("a relay that reads");
        let mut came = vec![0; FLOOD];
        provider.read_exact(&mut came).expect("all of it");
        assert!(came == sent, "the same bytes in the same order");
    }
}
