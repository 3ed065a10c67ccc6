//! The floor under a call: a relay between two connections, written with the same loop as the engine and the same
//! options on its sockets. It forwards frames, of which one on its way to a provider grows to the size of the engine's
//! INVOKE; or it is bare, knows no frames, and writes to one what it read from the other. Connections are mates in the
//! order in which they come: the first of two plays the provider, the second its caller. Decodes nothing, keeps
//! nothing, decides nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::Inbox;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;

use crate::process;

/// The role's name.
pub(super) const ROLE: &str = "floor";

/// As the engine's.
const EVENTS_PER_TURN: usize = 1024;
/// As the engine's.
const SCRATCH: usize = 64 * 1024;
/// Tokens from here on are listeners'.
const LISTENERS: usize = 1 << 32;

/// The relay's process. It listens at each `listen`; frames that go to a provider grow by `extra` bytes. Without
/// `extra` it is bare.
pub(super) fn serve(role: &str) -> ExitCode {
    process::pin(true);
    let extra = process::values(role, "extra").next();
    let extra = extra.map(|extra| extra.parse().expect("extra=BYTES"));
    let mut relay = Relay::new(extra).expect("a poll");
    let addresses: Vec<String> = process::values(role, "listen")
        .map(|address| relay.listen(address).expect("a free address"))
        .collect();
    std::thread::spawn(move || relay.run().expect("events"));
    process::answer(&addresses, String::new);
    ExitCode::SUCCESS
}

pub(super) struct Relay {
    poll: Poll,
    listeners: Vec<Listener>,
    connections: Vec<Connection>,
    /// What a provider's frames grow by; `None` if it is bare.
    extra: Option<usize>,
    scratch: Box<[u8]>,
    /// Connections that this turn has something for.
    dirty: Vec<usize>,
}

struct Listener {
    socket: Socket,
    /// A provider whose caller has not come yet.
    single: Option<usize>,
}

struct Connection {
    socket: Socket,
    mate: Option<usize>,
    is_provider: bool,
    inbox: Inbox,
    /// What it is sent. Its memory is kept.
    out: Vec<u8>,
    dirty: bool,
    ended: bool,
}

impl Relay {
    pub(super) fn new(extra: Option<usize>) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            listeners: Vec::new(),
            connections: Vec::new(),
            extra,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            dirty: Vec::new(),
        })
    }

    /// Listens, and returns the address as it came out.
    pub(super) fn listen(&mut self, address: &str) -> io::Result<String> {
        let (socket, address) = match address.parse().expect("an address") {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = listener.local_addr()?.to_string();
                (Socket::from(listener), address)
            }
            Address::Unix(path) => (Socket::from(UnixListener::bind(path)?), address.to_owned()),
        };
        socket.set_nonblocking(true)?;
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(
            &mut SourceFd(&socket.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        self.listeners.push(Listener {
            socket,
            single: None,
        });
        Ok(address)
    }

    /// For ever: it ends with its process.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token().0.checked_sub(LISTENERS) {
                    Some(listener) => self.accept(listener)?,
                    None => self.handle(event),
                }
            }
            for key in std::mem::take(&mut self.dirty) {
                self.connections[key].dirty = false;
                self.write(key);
            }
        }
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        loop {
            let listener = &mut self.listeners[index];
            let socket = match listener.socket.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let key = self.connections.len();
            let mate = listener.single.take();
            match mate {
                Some(mate) => self.connections[mate].mate = Some(key),
                None => listener.single = Some(key),
            }
            prepare(&socket)?;
            self.poll.registry().register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(key),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.connections.push(Connection {
                socket,
                mate,
                is_provider: mate.is_none(),
                inbox: Inbox::default(),
                out: Vec::new(),
                dirty: false,
                ended: false,
            });
        }
    }

    fn handle(&mut self, event: &Event) {
        let Token(key) = event.token();
        if event.is_writable() && !self.connections[key].out.is_empty() {
            self.write(key);
        }
        if event.is_readable() {
            self.read(key, event.is_read_closed());
        }
    }

    /// Reads what there is and forwards it.
    fn read(&mut self, key: usize, is_last: bool) {
        loop {
            let connection = &mut self.connections[key];
            let n = match connection.socket.read(&mut self.scratch) {
                Ok(n) if n > 0 => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It went, or broke. Its mate will hear of it from the bench.
                _ => {
                    connection.ended = true;
                    return;
                }
            };
            let mate = connection.mate.expect("its mate has come");
            match self.extra {
                Some(extra) => self.add_frames(key, mate, n, extra),
                None => self.connections[mate].send(&self.scratch[..n]),
            }
            // A short read took all that there was; what comes after it is another event.
            if n < SCRATCH && !is_last {
                return;
            }
        }
    }

    /// Puts the frames of the bytes that were read into the mate's buffer, for the end of the turn.
    fn add_frames(&mut self, key: usize, mate: usize, n: usize, extra: usize) {
        let mut inbox = std::mem::take(&mut self.connections[key].inbox);
        let to = &mut self.connections[mate];
        let extra = if to.is_provider { extra } else { 0 };
        let mut input = &self.scratch[..n];
        while let Some(frame) = inbox.next(&mut input, SCRATCH).expect("frames") {
            let length = frame.len() + extra;
            to.out.extend_from_slice(&(length as u32).to_be_bytes());
            to.out.extend_from_slice(frame);
            to.out.resize(to.out.len() + extra, 0);
        }
        if !std::mem::replace(&mut to.dirty, true) {
            self.dirty.push(mate);
        }
        self.connections[key].inbox = inbox;
    }

    fn write(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        while !connection.out.is_empty() && !connection.ended {
            match connection.socket.write(&connection.out) {
                Ok(n) => drop(connection.out.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => connection.ended = true,
            }
        }
    }
}

impl Connection {
    /// Sends some bytes at once, behind those that wait.
    fn send(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        let sent = if self.out.is_empty() {
            self.socket.write(bytes)
        } else {
            Ok(0)
        };
        match sent {
            Ok(n) => self.out.extend_from_slice(&bytes[n..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.out.extend_from_slice(bytes);
            }
            Err(_) => self.ended = true,
        }
    }
}

/// The options that the engine gives an accepted socket.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    let limits = Limits::default();
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(limits.send_buffer as usize)?;
    if socket.domain()? != socket2::Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(Duration::from_millis(limits.silence)))?;
    }
    Ok(())
}
