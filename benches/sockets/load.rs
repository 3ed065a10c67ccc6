//! Callers and providers on raw sockets, the same for every server: a pair of connections each, of which one calls
//! what the other answers. They move frames and ids and decode nothing; what a frame looks like, a [`Dialect`] says.
//! Always as many calls in flight as asked for: an answer makes the next call.

use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use callboard::protocol::{HEADER_LEN, Inbox};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use crate::exchange;

/// Bytes of a call's payload and of its result's.
pub(super) const PAYLOAD: [u8; 64] = [0x5a; 64];

/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;

/// The number of a call that is the only one on its connection.
const ONLY: u64 = 0;

/// More than the largest frame here.
const FRAME_MAX: usize = 1024;

/// The longest round trip that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Longer than any call takes.
const PATIENCE: Duration = Duration::from_secs(60);

const EVENTS_AT_ONCE: usize = 1024;

/// What the last bit of a token says.
const CALLER: usize = 0;
const PROVIDER: usize = 1;

/// What the frames of calls look like.
pub(super) trait Dialect {
    /// Keeps the beginning of a frame until its end has come.
    type Inbox: Default;

    /// The next whole frame, or what of it bears its id.
    fn next<'a, 'i: 'a>(inbox: &'a mut Self::Inbox, input: &mut &'i [u8]) -> Option<&'a [u8]>;

    /// The same of a frame that all the bytes are, if they are one.
    fn whole(bytes: &[u8]) -> Option<&[u8]>;

    /// Gives an answer's frame the id of what was asked.
    fn move_id(asked: &[u8], answer: &mut [u8]);

    /// Gives a call's frame this number.
    fn set_number(call: &mut [u8], number: u64);

    /// The number of the call that an answer ends.
    fn number(answer: &[u8]) -> u64;

    /// The payload that a frame ends with, of so many bytes.
    fn payload(frame: &[u8], length: usize) -> &[u8];
}

/// Callboard's frames, and the relay's.
pub(super) struct Frames;

impl Dialect for Frames {
    type Inbox = Inbox;

    fn next<'a, 'i: 'a>(inbox: &'a mut Inbox, input: &mut &'i [u8]) -> Option<&'a [u8]> {
        inbox.next(input, FRAME_MAX).expect("frames")
    }

    fn whole(bytes: &[u8]) -> Option<&[u8]> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        bytes.get(HEADER_LEN..HEADER_LEN + u32::from_be_bytes(*header) as usize)
    }

    fn move_id(asked: &[u8], answer: &mut [u8]) {
        exchange::move_id(asked, answer);
    }

    fn set_number(call: &mut [u8], number: u64) {
        exchange::set_number(call, number);
    }

    fn number(answer: &[u8]) -> u64 {
        exchange::number(answer)
    }

    fn payload(frame: &[u8], length: usize) -> &[u8] {
        &frame[frame.len() - length..]
    }
}

/// How the calls of a load are spread.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// One call at a time on one pair, everybody waiting in a read.
    One,
    /// So many pairs with one call at a time each.
    Pairs(usize),
    /// So many calls at a time on one pair, each frame written by itself.
    Single(usize),
    /// The same, and what one read brought is answered with one write.
    Gathered(usize),
}

impl Shape {
    /// Pairs that it takes.
    pub(super) fn pairs(self) -> usize {
        match self {
            Self::Pairs(pairs) => pairs,
            Self::One | Self::Single(_) | Self::Gathered(_) => 1,
        }
    }
}

/// What one run of a load came to.
pub(super) struct Run {
    pub(super) calls: u64,
    pub(super) took: Duration,
    /// Round trips in nanoseconds.
    pub(super) times: Histogram<u64>,
}

/// A caller and its provider.
pub(super) struct Pair<D: Dialect> {
    caller: Side<D>,
    provider: Side<D>,
}

