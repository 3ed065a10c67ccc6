//! One of the fleet calls another, always with the same number of calls in flight: each turn of the pair makes a
//! call and answers the oldest. Allocates nothing itself once it runs.

use std::collections::VecDeque;

use callboard::engine::ConnId;
use callboard::protocol::HEADER_LEN;

use super::{Fleet, exchange, hello, register};

const FUNCTION: &str = "calls::echo";

const PAYLOAD: [u8; 64] = [0x5a; 64];

/// A caller and its provider.
pub(crate) struct Calls {
    caller: ConnId,
    provider: ConnId,
    in_flight: usize,
    call: Vec<u8>,
    made: u64,
    /// The answers to the calls in flight, the oldest first.
    owed: VecDeque<Vec<u8>>,
    /// An answer that was sent: its memory is for the next.
    spare: Vec<u8>,
}

impl Calls {
    /// Two who join the fleet and keep so many calls in flight between them, at least one.
    pub(crate) fn begin(fleet: &mut Fleet, in_flight: usize) -> Self {
        let hello = hello(false);
        let (caller, provider) = (fleet.join(&hello), fleet.join(&hello));
        fleet.say(provider, &register([FUNCTION].into_iter()));
        fleet.listening = Some(provider);
        let mut calls = Self {
            caller,
            provider,
            in_flight,
            call: exchange::call(0, FUNCTION, &PAYLOAD),
            made: 0,
            owed: VecDeque::with_capacity(in_flight),
            spare: exchange::result(&PAYLOAD),
        };
        while calls.owed.len() + 1 < in_flight {
            let next = calls.spare.clone();
            calls.make(fleet);
            calls.spare = next;
        }
        assert_eq!(fleet.engine.stats().calls, in_flight as u64 - 1);
        calls
    }

    /// Makes a call and has the oldest answered: CALL, INVOKE, RESULT and RESULT.
    pub(crate) fn turn(&mut self, fleet: &mut Fleet) {
        let (writes, bytes) = (fleet.writes, fleet.bytes);
        self.make(fleet);
        self.spare = self.owed.pop_front().expect("the one just made, at least");
        fleet.say(self.provider, &self.spare);
        assert_eq!(fleet.writes - writes, 2, "an INVOKE and a RESULT");
        let written = fleet.heard.len() + self.spare.len();
        assert_eq!(fleet.bytes - bytes, written as u64);
    }

    /// Makes a call; what its provider hears becomes an answer that is owed.
    fn make(&mut self, fleet: &mut Fleet) {
        exchange::set_number(&mut self.call, self.made % self.in_flight as u64);
        self.made += 1;
        fleet.say(self.caller, &self.call);
        let mut answer = std::mem::take(&mut self.spare);
        exchange::move_id(&fleet.heard[HEADER_LEN..], &mut answer);
        self.owed.push_back(answer);
    }
}

/// A caller that makes so many calls at once, and a provider that answers them at once: two turns, whatever their
/// number.
pub(crate) struct Gathered {
    caller: ConnId,
    provider: ConnId,
    /// The CALLs of a round.
    calls: Vec<u8>,
    /// The RESULTs of a round.
    answers: Vec<u8>,
    /// Bytes of one of these.
    answer: usize,
}

impl Gathered {
    /// Two who join the fleet.
    pub(crate) fn begin(fleet: &mut Fleet, count: usize) -> Self {
        let hello = hello(false);
        let (caller, provider) = (fleet.join(&hello), fleet.join(&hello));
        fleet.say(provider, &register([FUNCTION].into_iter()));
        fleet.listening = Some(provider);
        let calls = (0..count as u64).flat_map(|number| exchange::call(number, FUNCTION, &PAYLOAD));
        let answer = exchange::result(&PAYLOAD);
        Self {
            caller,
            provider,
            calls: calls.collect(),
            answers: answer.repeat(count),
            answer: answer.len(),
        }
    }

    /// All calls, and all answers.
    pub(crate) fn turn(&mut self, fleet: &mut Fleet) {
        fleet.say(self.caller, &self.calls);
        let mut invokes = &*fleet.heard;
        for answer in self.answers.chunks_exact_mut(self.answer) {
            let (header, rest) = invokes.split_at(HEADER_LEN);
            let len = u32::from_be_bytes(header.try_into().expect("four bytes")) as usize;
            let (body, rest) = rest.split_at(len);
            exchange::move_id(body, answer);
            invokes = rest;
        }
        assert!(invokes.is_empty(), "an INVOKE for each CALL");
        let bytes = fleet.bytes;
        fleet.say(self.provider, &self.answers);
        assert_eq!(fleet.bytes - bytes, self.answers.len() as u64);
    }
}
