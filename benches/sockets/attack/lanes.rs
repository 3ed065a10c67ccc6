//! The attackers' connections, driven by one thread with one poll: each does what its plan says, as fast as the engine
//! takes it. Decodes nothing unless a plan listens.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::protocol::Inbox;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::link::{FRAME_MAX, Link, is_early};
use super::plan::{Next, Plan};

const SCRATCH: usize = 256 * 1024;

/// What a connection may write, and how often it may read, before others have their turn.
const WRITES_AT_ONCE: usize = 256 * 1024;
const READS_AT_ONCE: usize = 4;

/// Enough to saturate an engine; by default, 1,500 floods would hold gigabytes of the kernel's memory.
const SEND_BUFFER: usize = 128 * 1024;

const EVENTS_AT_ONCE: usize = 4096;

/// The longest sleep of the loop.
const LOOK: Duration = Duration::from_millis(100);

/// Before the next attempt of a connection that could not be opened.
const RETRY: Duration = Duration::from_millis(10);

/// What the poll said last of a socket.
#[derive(Default)]
struct Ready {
    readable: bool,
    writable: bool,
}

/// One attacking connection.
pub(super) struct Lane {
    socket: Option<Socket>,
    plan: Box<dyn Plan>,
    out: Arc<[u8]>,
    at: usize,
    inbox: Inbox,
    ready: Ready,
    queued: bool,
    ended: bool,
    wake: Option<Instant>,
}

impl Lane {
    /// One that has joined, or is yet to connect.
    pub(super) fn new(link: Option<Link>, plan: impl Plan + 'static) -> Self {
        Self {
            socket: link.map(Link::into_socket),
            plan: Box::new(plan),
            out: Arc::from([]),
            at: 0,
            inbox: Inbox::default(),
            ready: Ready::default(),
            queued: false,
            ended: false,
            wake: None,
        }
    }

    /// Forgets the connection.
    fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            // A port in TIME_WAIT could not be used again.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
        (self.out, self.at) = (Arc::from([]), 0);
        self.inbox = Inbox::default();
        self.ready = Ready::default();
    }

    /// Reads what there is, within bounds; false when the connection has ended.
    fn read(&mut self, scratch: &mut [u8]) -> bool {
        for _ in 0..READS_AT_ONCE {
            let Some(socket) = &mut self.socket else {
                return true;
            };
            let n = match socket.read(scratch) {
                Ok(0) => return false,
                Ok(n) => n,
                Err(error) if is_early(&error) => {
                    self.ready.readable = false;
                    return true;
                }
                Err(_) => return false,
            };
            if !self.plan.listens() {
                continue;
            }
            let mut input = &scratch[..n];
            loop {
                match self.inbox.next(&mut input, FRAME_MAX) {
                    Ok(Some(body)) => self.plan.hear(body),
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
        }
        true
    }
}

/// How a lane stands after its step.
enum Step {
    /// It waits for its socket, for a frame, or for nothing at all.
    Waits,
    /// It waits for this moment.
    Sleeps(Instant),
    /// It has more to do.
    More,
    Lost,
}

/// What came of it, for the curious.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) written: u64,
    pub(super) read_times: u64,
    pub(super) connected: u64,
    pub(super) lost: u64,
}

pub(super) struct Crowd {
    poll: Poll,
    address: SocketAddr,
    lanes: Vec<Lane>,
    hot: VecDeque<usize>,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    tally: Tally,
}

impl Crowd {
    pub(super) fn new(address: &str, lanes: Vec<Lane>) -> Self {
        let mut crowd = Self {
            poll: Poll::new().expect("a poll"),
            address: address.parse().expect("an address"),
            hot: VecDeque::new(),
            wakes: BinaryHeap::new(),
            lanes,
            tally: Tally::default(),
        };
        for number in 0..crowd.lanes.len() {
            crowd.watch(number);
            crowd.queue(number);
        }
        crowd
    }