/// One of a pair. `frame` is what it sends: a CALL, or a RESULT.
struct Side<D: Dialect> {
    socket: Socket,
    frame: Vec<u8>,
    inbox: D::Inbox,
    out: Vec<u8>,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Side<D> {
    fn new(socket: Socket, frame: Vec<u8>) -> Self {
        Self {
            socket,
            frame,
            inbox: D::Inbox::default(),
            out: Vec::new(),
            dialect: PhantomData,
        }
    }

    /// Sends what is in `out`.
    fn send(&mut self) {
        if !self.out.is_empty() {
            let n = self.socket.send(&self.out).expect("the server reads");
            assert_eq!(n, self.out.len(), "the socket's buffer holds all calls");
            self.out.clear();
        }
    }

    /// Puts what it sends, once more, into `out`.
    fn add(&mut self) {
        self.out.extend_from_slice(&self.frame);
    }

    /// Reads what there is; `next` is shown the body of each frame. What `next` added to `out` is sent, frame by
    /// frame or all of it together.
    fn react(
        &mut self,
        gathered: bool,
        scratch: &mut [u8],
        mut next: impl FnMut(&mut Self, &[u8]),
    ) {
        loop {
            let n = match self.socket.read(scratch) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a connection was lost: {error}"),
            };
            assert!(n > 0, "the server closed a connection");
            let mut inbox = std::mem::take(&mut self.inbox);
            let mut input = &scratch[..n];
            while let Some(body) = D::next(&mut inbox, &mut input) {
                next(self, body);
                if !gathered {
                    self.send();
                }
            }
            self.inbox = inbox;
            // A short read took all that there was; what comes after it is another event.
            if n < scratch.len() {
                break;
            }
        }
        self.send();
    }

    /// Waits for a frame, of which nothing else is on its way.
    fn receive(&mut self, scratch: &mut [u8]) -> usize {
        let mut held = 0;
        loop {
            let n = self.socket.read(&mut scratch[held..]).expect("an answer");
            assert!(n > 0, "the server closed the connection");
            held += n;
            if D::whole(&scratch[..held]).is_some() {
                return held;
            }
        }
    }
}

impl Pair<Frames> {
    /// A pair that calls `function`, which `provider` has registered.
    pub(super) fn new(caller: Socket, provider: Socket, function: &str) -> Self {
        let call = exchange::call(0, function, &PAYLOAD);
        Self::of(caller, call, provider, exchange::result(&PAYLOAD))
    }
}

impl<D: Dialect> Pair<D> {
    /// A pair that sends these frames, with ids that are to be set.
    pub(super) fn of(caller: Socket, call: Vec<u8>, provider: Socket, result: Vec<u8>) -> Self {
        Self {
            caller: Side::new(caller, call),
            provider: Side::new(provider, result),
        }
    }

    /// One call. Returns the sizes of the frames: CALL, INVOKE, RESULT, and RESULT again.
    pub(super) fn exchange(&mut self) -> [usize; 4] {
        let mut scratch = [0; FRAME_MAX];
        let (caller, provider) = (&mut self.caller, &mut self.provider);
        D::set_number(&mut caller.frame, ONLY);
        caller.socket.write_all(&caller.frame).expect("a reader");
        let invoke = provider.receive(&mut scratch);
        let asked = D::whole(&scratch[..invoke]).expect("all of it");
        D::move_id(asked, &mut provider.frame);
        let result = &provider.frame;
        provider.socket.write_all(result).expect("a reader");
        let end = caller.receive(&mut scratch);
        let answer = D::whole(&scratch[..end]).expect("all of it");
        assert_eq!(D::number(answer), ONLY);
        let asked = D::payload(&caller.frame, PAYLOAD.len());
        assert_eq!(D::payload(answer, PAYLOAD.len()), asked);
        [caller.frame.len(), invoke, provider.frame.len(), end]
    }

    fn block(&self, blocking: bool) {
        for side in [&self.caller, &self.provider] {
            side.socket.set_nonblocking(!blocking).expect("a socket");
        }
    }
}

