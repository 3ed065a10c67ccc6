//! The floor under a fan-out and under a join: a bare loop that writes bytes which were prepared elsewhere. What a
//! publisher sends goes to all watchers, each read of it with one write each; a joiner is sent as many bytes as it
//! asks for. The loop and the options of its sockets are the engine's. Knows no message, keeps no board, decides
//! nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::process;
use crate::relay;
use crate::wire::{HEADER, HELLO, JOINER, PUBLISHER, READY, WATCHER, read_first};

/// The role's name.
pub(super) const ROLE: &str = "broadcast";

/// As the engine's.
const EVENTS_PER_TURN: usize = 1024;
/// As the engine's.
const SCRATCH: usize = 64 * 1024;
/// As the engine's.
const BACKLOG: i32 = 4096;
/// What one write takes of the prepared bytes: as much as the engine puts into a frame of a snapshot. One write of all
/// of it would have the reader wait for the whole.
const PIECE: usize = 64 * 1024;
/// The most that a joining worker can ask for.
const PREPARED: usize = 32 << 20;

const LISTENER: Token = Token(usize::MAX);

/// The floor's process.
pub(super) fn serve() -> ExitCode {
    let mut floor = Floor::new().expect("a poll");
    let address = floor.listen().expect("a free port");
    std::thread::spawn(move || floor.run().expect("events"));
    process::answer(&[address], String::new);
    ExitCode::SUCCESS
}

struct Floor {
    poll: Poll,
    listener: Socket,
    /// By key; those that ended are gone, and no key is used again.
    connections: Vec<Option<Connection>>,
    /// Keys of those that are sent what is published.
    watchers: Vec<usize>,
    prepared: Vec<u8>,
    scratch: Box<[u8]>,
}

struct Connection {
    socket: Socket,
    first: Vec<u8>,
    role: u8,
    out: Out,
    ended: bool,
}

/// What a connection has not taken yet.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// And of the prepared bytes.
    prepared: usize,
}

impl Floor {
    fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            listener: Socket::new(Domain::IPV4, Type::STREAM, None)?,
            connections: Vec::new(),
            watchers: Vec::new(),
            prepared: vec![b'.'; PREPARED],
            scratch: vec![0; SCRATCH].into_boxed_slice(),
        })
    }

    fn listen(&mut self) -> io::Result<String> {
        let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.listener.set_nonblocking(true)?;
        self.listener.bind(&any.into())?;
        self.listener.listen(BACKLOG)?;
        let mut source = SourceFd(&self.listener.as_raw_fd());
        self.poll
            .registry()
            .register(&mut source, LISTENER, Interest::READABLE)?;
        let address = self.listener.local_addr()?.as_socket();
        Ok(address.expect("an address of IP").to_string())
    }

    /// For ever: it ends with its process.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let mut knocks = false;
            for event in &events {
                match event.token() {
                    LISTENER => knocks = true,
                    _ => self.handle(event),
                }
            }
            if knocks {
                self.accept()?;
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            relay::prepare(&socket)?;
            let key = self.connections.len();
            let mut source = SourceFd(&socket.as_raw_fd());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut source, Token(key), both)?;
            self.connections.push(Some(Connection {
                socket,
                first: Vec::new(),
                role: 0,
                out: Out::default(),
                ended: false,
            }));
        }
    }

    fn handle(&mut self, event: &Event) {
        let Token(key) = event.token();
        if let Some(connection) = &mut self.connections[key]
            && event.is_writable()
        {
            connection.flush(&self.prepared);
        }
        if event.is_readable() {
            self.read(key);
        }
    }

    fn read(&mut self, key: usize) {
        while let Some(connection) = &mut self.connections[key] {
            let n = match connection.socket.read(&mut self.scratch) {
                Ok(n) if n > 0 => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => {
                    self.connections[key] = None;
                    self.watchers.retain(|&watcher| watcher != key);
                    return;
                }
            };
            if connection.role == PUBLISHER {
                for &watcher in &self.watchers {
                    if let Some(watcher) = &mut self.connections[watcher] {
                        watcher.send(&self.scratch[..n]);
                    }
                }
            } else {
                let first = &mut connection.first;
                first.extend_from_slice(&self.scratch[..n]);
                if let Some(frame) = first.first_chunk::<{ HEADER + HELLO }>() {
                    let (role, number) = read_first(frame).expect("the bench's own frame");
                    first.clear();
                    connection.role = role;
                    if role == JOINER {
                        connection.out.prepared += (number as usize).min(PREPARED);
                        connection.flush(&self.prepared);
                    } else {
                        connection.send(&READY);
                    }
                    if role == WATCHER {
                        self.watchers.push(key);
                    }
                }
            }
            // A short read took all that there was; what comes after it is another event.
            if n < SCRATCH {
                return;
            }
        }
    }
}

impl Connection {
    /// Sends some bytes, behind those that wait.
    fn send(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        if !self.out.bytes.is_empty() {
            self.out.bytes.extend_from_slice(bytes);
            return;
        }
        match self.socket.write(bytes) {
            Ok(n) => self.out.bytes.extend_from_slice(&bytes[n..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.out.bytes.extend_from_slice(bytes);
            }
            Err(_) => self.ended = true,
        }
    }

    fn flush(&mut self, prepared: &[u8]) {
        while !self.ended {
            let out = &mut self.out;
            let written = match (out.bytes.is_empty(), out.prepared) {
                (true, 0) => return,
                (true, left) => {
                    let written = self.socket.write(&prepared[..left.min(PIECE)]);
                    out.prepared -= written.as_ref().map_or(0, |&n| n);
                    written
                }
                (false, _) => {
                    let written = self.socket.write(&out.bytes);
                    out.bytes.drain(..written.as_ref().map_or(0, |&n| n));
                    written
                }
            };
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }
}