    /// Does what the plans say until it is `over`, which also hears how it goes.
    pub(super) fn run(mut self, mut over: impl FnMut(Tally) -> bool) {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        let mut scratch = vec![0; SCRATCH];
        while !over(self.tally) {
            let now = Instant::now();
            let next = self.wakes.peek().map_or(LOOK, |Reverse((wake, _))| {
                wake.saturating_duration_since(now)
            });
            let patience = if self.hot.is_empty() {
                next.min(LOOK)
            } else {
                Duration::ZERO
            };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.expect("events"),
            }
            for event in &events {
                let Token(number) = event.token();
                let lane = &mut self.lanes[number];
                lane.ready.readable |= event.is_readable() || event.is_read_closed();
                lane.ready.writable |= event.is_writable();
                self.queue(number);
            }
            let now = Instant::now();
            while let Some(&Reverse((wake, number))) = self.wakes.peek() {
                if wake > now {
                    break;
                }
                self.wakes.pop();
                self.lanes[number].wake = None;
                self.queue(number);
            }
            for _ in 0..self.hot.len() {
                let number = self.hot.pop_front().expect("it is counted");
                self.lanes[number].queued = false;
                self.advance(number, &mut scratch);
            }
        }
    }

    fn queue(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if !lane.queued && !lane.ended {
            lane.queued = true;
            self.hot.push_back(number);
        }
    }

    /// Has the poll look at its socket.
    fn watch(&self, number: usize) {
        if let Some(socket) = &self.lanes[number].socket {
            socket.set_nonblocking(true).expect("a socket");
            socket.set_send_buffer_size(SEND_BUFFER).expect("a socket");
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut SourceFd(&socket.as_raw_fd()), Token(number), interest)
                .expect("a socket");
        }
    }

    fn advance(&mut self, number: usize, scratch: &mut [u8]) {
        match self.step(number, scratch) {
            Step::Waits => {}
            Step::More => self.queue(number),
            Step::Sleeps(wake) => {
                let lane = &mut self.lanes[number];
                if lane.wake != Some(wake) {
                    lane.wake = Some(wake);
                    self.wakes.push(Reverse((wake, number)));
                }
                if lane.ready.readable && lane.plan.reads() {
                    self.queue(number);
                }
            }
            Step::Lost => {
                self.tally.lost += 1;
                let lane = &mut self.lanes[number];
                lane.close();
                lane.ended = !lane.plan.lost();
                self.queue(number);
            }
        }
    }

    fn step(&mut self, number: usize, scratch: &mut [u8]) -> Step {
        let lane = &mut self.lanes[number];
        if lane.ended {
            return Step::Waits;
        }
        if lane.socket.is_none() {
            let Some(socket) = connect(self.address) else {
                return Step::Sleeps(Instant::now() + RETRY);
            };
            lane.socket = Some(socket);
            self.tally.connected += 1;
            self.watch(number);
            return Step::Waits;
        }
        if lane.ready.readable && lane.plan.reads() {
            self.tally.read_times += 1;
            if !lane.read(scratch) {
                return Step::Lost;
            }
        }
        let mut written = 0;
        while lane.ready.writable && written < WRITES_AT_ONCE {
            if lane.at == lane.out.len() {
                match lane.plan.next(Instant::now()) {
                    Next::Write(bytes) => (lane.out, lane.at) = (bytes, 0),
                    Next::Until(wake) => return Step::Sleeps(wake),
                    Next::Rest if lane.ready.readable && lane.plan.reads() => return Step::More,
                    Next::Rest => return Step::Waits,
                    Next::Leave => {
                        lane.close();
                        return Step::More;
                    }
                    Next::End => {
                        lane.close();
                        lane.ended = true;
                        return Step::Waits;
                    }
                }
            }
            let socket = lane.socket.as_ref().expect("it is open");
            match socket.send(&lane.out[lane.at..]) {
                Ok(n) => {
                    lane.at += n;
                    written += n;
                    self.tally.written += n as u64;
                }
                Err(error) if is_early(&error) => lane.ready.writable = false,
                Err(_) => return Step::Lost,
            }
        }
        if lane.ready.writable || lane.ready.readable && lane.plan.reads() {
            return Step::More;
        }
        Step::Waits
    }
}

/// Begins to connect.
fn connect(address: SocketAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.set_tcp_nodelay(true).ok()?;
    match socket.connect(&address.into()) {
        Ok(()) => Some(socket),
        // EINPROGRESS has no kind of its own.
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Some(socket)
        }
        Err(_) => None,
    }
}
