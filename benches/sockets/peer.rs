//! A peer of the engine on a real socket: says HELLO, registers, reads frames. Blocks until it has what it
//! waits for, and panics when the engine says or does anything else. Measures nothing itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use callboard::address::Address;
use callboard::protocol::{
    Definition, Hello, HelloOptions, Inbox, Message, Register, Text, VERSION, Watch,
};
use socket2::Socket;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes read at once.
const SCRATCH: usize = 16 * 1024;

/// More than the engine's largest frame.
const FRAME_MAX: usize = 2 << 20;

/// Functions registered with one frame.
const BATCH: usize = 1_000;

/// Calls that a peer takes at once: as many as anybody makes here.
const CAPACITY: u64 = 1_000_000;

/// A socket that is connected to a server, TCP or Unix, and waits for what it reads.
pub(super) fn connect(address: &str) -> Socket {
    let socket = match address.parse().expect("an address") {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket");
            Socket::from(stream)
        }
        Address::Unix(path) => Socket::from(UnixStream::connect(path).expect("the server listens")),
    };
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket that reads");
    socket
}

pub(super) struct Peer {
    stream: Socket,
    inbox: Inbox,
    next_id: u64,
}

impl Peer {
    /// Joins, watching all functions or nothing; a watcher has the board then.
    pub(super) fn join(address: &str, watching: bool) -> Self {
        let mut peer = Self {
            stream: connect(address),
            inbox: Inbox::default(),
            next_id: 1,
        };
        let watch = Watch {
            functions: watching.then(|| vec![Text("")]),
            ..Watch::default()
        };
        let hello = Hello {
            versions: vec![VERSION],
            name: Text("a peer of the bench"),
            namespace: Text("default"),
            ext: HelloOptions {
                watch: Some(watch),
                capacity: Some(CAPACITY),
                ..HelloOptions::default()
            },
        };
        peer.send(&hello.to_frame());
        peer.read_until(|message| match message {
            Message::Welcome(_) => !watching,
            Message::Synced(_) => true,
            _ => false,
        });
        peer
    }

    /// Registers a function, or describes it again.
    pub(super) fn register(&mut self, name: &str, description: &str) {
        self.begin_register(name, description);
        self.end_register();
    }

    /// Registers many functions.
    pub(super) fn register_all(&mut self, names: &[String]) {
        let definition = |name| Definition {
            name: Text(name),
            ..Definition::default()
        };
        for names in names.chunks(BATCH) {
            let register = Register {
                id: self.next_id,
                functions: names.iter().map(|name| definition(name)).collect(),
                ..Register::default()
            };
            self.send(&register.to_frame());
            self.end_register();
        }
    }

    /// Sends a registration and does not wait for its end.
    pub(super) fn begin_register(&mut self, name: &str, description: &str) {
        let definition = Definition {
            name: Text(name),
            description: Text(description),
            ..Definition::default()
        };
        let register = Register {
            id: self.next_id,
            functions: vec![definition],
            ..Register::default()
        };
        self.send(&register.to_frame());
    }

    /// Waits for the good end of the registration that was sent.
    pub(super) fn end_register(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        self.end_request(id);
    }

    /// Waits for the good end of this request.
    pub(super) fn end_request(&mut self, id: u64) {
        self.read_until(|message| matches!(message, Message::Outcome(end) if end.id == id));
    }

    /// Reads frames up to the one that `last` accepts; what was read with it is looked at as well.
    pub(super) fn read_until(&mut self, mut last: impl FnMut(&Message<'_>) -> bool) {
        let mut scratch = [0; SCRATCH];
        let mut done = false;
        while !done {
            let n = self.stream.read(&mut scratch).expect("the engine answers");
            assert!(n > 0, "the engine closed the connection");
            let mut input = &scratch[..n];
            while let Some(frame) = self.inbox.next(&mut input, FRAME_MAX).expect("frames") {
                let message = Message::decode(frame).expect("the protocol");
                assert!(
                    !matches!(message, Message::Goodbye(_) | Message::Failure(_)),
                    "{message:?}"
                );
                done |= last(&message);
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the engine reads");
    }

    /// The bare socket. Nothing that was read is left.
    pub(super) fn into_stream(self) -> Socket {
        assert_eq!(self.inbox.held(), 0, "a frame was read in part");
        self.stream
    }
}
