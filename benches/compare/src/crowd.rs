//! The load: any number of watchers and one publisher on sockets of one target, in one thread and one loop, the same
//! for every target. It notes when a read brought what, and checks that each watcher gets each publication once and
//! in order. Decides nothing about what is published.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::target::Target;
use crate::wire::{Fault, News, Reader, TOGGLED, Tongue};

/// Longer than any one step takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;

const EVENTS_AT_ONCE: usize = 1024;

const PUBLISHER: Token = Token(usize::MAX - 1);

pub(crate) struct Crowd {
    pub(crate) tongue: Tongue,
    poll: Poll,
    events: Events,
    watchers: Vec<Watcher>,
    publisher: Option<Publisher>,
    scratch: Vec<u8>,
    answers: Vec<u8>,
}

struct Watcher {
    stream: TcpStream,
    reader: Reader,
    ready: bool,
    /// The publication that comes next, and those behind it that are there already.
    next: u64,
    ahead: BTreeSet<u64>,
    /// Whether what comes and goes is there.
    toggled: bool,
    /// How many are gone again.
    gone: u64,
    bytes: u64,
    /// Whether publications come in the order in which they were made.
    ordered: bool,
    asleep: bool,
}

struct Publisher {
    stream: TcpStream,
    reader: Reader,
    ready: bool,
    /// What the socket did not take yet.
    out: Vec<u8>,
    /// Publications so far, and how many of these were answered.
    sent: u64,
    answered: u64,
    /// Those that leave with it.
    standing: u64,
}

/// A publication has reached a watcher, and all before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) number: u64,
    /// When the read that brought it returned.
    pub(crate) at: Instant,
}

impl Crowd {
    /// Watchers that have all joined, and no publisher.
    pub(crate) fn join(target: &Target, watchers: usize) -> Result<Self, Fault> {
        let mut crowd = Self {
            tongue: target.tongue,
            poll: Poll::new().map_err(|error| error.to_string())?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            watchers: Vec::new(),
            publisher: None,
            scratch: vec![0; SCRATCH],
            answers: Vec::new(),
        };
        for key in 0..watchers {
            let stream = crowd.connect(target, Token(key), &crowd.tongue.watch())?;
            crowd.watchers.push(Watcher {
                stream,
                reader: Reader::new(crowd.tongue, true),
                ready: false,
                next: 1,
                ahead: BTreeSet::new(),
                toggled: false,
                gone: 0,
                bytes: 0,
                ordered: target.tongue.is_ordered(),
                asleep: false,
            });
            // In step with the server, so that no queue of connections overflows.
            crowd.until(|crowd| crowd.watchers[key].ready)?;
        }
        Ok(crowd)
    }

    /// A publisher joins, whose publications are counted from 1. One that there was goes first.
    pub(crate) fn new_publisher(&mut self, target: &Target) -> Result<(), Fault> {
        self.end_publisher()?;
        let stream = self.connect(target, PUBLISHER, &self.tongue.greet())?;
        self.publisher = Some(Publisher {
            stream,
            reader: Reader::new(self.tongue, false),
            ready: false,
            out: Vec::new(),
            sent: 0,
            standing: 0,
            answered: 0,
        });
        for watcher in &mut self.watchers {
            (watcher.next, watcher.gone) = (1, 0);
        }
        self.until(|crowd| crowd.publisher().ready)
    }

    /// The publisher goes. Waits until all watchers have seen all that it published leave, where that is what
    /// happens then.
    pub(crate) fn end_publisher(&mut self) -> Result<(), Fault> {
        let Some(publisher) = self.publisher.take() else {
            return Ok(());
        };
        let standing = publisher.standing;
        drop(publisher);
        if self.tongue == Tongue::Callboard {
            let awake = |watcher: &Watcher| !watcher.asleep;
            self.until(|crowd| {
                let mut awake = crowd.watchers.iter().filter(|it| awake(it));
                awake.all(|watcher| watcher.gone == standing)
            })?;
        }
        Ok(())
    }

    fn connect(&self, target: &Target, token: Token, hello: &[u8]) -> Result<TcpStream, Fault> {
        let connect = || {
            let mut stream = std::net::TcpStream::connect(target.address)?;
            stream.set_nodelay(true)?;
            stream.write_all(hello)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            Ok(stream)
        };
        connect().map_err(|error: std::io::Error| format!("{}: {error}", target.name))
    }

    fn publisher(&mut self) -> &mut Publisher {
        self.publisher.as_mut().expect("a publisher")
    }

