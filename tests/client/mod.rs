//! A peer of the engine that speaks frames over a real socket, for tests that must say what no library
//! would: half a frame, a wrong one, too much, nothing. It reads with a deadline and never waits
//! for a time to pass.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{
    Changes, Definition, Goodbye, HEADER_LEN, Hello, HelloOptions, Message, Register, Text,
    Unregister, Watch,
};
use callboard::server::{BindError, Server, ServerConfig, ServerHandle};
use socket2::{Domain, SockRef, Socket, Type};

/// Longer than anything here takes on a slow machine; only a failing test ever waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free loopback port. Connections of other tests take ports of 127.0.0.1 from the same range, so servers
/// that are started again, and ports at which nothing may listen, are at 127.0.0.2.
pub fn serve(limits: Limits) -> ServerHandle {
    let config = ServerConfig {
        listen: vec!["127.0.0.2:0".parse().unwrap()],
        limits,
        ..ServerConfig::default()
    };
    Server::spawn(config).unwrap()
}

/// A server where one has just ended. A program that another test starts at that moment holds a copy of the old
/// listening socket until its `exec`.
pub fn serve_again(config: &ServerConfig) -> ServerHandle {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Server::spawn(config.clone()) {
            Err(BindError::InUse(_)) if Instant::now() < deadline => std::thread::yield_now(),
            served => return served.unwrap(),
        }
    }
}

/// A port of 127.0.0.2 at which nothing listens while the socket is kept, unless a test lets an engine listen there.
pub fn unused_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let any: SocketAddr = "127.0.0.2:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, port)
}

/// Asks until it is so, or fails with `what`. For what cannot be waited for.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    pub fn message(&self) -> Message<'_> {
        Message::decode(&self.0).expect("the engine speaks the protocol")
    }
}

/// How a connection ended, as its peer saw it.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The end of the stream.
    Clean,
    /// Reset: what was under way may be lost.
    Reset,
}

trait Stream: Read + Write + Send {
    fn shut(&self, how: Shutdown) -> io::Result<()>;
    fn wait_at_most(&self, patience: Duration) -> io::Result<()>;
    /// Makes the close to come a reset.
    fn reset_on_close(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
    fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }
}

impl Stream for UnixStream {
    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
    fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn reset_on_close(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    next_id: u64,
}

impl Client {
    /// Connects and says nothing.
    pub fn connect(address: &Address) -> Self {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(text) => {
                let stream = TcpStream::connect(text).unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).unwrap()),
        };
        stream.wait_at_most(PATIENCE).unwrap();
        Self {
            stream,
            received: Vec::new(),
            next_id: 1,
        }
    }

    /// Connects as a worker that watches nothing, and is welcome.
    pub fn join(address: &Address, name: &str) -> Self {
        Self::join_watching(address, name, Watch::default())
    }

    /// Connects as a worker that watches all functions, and is welcome. What it watches is to be read
    /// yet.
    pub fn join_all(address: &Address, name: &str) -> Self {
        let watch = Watch {
            functions: Some(vec![Text("")]),
            ..Watch::default()
        };
        Self::join_watching(address, name, watch)
    }

    pub fn join_watching(address: &Address, name: &str, watch: Watch<'_>) -> Self {
        let mut client = Self::connect(address);
        client.send(&hello(name, watch));
        let frame = client.next();
        assert!(
            matches!(frame.message(), Message::Welcome(_)),
            "{:?}",
            frame.message()
        );
        client
    }

    /// Sends bytes, whatever they mean.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes to an engine that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame with this body.
    pub fn send_body(&mut self, body: &[u8]) {
        self.send(&framed(body));
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.stream.shut(Shutdown::Write).unwrap();
    }

    /// Breaks the connection off: the engine's next read or write fails.
    pub fn reset(self) {
        self.stream.reset_on_close().unwrap();
    }

    /// The next frame; the end of the connection fails the test.
    pub fn next(&mut self) -> Frame {
        match self.next_or_end() {
            Ok(frame) => frame,
            Err(end) => panic!("a frame was expected, the connection ended: {end:?}"),
        }
    }

    /// The next frame, or how the connection ended.
    pub fn next_or_end(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(frame);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.received.is_empty(), "ended within a frame");
                    return Err(End::Clean);
                }
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        panic!("the engine says nothing")
                    }
                    _ => return Err(End::Reset),
                },
            }
        }
    }

    /// The next frame or the end, if it comes soon: for a peer that does something else in between,
    /// at its own pace.
    pub fn next_within(&mut self, patience: Duration) -> Option<Result<Frame, End>> {
        if let Some(frame) = self.take_frame() {
            return Some(Ok(frame));
        }
        self.stream.wait_at_most(patience).unwrap();
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk);
        self.stream.wait_at_most(PATIENCE).unwrap();
        match read {
            Ok(0) => Some(Err(End::Clean)),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                self.take_frame().map(Ok)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => None,
                _ => Some(Err(End::Reset)),
            },
        }
    }

    /// The engine still listens to this connection and answers.
    pub fn is_served(&mut self) -> bool {
        self.send(&callboard::protocol::Ping::default().to_frame());
        self.next_where(|message| matches!(message, Message::Pong(_)));
        true
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let header = self.received.first_chunk::<HEADER_LEN>()?;
        let end = HEADER_LEN + u32::from_be_bytes(*header) as usize;
        if self.received.len() < end {
            return None;
        }
        let body = self.received[HEADER_LEN..end].to_vec();
        self.received.drain(..end);
        Some(Frame(body))
    }

    /// Reads on until a frame that `wanted` says yes to, answering nothing.
    pub fn next_where(&mut self, wanted: impl Fn(&Message<'_>) -> bool) -> Frame {
        loop {
            let frame = self.next();
            if wanted(&frame.message()) {
                return frame;
            }
        }
    }

    /// Reads on until GOODBYE, then to the end, which must come without a reset. Returns code and
    /// message.
    pub fn goodbye(&mut self) -> (String, String) {
        let frame = self.next_where(|message| matches!(message, Message::Goodbye(_)));
        let Message::Goodbye(Goodbye { code, message, .. }) = frame.message() else {
            unreachable!()
        };
        assert_eq!(self.next_or_end(), Err(End::Clean), "after GOODBYE {code}");
        (code.to_string(), message.to_string())
    }

    /// Registers one batch; `Ok(revision)` or the failure's code and message.
    pub fn register(&mut self, names: &[&str]) -> Result<u64, (String, String)> {
        let functions = names.iter().map(|&name| function(name)).collect();
        self.register_all(functions)
    }

    pub fn register_all(
        &mut self,
        functions: Vec<Definition<'_>>,
    ) -> Result<u64, (String, String)> {
        let id = self.new_id();
        let message = Register {
            id,
            functions,
            ..Register::default()
        };
        self.send(&message.to_frame());
        self.answer(id)
    }

    pub fn unregister(&mut self, names: &[&str]) -> Result<u64, (String, String)> {
        let id = self.new_id();
        let message = Unregister {
            id,
            names: names.iter().map(|&name| Text(name)).collect(),
            ..Unregister::default()
        };
        self.send(&message.to_frame());
        self.answer(id)
    }

    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Reads on until the answer to request `id`.
    pub fn answer(&mut self, id: u64) -> Result<u64, (String, String)> {
        let frame = self.next_where(|message| match message {
            Message::Outcome(outcome) => outcome.id == id,
            Message::Failure(failure) => failure.id == id,
            Message::Goodbye(goodbye) => panic!("{}: {}", goodbye.code, goodbye.message),
            _ => false,
        });
        match frame.message() {
            Message::Outcome(outcome) => Ok(outcome.ext.revision.unwrap_or(0)),
            Message::Failure(failure) => {
                Err((failure.code.to_string(), failure.message.to_string()))
            }
            _ => unreachable!(),
        }
    }
}