/// Calls for so long. `pairs` has as many as the shape takes.
pub(super) fn run<D: Dialect>(pairs: &mut [Pair<D>], shape: Shape, length: Duration) -> Run {
    assert_eq!(pairs.len(), shape.pairs());
    match shape {
        Shape::One => one_by_one(&mut pairs[0], length),
        Shape::Pairs(_) => Crowd::new(pairs, 1, true).run(length),
        Shape::Single(calls) => Crowd::new(pairs, calls, false).run(length),
        Shape::Gathered(calls) => Crowd::new(pairs, calls, true).run(length),
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds")
}

fn one_by_one<D: Dialect>(pair: &mut Pair<D>, length: Duration) -> Run {
    pair.block(true);
    let mut times = histogram();
    let began = Instant::now();
    let mut before = began;
    while before - began < length {
        pair.exchange();
        let now = Instant::now();
        times.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    Run {
        calls: times.len(),
        took: before - began,
        times,
    }
}

/// Several calls at a time, by one thread.
struct Crowd<'a, D: Dialect> {
    pairs: &'a mut [Pair<D>],
    /// Calls at a time on each pair.
    each: usize,
    /// What one read brought is answered with one write.
    gathered: bool,
    poll: Poll,
    /// When the calls in flight were sent; `None` for one that has its end.
    sent: Vec<Option<Instant>>,
    times: Histogram<u64>,
}

impl<'a, D: Dialect> Crowd<'a, D> {
    fn new(pairs: &'a mut [Pair<D>], each: usize, gathered: bool) -> Self {
        let poll = Poll::new().expect("a poll");
        let registry = poll.registry();
        for (number, pair) in pairs.iter().enumerate() {
            pair.block(false);
            for (side, which) in [(&pair.caller, CALLER), (&pair.provider, PROVIDER)] {
                let mut source = SourceFd(&side.socket.as_raw_fd());
                registry
                    .register(&mut source, Token(2 * number + which), Interest::READABLE)
                    .expect("a socket");
            }
        }
        Self {
            sent: vec![None; pairs.len() * each],
            pairs,
            each,
            gathered,
            poll,
            times: histogram(),
        }
    }

    fn run(mut self, length: Duration) -> Run {
        let began = Instant::now();
        for (at, pair) in self.pairs.iter_mut().enumerate() {
            for number in 0..self.each {
                D::set_number(&mut pair.caller.frame, number as u64);
                pair.caller.add();
                self.sent[at * self.each + number] = Some(began);
                if !self.gathered {
                    pair.caller.send();
                }
            }
            pair.caller.send();
        }
        let mut waiting = self.sent.len();
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        let mut scratch = vec![0; SCRATCH];
        while waiting > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.expect("events"),
            }
            assert!(!events.is_empty(), "{waiting} calls have no end");
            for event in &events {
                let Token(token) = event.token();
                let pair = &mut self.pairs[token / 2];
                if token % 2 == PROVIDER {
                    pair.provider
                        .react(self.gathered, &mut scratch, |provider, invoke| {
                            D::move_id(invoke, &mut provider.frame);
                            provider.add();
                        });
                    continue;
                }
                let sent = &mut self.sent[token / 2 * self.each..][..self.each];
                let times = &mut self.times;
                pair.caller
                    .react(self.gathered, &mut scratch, |caller, result| {
                        let number = D::number(result);
                        let sent = &mut sent[number as usize];
                        let now = Instant::now();
                        let time = now - sent.take().expect("a call ends once");
                        times.saturating_record(time.as_nanos() as u64);
                        if now - began < length {
                            *sent = Some(now);
                            D::set_number(&mut caller.frame, number);
                            caller.add();
                        } else {
                            waiting -= 1;
                        }
                    });
            }
        }
        let took = began.elapsed();
        for pair in &*self.pairs {
            for side in [&pair.caller, &pair.provider] {
                let mut source = SourceFd(&side.socket.as_raw_fd());
                let registry = self.poll.registry();
                registry.deregister(&mut source).expect("it is registered");
            }
        }
        Run {
            calls: self.times.len(),
            took,
            times: self.times,
        }
    }
}
