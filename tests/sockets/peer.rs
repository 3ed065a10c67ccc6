//! One connection to the engine with the strict reader at its end. It reads with a deadline, answers
//! PINGs whenever it reads, and never waits for a time to pass.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{
    Bin, Definition, Hello, HelloOptions, Ping, Pong, Ready, Register, Resume, Text, Unregister,
    Watch,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::client::PATIENCE;
use crate::reader::{Ending, Reader, View, WatchFilter};

/// What a HELLO says.
#[derive(Debug, Clone)]
pub(crate) struct Greeting<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) filter: WatchFilter,
    pub(crate) session: Option<Vec<u8>>,
    /// Epoch, revision, digest.
    pub(crate) resume: Option<(u64, u64, Vec<u8>)>,
    /// Calls that it takes at once.
    pub(crate) capacity: Option<u64>,
}

impl<'a> Greeting<'a> {
    pub(crate) fn new(name: &'a str, filter: &WatchFilter) -> Self {
        Self {
            name,
            namespace: "default",
            filter: filter.clone(),
            session: None,
            resume: None,
            capacity: None,
        }
    }

    pub(crate) fn in_namespace(self, namespace: &'a str) -> Self {
        Self { namespace, ..self }
    }

    /// Presents the session of an earlier connection.
    pub(crate) fn with_session_of(self, earlier: &Peer) -> Self {
        let session = Some(earlier.welcome().session.clone());
        Self { session, ..self }
    }

    /// Presents where the view of an earlier connection stood.
    pub(crate) fn resuming(self, earlier: &Reader) -> Self {
        let welcome = earlier.welcome.as_ref().unwrap();
        let resume = Some((welcome.epoch, earlier.mine, welcome.digest.clone()));
        Self { resume, ..self }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let texts = |list: &'_ [String]| -> Option<Vec<String>> {
            (!list.is_empty()).then(|| list.to_vec())
        };
        let (functions, workers) = (texts(&self.filter.functions), texts(&self.filter.workers));
        let watch = Watch {
            functions: functions.as_deref().map(as_texts),
            workers: workers.as_deref().map(as_texts),
            bindings: None,
        };
        let resume = self.resume.as_ref();
        let resume = resume.map(|(epoch, revision, digest)| Resume {
            epoch: *epoch,
            revision: *revision,
            digest: Bin(digest),
        });
        let hello = Hello {
            versions: vec![1],
            name: Text(self.name),
            namespace: Text(self.namespace),
            ext: HelloOptions {
                watch: Some(watch),
                session: self.session.as_deref().map(Bin),
                resume,
                capacity: self.capacity,
                ..HelloOptions::default()
            },
        };
        hello.to_frame()
    }
}

fn as_texts(list: &[String]) -> Vec<Text<'_>> {
    list.iter().map(|prefix| Text(prefix)).collect()
}

/// The usual limits, but none of the engine's clocks: how quick this machine is shall decide nothing.
pub(crate) fn patient() -> Limits {
    let long = 600_000;
    Limits {
        hello_timeout: long,
        frame_timeout: long,
        ping_after: long,
        silence: 2 * long,
        write_deadline: long,
        ready_timeout: long,
        linger: long,
        ..Limits::default()
    }
}

/// Watches all functions.
pub(crate) fn all() -> WatchFilter {
    WatchFilter::new(&[""], &[])
}

/// Watches all functions and all workers.
pub(crate) fn both() -> WatchFilter {
    WatchFilter::new(&[""], &[""])
}

/// Watches nothing.
pub(crate) fn nothing() -> WatchFilter {
    WatchFilter::new(&[], &[])
}