/// A HELLO in namespace `default`.
pub fn hello(name: &str, watch: Watch<'_>) -> Vec<u8> {
    let hello = Hello {
        versions: vec![1],
        name: Text(name),
        namespace: Text("default"),
        ext: HelloOptions {
            watch: Some(watch),
            ..HelloOptions::default()
        },
    };
    hello.to_frame()
}

/// A function with nothing but a name.
pub fn function(name: &str) -> Definition<'_> {
    Definition {
        name: Text(name),
        ..Definition::default()
    }
}

/// A frame with this body.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// What a watcher of functions sees: names and descriptions, built up from frames as the protocol
/// says. A gap fails the test.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct View {
    pub functions: BTreeMap<String, String>,
    pub revision: u64,
    synced: bool,
}

impl View {
    /// Takes a frame; says whether the view may have changed.
    pub fn apply(&mut self, frame: &Frame) -> bool {
        match frame.message() {
            Message::Resync(resync) => {
                self.functions.clear();
                self.revision = resync.revision;
                self.synced = false;
            }
            Message::Snapshot(snapshot) => self.upsert(&snapshot.sections.functions.added),
            Message::Synced(synced) => {
                self.revision = synced.revision;
                self.synced = true;
            }
            Message::Changes(changes) => {
                let Changes { from, to, .. } = changes;
                assert!(
                    from <= self.revision,
                    "gap: {from}..{to} at {}",
                    self.revision
                );
                if to <= self.revision {
                    return false;
                }
                let section = changes.sections.functions;
                for name in section.removed {
                    let was = self.functions.remove(name.0);
                    assert!(was.is_some() || !self.synced, "{name} was not there");
                }
                self.upsert(&section.added);
                self.upsert(&section.updated);
                if !changes.more {
                    self.revision = to;
                }
            }
            _ => return false,
        }
        true
    }

    fn upsert(&mut self, functions: &[Definition<'_>]) {
        for function in functions {
            self.functions
                .insert(function.name.to_string(), function.description.to_string());
        }
    }

    /// Reads until SYNCED.
    pub fn sync(client: &mut Client) -> Self {
        let mut view = Self::default();
        view.read_until(client, |view| view.synced);
        view
    }

    /// Reads on until the view is as wanted, answering PINGs.
    pub fn read_until(&mut self, client: &mut Client, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            let frame = client.next();
            if let Message::Ping(_) = frame.message() {
                let pong = callboard::protocol::Pong {
                    revision: self.revision,
                    ..Default::default()
                };
                client.send(&pong.to_frame());
            }
            self.apply(&frame);
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    pub fn names(&self) -> Vec<&str> {
        self.functions.keys().map(String::as_str).collect()
    }
}
