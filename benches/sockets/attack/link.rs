//! A blocking connection of one user. It reports what goes wrong instead of ending the bench: to be refused, or
//! to be lost, is a result here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use callboard::protocol::{
    Hello, HelloOptions, Inbox, Message, Pong, Register, Text, VERSION, Watch,
};
use socket2::{Domain, Socket, Type};

use super::user::User;

/// The namespace that anybody may join.
pub(super) const DEFAULT: &str = "default";

/// More than the engine's largest frame.
pub(super) const FRAME_MAX: usize = 2 << 20;

const SCRATCH: usize = 64 * 1024;

/// Functions registered with one frame.
const BATCH: usize = 200;

/// Calls that a provider runs at once: as many as anybody makes here.
const CAPACITY: u64 = 1_000_000;

pub(super) fn all() -> Watch<'static> {
    prefix("")
}

pub(super) fn prefix(prefix: &str) -> Watch<'_> {
    Watch {
        functions: Some(vec![Text(prefix)]),
        ..Watch::default()
    }
}

/// A HELLO of this user; `session` is the one to take over.
pub(super) fn hello(
    user: User,
    namespace: &str,
    watch: Watch<'_>,
    session: Option<&[u8]>,
) -> Vec<u8> {
    let hello = Hello {
        versions: vec![VERSION],
        name: Text("a peer of the bench"),
        namespace: Text(namespace),
        ext: HelloOptions {
            watch: Some(watch),
            token: Some(Text(user.token())),
            capacity: Some(CAPACITY),
            session: session.map(callboard::protocol::Bin),
            ..HelloOptions::default()
        },
    };
    hello.to_frame()
}

/// Whether a connection with this watch is told of the board.
fn is_told(watch: &Watch<'_>) -> bool {
    let lists = [&watch.functions, &watch.workers, &watch.bindings];
    lists.into_iter().flatten().any(|list| !list.is_empty())
}

pub(super) struct Link {
    socket: Socket,
    inbox: Inbox,
    scratch: Vec<u8>,
    /// The session key.
    session: Vec<u8>,
}

impl Link {
    /// Joins, and has the board then, if it watches any of it.
    pub(super) fn join(
        address: &str,
        user: User,
        namespace: &str,
        watch: Watch<'_>,
        patience: Duration,
    ) -> io::Result<Self> {
        let until = Instant::now() + patience;
        let to: SocketAddr = address.parse().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if user != User::Attacker {
            // The attacker's address is the one that the kernel chooses.
            socket.bind(&SocketAddr::from(SocketAddrV4::new(user.from(), 0)).into())?;
        }
        socket.connect_timeout(&to.into(), patience)?;
        socket.set_tcp_nodelay(true)?;
        let told = is_told(&watch);
        let mut link = Self {
            socket,
            inbox: Inbox::default(),
            scratch: vec![0; SCRATCH],
            session: Vec::new(),
        };
        link.send(&hello(user, namespace, watch, None))?;
        let (mut joined, mut session) = (false, Vec::new());
        while !joined {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            link.hear(left, |message| {
                joined |= match message {
                    Message::Welcome(it) => {
                        session = it.session.0.to_vec();
                        !told
                    }
                    Message::Synced(_) => true,
                    _ => false,
                };
            })?;
        }
        link.session = session;
        Ok(link)
    }

    pub(super) fn session(&self) -> &[u8] {
        &self.session
    }

    /// Reads once, waiting no longer than this, and tells of each frame. PINGs are answered; GOODBYE is an error, and
    /// so is the end of the connection.
    pub(super) fn hear(
        &mut self,
        patience: Duration,
        mut tell: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience))?;
        let n = match self.socket.read(&mut self.scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if is_early(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = &self.scratch[..n];
        while let Some(frame) = self
            .inbox
            .next(&mut input, FRAME_MAX)
            .map_err(io::Error::other)?
        {
            let message = Message::decode(frame).map_err(io::Error::other)?;
            match &message {
                Message::Ping(it) => {
                    let answer = Pong {
                        revision: it.revision,
                        ..Pong::default()
                    };
                    self.socket.write_all(&answer.to_frame())?;
                }
                Message::Goodbye(end) => return Err(io::Error::other(end.code.0.to_owned())),
                message => tell(message),
            }
        }
        Ok(())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a request, and waits for its good end.
    pub(super) fn ask(&mut self, frame: &[u8], id: u64, patience: Duration) -> io::Result<()> {
        self.send(frame)?;
        let until = Instant::now() + patience;
        let mut end = None;
        while end.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.hear(left, |message| match message {
                Message::Outcome(it) if it.id == id => end = Some(Ok(())),
                Message::Failure(it) if it.id == id => {
                    end = Some(Err(io::Error::other(it.code.0.to_owned())));
                }
                _ => {}
            })?;
        }
        end.expect("it came")
    }

    /// Registers functions with nothing but names, a few at a time: the engine's longest turn is to be the attack's.
    pub(super) fn register(&mut self, names: &[String], patience: Duration) -> io::Result<()> {
        for names in names.chunks(BATCH) {
            self.ask(&registration(1, names), 1, patience)?;
        }
        Ok(())
    }

    /// The same socket, to write to while another thread reads.
    pub(super) fn writer(&self) -> Socket {
        self.socket.try_clone().expect("a socket")
    }

    /// The bare socket. Nothing that was read is left.
    pub(super) fn into_socket(self) -> Socket {
        assert_eq!(self.inbox.held(), 0, "a frame was read in part");
        self.socket
    }
}

/// Nothing to read yet, or a signal.
pub(super) fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A REGISTER of functions with nothing but names.
pub(super) fn registration(id: u64, names: &[String]) -> Vec<u8> {
    let definition = |name| callboard::protocol::Definition {
        name: Text(name),
        ..Default::default()
    };
    let register = Register {
        id,
        functions: names.iter().map(|name| definition(name)).collect(),
        ..Register::default()
    };
    register.to_frame()
}