/// One connection that speaks the protocol frame by frame, with a strict reader.
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    pub(crate) reader: Reader,
    /// The engine closed its half.
    pub(crate) ended: bool,
    /// PINGs of the engine that were answered.
    answered: u64,
    /// PINGs of our own.
    asked: u64,
    next_id: u64,
}

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn connect(address: &Address, reader: Reader) -> Self {
        Self::connect_with(address, reader, |_| ())
    }

    /// Connects with socket options that must be set before.
    pub(crate) fn connect_with(
        address: &Address,
        reader: Reader,
        prepare: impl FnOnce(&Socket),
    ) -> Self {
        let (domain, at) = match address {
            Address::Tcp(text) => {
                let at: SocketAddr = text.parse().unwrap();
                (Domain::for_address(at), at.into())
            }
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
        };
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        prepare(&socket);
        socket.connect(&at).unwrap();
        if domain != Domain::UNIX {
            socket.set_tcp_nodelay(true).unwrap();
        }
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            reader,
            ended: false,
            answered: 0,
            asked: 0,
            next_id: 0,
        }
    }

    /// Connects, says HELLO and reads until WELCOME.
    pub(crate) fn greet(address: &Address, greeting: &Greeting<'_>) -> Self {
        Self::greet_again(address, greeting, Reader::new(greeting.filter.clone()))
    }

    /// As `greet`, with the view of an earlier connection.
    pub(crate) fn greet_again(address: &Address, greeting: &Greeting<'_>, reader: Reader) -> Self {
        let mut peer = Self::connect(address, reader);
        peer.send(&greeting.frame());
        peer.read_until("WELCOME", |reader| reader.welcome.is_some());
        peer
    }

    /// Joins with buffers that take little, so that what it does not read stays with the engine.
    pub(crate) fn join_narrow(address: &Address, name: &str, filter: &WatchFilter) -> Self {
        let small = |socket: &Socket| socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut peer = Self::connect_with(address, Reader::new(filter.clone()), small);
        peer.send(&Greeting::new(name, filter).frame());
        peer.sync();
        peer
    }

    /// Joins the default namespace and reads until the view is complete.
    pub(crate) fn join(address: &Address, name: &str, filter: &WatchFilter) -> Self {
        let mut peer = Self::greet(address, &Greeting::new(name, filter));
        peer.sync();
        peer
    }

    /// Reads until the view is complete, if anything is watched at all.
    pub(crate) fn sync(&mut self) {
        self.read_until("SYNCED", Reader::is_synced);
    }

    pub(crate) fn welcome(&self) -> &crate::reader::Welcome {
        self.reader.welcome.as_ref().expect("WELCOME was read")
    }

    pub(crate) fn view(&self) -> &View {
        &self.reader.view
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.reader.view.functions.keys().map(|it| &**it).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.reader.view.functions.contains_key(name)
    }

    /// Sends bytes, whatever they mean.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection off: the engine hears of a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads what is there, waiting for it if need be.
    pub(crate) fn read_on(&mut self) {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(n) => self.reader.read(&chunk[..n]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset => self.ended = true,
                _ => panic!("the engine says nothing: {error}"),
            },
        }
        while self.answered < self.reader.pings {
            self.answered += 1;
            let pong = Pong {
                revision: self.reader.mine,
                ..Pong::default()
            };
            // The engine may have closed meanwhile; a test that waits for more finds out.
            let _ = self.socket.write_all(&pong.to_frame());
        }
    }

    /// Reads until it is so; fails with `what` when the engine ends the connection before, or takes
    /// too long.
    pub(crate) fn read_until(&mut self, what: &str, mut is_so: impl FnMut(&Reader) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.reader) {
            assert!(!self.ended, "{what}: ended with {:?}", self.reader.goodbye);
            assert!(Instant::now() < deadline, "{what} does not come");
            self.read_on();
        }
    }

    /// As `read_until`, for what takes as long as others need: each read has a deadline, not the whole.
    pub(crate) fn follow_until(&mut self, is_so: impl Fn(&Reader) -> bool) {
        while !is_so(&self.reader) {
            assert!(!self.ended, "ended with {:?}", self.reader.goodbye);
            self.read_on();
        }
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ended {
            assert!(Instant::now() < deadline, "the connection does not end");
            self.read_on();
        }
    }

    /// A fresh request id.
    pub(crate) fn request(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Reads until request `id` has ended.
    pub(crate) fn ending(&mut self, id: u64) -> Ending {
        self.read_until("an answer", |reader| reader.endings.contains_key(&id));
        self.reader.endings[&id].clone()
    }

    pub(crate) fn register(&mut self, names: &[impl AsRef<str>]) -> Ending {
        self.register_all(names.iter().map(|name| plain(name.as_ref())).collect())
    }

    pub(crate) fn register_all(&mut self, functions: Vec<Definition<'_>>) -> Ending {
        let id = self.request();
        self.send(&register_frame(id, false, functions));
        self.ending(id)
    }

    pub(crate) fn unregister(&mut self, names: &[impl AsRef<str>]) -> Ending {
        let id = self.request();
        self.send(&unregister_frame(id, names));
        self.ending(id)
    }

    pub(crate) fn ready(&mut self) -> Ending {
        let id = self.request();
        self.send(&ready_frame(id));
        self.ending(id)
    }

    /// Sends a PING and does not wait for its answer.
    pub(crate) fn ask(&mut self) {
        self.asked += 1;
        self.send(&Ping::default().to_frame());
    }

    /// Asks and reads until the answers to all PINGs are there. Returns the revision of the view.
    pub(crate) fn ping(&mut self) -> u64 {
        self.ask();
        let asked = self.asked;
        self.read_until("PONG", |reader| reader.pongs >= asked);
        self.reader.mine
    }

    /// Asks until the engine says that all changes up to `revision` were sent. A peer at the
    /// newest revision that was told of no change can be sure that there was none.
    pub(crate) fn catch_up(&mut self, revision: u64) {
        let deadline = Instant::now() + PATIENCE;
        while !self.reader.is_synced() || self.reader.mine < revision {
            assert!(
                Instant::now() < deadline,
                "revision {revision} does not come"
            );
            self.ping();
        }
    }
}

/// A function with nothing but a name.
pub(crate) fn plain(name: &str) -> Definition<'_> {
    crate::client::function(name)
}

pub(crate) fn register_frame(id: u64, more: bool, functions: Vec<Definition<'_>>) -> Vec<u8> {
    let register = Register {
        id,
        more,
        functions,
        ..Register::default()
    };
    register.to_frame()
}

pub(crate) fn unregister_frame(id: u64, names: &[impl AsRef<str>]) -> Vec<u8> {
    let names = names.iter().map(|name| Text(name.as_ref())).collect();
    let unregister = Unregister {
        id,
        names,
        ..Unregister::default()
    };
    unregister.to_frame()
}

pub(crate) fn ready_frame(id: u64) -> Vec<u8> {
    let ready = Ready {
        id,
        ..Ready::default()
    };
    ready.to_frame()
}

/// So many names under a prefix, in order.
pub(crate) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n:05}")).collect()
}
