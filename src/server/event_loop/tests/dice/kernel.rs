//! A kernel that is driven by dice: streams as memory, edge-triggered events as epoll reports them, short writes,
//! interrupted calls, resets, and a limit on descriptors. The test holds the peers' ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use mio::Token;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::engine::{ConnId, Peer, Time};
use crate::limits::Limits;
use crate::server::kernel::{Accept, EVENTS_PER_POLL, Kernel, Readiness, Stream};
use crate::server::poll_token::own_token;

/// Both ends of a connection.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each end closes by itself")]
pub(super) struct Wire {
    /// Bytes on their way to the loop.
    pub(super) up: VecDeque<u8>,
    /// Bytes on their way to the peer, and how many it takes at most before the writer has to wait.
    pub(super) down: VecDeque<u8>,
    pub(super) room: usize,
    /// The peer closed its sending half; it closed both; the connection broke.
    pub(super) peer_shut: bool,
    pub(super) peer_gone: bool,
    pub(super) reset: bool,
    /// The loop closed its sending half; it dropped the stream.
    pub(super) loop_shut: bool,
    pub(super) dropped: bool,
    id: Option<ConnId>,
    /// Something began to hold since the last event.
    edge: bool,
    /// A write found no room: more room is an edge.
    awaits_room: bool,
}

impl Wire {
    /// Sends bytes to the loop.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.up.extend(bytes);
        self.edge = true;
    }

    /// Takes what was written to the peer.
    pub(super) fn receive(&mut self, most: usize) -> Vec<u8> {
        let most = most.min(self.down.len());
        let bytes = self.down.drain(..most).collect();
        if self.awaits_room && self.down.len() < self.room {
            self.awaits_room = false;
            self.edge = true;
        }
        bytes
    }

    pub(super) fn shut(&mut self) {
        self.peer_shut = true;
        self.edge = true;
    }

    pub(super) fn break_off(&mut self) {
        (self.reset, self.peer_gone) = (true, true);
        self.up.clear();
        self.edge = true;
    }

    /// Whether the loop could write now.
    pub(super) fn has_room(&self) -> bool {
        self.reset || self.down.len() < self.room
    }

    /// Whether the loop is told of its events.
    pub(super) fn is_registered(&self) -> bool {
        self.id.is_some()
    }

    /// Whether an event is due.
    pub(super) fn has_event(&self) -> bool {
        self.edge && self.id.is_some() && !self.dropped
    }

    fn readiness(&self, id: ConnId) -> Readiness {
        let ended = self.peer_shut || self.peer_gone;
        Readiness {
            token: Token(id.token()),
            readable: !self.up.is_empty() || ended || self.reset,
            writable: self.has_room(),
            read_closed: ended || self.reset,
            write_closed: self.reset,
            error: self.reset,
        }
    }
}

/// A listener's backlog.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Numbers of the wires.
    pub(super) pending: VecDeque<usize>,
    edge: bool,
}

/// Calls of the loop since the last look.
#[derive(Debug, Default, Clone)]
pub(super) struct Calls {
    pub(super) writes: usize,
    /// Bytes read, by wire.
    pub(super) read: Vec<(usize, usize)>,
    /// Listeners of the accepted connections, in order, and of those that were given up before (`false`).
    pub(super) accepted: Vec<(usize, bool)>,
    /// Wires on which a write failed.
    pub(super) failed: Vec<usize>,
}

/// The state of the kernel, shared by the loop's end and the test's.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) now: Time,
    pub(super) dice: StdRng,
    pub(super) wires: Vec<Wire>,
    pub(super) backlogs: Vec<Backlog>,
    /// Descriptors that are free.
    pub(super) descriptors: usize,
    /// Calls fail for no reason, writes are short, events come late.
    pub(super) is_restless: bool,
    pub(super) calls: Calls,
}

impl Net {
    pub(super) fn new(seed: u64, listeners: usize, descriptors: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            now: Time(0),
            dice: StdRng::seed_from_u64(seed),
            wires: Vec::new(),
            backlogs: (0..listeners).map(|_| Backlog::default()).collect(),
            descriptors,
            is_restless: true,
            calls: Calls::default(),
        }))
    }

    /// Opens a connection that waits at a listener. Returns its number.
    pub(super) fn connect(&mut self, listener: usize, room: usize) -> usize {
        let number = self.wires.len();
        self.wires.push(Wire {
            room,
            ..Wire::default()
        });
        let backlog = &mut self.backlogs[listener];
        backlog.pending.push_back(number);
        backlog.edge = true;
        number
    }

    /// Whether the next poll reports something.
    pub(super) fn has_events(&self) -> bool {
        self.wires.iter().any(Wire::has_event) || self.backlogs.iter().any(|it| it.edge)
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.is_restless && self.dice.random_ratio(1, times)
    }

    fn interrupts(&mut self) -> io::Result<()> {
        if self.one_in(20) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}

/// The loop's end of the kernel.
#[derive(Debug)]
pub(super) struct DiceKernel(pub(super) Rc<RefCell<Net>>);