    /// Turns the loop until something holds, while nothing is published.
    pub(crate) fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> Result<(), Fault> {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() > until {
                return Err("it takes too long".to_owned());
            }
            self.turn(Duration::from_millis(50), &mut |_| {})?;
        }
        Ok(())
    }

    /// These do not read any more.
    pub(crate) fn put_to_sleep(&mut self, count: usize) {
        for watcher in self.watchers.iter_mut().rev().take(count) {
            watcher.asleep = true;
            let registry = self.poll.registry();
            registry
                .deregister(&mut watcher.stream)
                .expect("it is registered");
        }
    }

    /// Sends so many further publications in one write. Returns the number of the last one.
    pub(crate) fn publish(&mut self, count: u64) -> Result<u64, Fault> {
        let tongue = self.tongue;
        self.publish_with(count, |number, out| tongue.publish(number, out))
    }

    /// The same, with something else in place of publications.
    pub(crate) fn publish_with(
        &mut self,
        count: u64,
        publication: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<u64, Fault> {
        self.publisher().standing += count;
        self.request(count, publication)
    }

    /// Sends so many requests that publish nothing that stays.
    pub(crate) fn request(
        &mut self,
        count: u64,
        mut publication: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<u64, Fault> {
        let publisher = self.publisher();
        for _ in 0..count {
            publisher.sent += 1;
            publication(publisher.sent, &mut publisher.out);
        }
        publisher.flush()?;
        Ok(publisher.sent)
    }

    /// Publications that were answered so far; all of them where there are no answers.
    pub(crate) fn answered(&mut self) -> u64 {
        let answers = self.tongue.answers();
        let publisher = self.publisher();
        if answers {
            publisher.answered
        } else {
            publisher.sent
        }
    }

    /// Bytes that all watchers have read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.watchers.iter().map(|watcher| watcher.bytes).sum()
    }

    /// The numbers go on after those that were used for something else.
    pub(crate) fn skip_to(&mut self, number: u64) {
        for watcher in &mut self.watchers {
            watcher.next = number;
        }
    }

    /// Waits for what comes, at most so long, and takes it in. `heard` is told of each publication that reaches a
    /// watcher.
    pub(crate) fn turn(
        &mut self,
        patience: Duration,
        heard: &mut dyn FnMut(Heard),
    ) -> Result<(), Fault> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(|error| error.to_string())?,
        }
        for event in &self.events {
            let Token(key) = event.token();
            if event.token() == PUBLISHER {
                if let Some(publisher) = &mut self.publisher {
                    if event.is_writable() {
                        publisher.flush()?;
                    }
                    if event.is_readable() {
                        publisher.read(&mut self.scratch, &mut self.answers)?;
                    }
                }
            } else if event.is_readable() && !self.watchers[key].asleep {
                let watcher = &mut self.watchers[key];
                watcher.read(key, &mut self.scratch, &mut self.answers, heard)?;
            }
        }
        Ok(())
    }
}

/// Reads all that there is; `take` gets it piece by piece, with the time.
fn drain(
    stream: &mut TcpStream,
    scratch: &mut [u8],
    mut take: impl FnMut(&[u8], Instant) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        match stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(n) => {
                take(&scratch[..n], Instant::now())?;
                // A short read took all that there was; what comes after it is another event.
                if n < scratch.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("a connection was lost: {error}")),
        }
    }
}

impl Watcher {
    fn read(
        &mut self,
        key: usize,
        scratch: &mut [u8],
        answers: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard),
    ) -> Result<(), Fault> {
        let ordered = self.ordered;
        let Self {
            stream,
            reader,
            ready,
            next,
            ahead,
            toggled,
            gone,
            bytes,
            ..
        } = self;
        drain(stream, scratch, |piece, at| {
            *bytes += piece.len() as u64;
            reader.read(piece, answers, &mut |news| {
                match news {
                    News::Ready => *ready = true,
                    // The number of these is not known beforehand; but one leads on from the other.
                    News::Entry(TOGGLED) | News::Gone(TOGGLED) | News::Updated(TOGGLED)
                        if *ready =>
                    {
                        let was_there = matches!(news, News::Gone(_) | News::Updated(_));
                        let before = std::mem::replace(toggled, !matches!(news, News::Gone(_)));
                        if before != was_there {
                            return Err(format!("watcher {key} was told twice: {news:?}"));
                        }
                        heard(Heard {
                            number: TOGGLED,
                            at,
                        });
                    }
                    News::Entry(number) if *ready => {
                        if number < *next || (number > *next && ordered) || !ahead.insert(number) {
                            return Err(format!(
                                "watcher {key} got publication {number} and not {next}"
                            ));
                        }
                        while ahead.remove(next) {
                            heard(Heard { number: *next, at });
                            *next += 1;
                        }
                    }
                    // A snapshot's.
                    News::Entry(_) => {}
                    News::Gone(_) => *gone += 1,
                    News::Updated(number) => {
                        return Err(format!("watcher {key} was told an update of {number}"));
                    }
                    News::Done => return Err("a watcher asked for nothing".to_owned()),
                }
                Ok(())
            })
        })?;
        answer(stream, answers)
    }
}

impl Publisher {
    fn flush(&mut self) -> Result<(), Fault> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("the publisher was lost: {error}")),
            }
        }
        Ok(())
    }

    fn read(&mut self, scratch: &mut [u8], answers: &mut Vec<u8>) -> Result<(), Fault> {
        let Self {
            stream,
            reader,
            ready,
            answered,
            ..
        } = self;
        drain(stream, scratch, |piece, _| {
            reader.read(piece, answers, &mut |news| {
                match news {
                    News::Ready => *ready = true,
                    News::Done => *answered += 1,
                    _ => return Err("a publisher watches nothing".to_owned()),
                }
                Ok(())
            })
        })?;
        self.out.append(answers);
        self.flush()
    }
}

/// Says what the protocol wants to have said. It is little and rare: a socket's buffer holds it.
fn answer(stream: &mut TcpStream, answers: &mut Vec<u8>) -> Result<(), Fault> {
    if answers.is_empty() {
        return Ok(());
    }
    let n = stream.write(answers).map_err(|error| error.to_string())?;
    if n < answers.len() {
        return Err("a socket's buffer is full of answers".to_owned());
    }
    answers.clear();
    Ok(())
}