/// The loop's end of a wire.
#[derive(Debug)]
pub(super) struct DiceStream {
    net: Rc<RefCell<Net>>,
    pub(super) number: usize,
}

/// The loop's end of a backlog.
#[derive(Debug)]
pub(super) struct DiceListener {
    net: Rc<RefCell<Net>>,
    number: usize,
}

impl DiceListener {
    pub(super) fn all(net: &Rc<RefCell<Net>>) -> Vec<Self> {
        let count = net.borrow().backlogs.len();
        let listener = |number| Self {
            net: net.clone(),
            number,
        };
        (0..count).map(listener).collect()
    }
}

impl Kernel for DiceKernel {
    type Stream = DiceStream;
    type Listener = DiceListener;

    fn now(&self) -> Time {
        self.0.borrow().now
    }

    fn poll(&mut self, events: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let mut net = self.0.borrow_mut();
        net.interrupts()?;
        if !net.has_events() {
            // The test moves the time on where there is no deadline.
            let wait = timeout.unwrap_or_default();
            net.now = net.now.after(wait);
        }
        for number in 0..net.backlogs.len() {
            if std::mem::take(&mut net.backlogs[number].edge) {
                events.push(Readiness {
                    token: own_token(number as u32),
                    readable: true,
                    writable: false,
                    read_closed: false,
                    write_closed: false,
                    error: false,
                });
            }
        }
        let count = net.wires.len();
        let first = net.dice.random_range(0..=count);
        for at in 0..net.wires.len() {
            let number = (first + at) % net.wires.len();
            // As if a batch of events were full.
            if events.len() == EVENTS_PER_POLL || !events.is_empty() && net.one_in(8) {
                break;
            }
            let wire = &mut net.wires[number];
            if let Some(id) = wire.id.filter(|_| wire.has_event()) {
                wire.edge = false;
                events.push(wire.readiness(id));
            }
        }
        Ok(())
    }

    fn register(&mut self, stream: &mut DiceStream, id: ConnId) -> io::Result<()> {
        let wire = &mut self.0.borrow_mut().wires[stream.number];
        (wire.id, wire.edge) = (Some(id), true);
        Ok(())
    }

    fn deregister(&mut self, stream: &mut DiceStream) -> io::Result<()> {
        self.0.borrow_mut().wires[stream.number].id = None;
        Ok(())
    }

    fn close(&mut self, listener: DiceListener) {
        let mut net = self.0.borrow_mut();
        let pending = std::mem::take(&mut net.backlogs[listener.number].pending);
        for number in pending {
            net.wires[number].break_off();
        }
    }
}

impl Accept for DiceListener {
    type Stream = DiceStream;

    fn accept(&self) -> io::Result<(DiceStream, Peer)> {
        let mut net = self.net.borrow_mut();
        net.interrupts()?;
        let Some(&number) = net.backlogs[self.number].pending.front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if net.one_in(30) {
            net.backlogs[self.number].pending.pop_front();
            net.wires[number].break_off();
            net.calls.accepted.push((self.number, false));
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if net.descriptors == 0 {
            return Err(rustix::io::Errno::MFILE.into());
        }
        net.descriptors -= 1;
        net.backlogs[self.number].pending.pop_front();
        net.calls.accepted.push((self.number, true));
        let stream = DiceStream {
            net: self.net.clone(),
            number,
        };
        let peer = Peer::Tcp(([127, 0, 0, 1], number as u16).into());
        Ok((stream, peer))
    }
}

impl Stream for DiceStream {
    fn prepare(&self, _: &Limits) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut net = self.net.borrow_mut();
        net.interrupts()?;
        let wire = &mut net.wires[self.number];
        if wire.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if wire.up.is_empty() {
            return if wire.peer_shut || wire.peer_gone {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        // A read is short only if it empties the stream.
        let taken = wire.up.len().min(into.len());
        for (slot, byte) in into.iter_mut().zip(wire.up.drain(..taken)) {
            *slot = byte;
        }
        net.calls.read.push((self.number, taken));
        Ok(taken)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut net = self.net.borrow_mut();
        net.calls.writes += 1;
        net.interrupts()?;
        let is_short = net.one_in(4);
        let wire = &mut net.wires[self.number];
        if wire.reset || wire.peer_gone {
            net.calls.failed.push(self.number);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = wire.room.saturating_sub(wire.down.len());
        if room == 0 {
            wire.awaits_room = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let offered: usize = slices.iter().map(|it| it.len()).sum();
        let mut taken = offered.min(room);
        if is_short {
            taken = net.dice.random_range(1..=taken);
        }
        let bytes = slices.iter().flat_map(|it| it.iter().copied()).take(taken);
        net.wires[self.number].down.extend(bytes);
        Ok(taken)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let mut net = self.net.borrow_mut();
        let wire = &mut net.wires[self.number];
        if wire.reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        wire.loop_shut = true;
        Ok(())
    }
}

impl Drop for DiceStream {
    fn drop(&mut self) {
        let mut net = self.net.borrow_mut();
        net.wires[self.number].dropped = true;
        net.descriptors += 1;
    }
}
