//! Thousands of connections in one thread, each with a reader at its end: one that checks everything, or one
//! that only takes notice of what a worker waits for. They answer PINGs whenever they read. No wait
//! depends on the clock.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use callboard::protocol::{Inbox, Message, Pong};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::peer::{Greeting, all, plain, register_frame};
use crate::reader::{Ending, Reader, WatchFilter, Welcome};

/// Longer than a crowd takes for anything on a slow machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;

/// More than the engine's largest frame.
const FRAME_MAX: usize = 1 << 21;

/// EINPROGRESS.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// The id of the registration that a member sends with its HELLO.
const REGISTRATION: u64 = 1;

/// How closely a member looks.
pub(crate) enum Sight {
    /// Builds a view and panics over everything that the specification rules out.
    Strict(Box<Reader>),
    /// Cuts frames and looks at their kinds: ten thousand boards of ten thousand functions fit into no
    /// memory.
    Lean(Box<Lean>),
}

#[derive(Default)]
pub(crate) struct Lean {
    inbox: Inbox,
    welcome: Option<Welcome>,
    synced: bool,
    registered: Option<Ending>,
    goodbye: Option<String>,
    pings: u64,
    mine: u64,
}

impl Lean {
    fn read(&mut self, mut bytes: &[u8]) {
        let mut inbox = std::mem::take(&mut self.inbox);
        while let Some(frame) = inbox.next(&mut bytes, FRAME_MAX).expect("a frame") {
            // An array, then the kind as one byte: PROTOCOL.md has none above 127.
            match frame[1] {
                70 | 72 => {}
                _ => self.take(&Message::decode(frame).expect("a message")),
            }
        }
        self.inbox = inbox;
    }

    fn take(&mut self, message: &Message<'_>) {
        match message {
            Message::Welcome(it) => {
                self.welcome = Some(Welcome {
                    epoch: it.epoch,
                    session: it.session.to_vec(),
                    digest: it.digest.to_vec(),
                    resumed: it.ext.resumed,
                    ..Welcome::default()
                });
            }
            Message::Resync(_) => self.synced = false,
            Message::Synced(it) => {
                self.synced = true;
                self.mine = it.revision;
            }
            Message::Outcome(it) if it.id == REGISTRATION => {
                self.registered = Some(Ok(it.ext.revision.expect("a revision")));
            }
            Message::Failure(it) if it.id == REGISTRATION => {
                self.registered = Some(Err((it.code.to_string(), it.message.to_string())));
            }
            Message::Ping(_) => self.pings += 1,
            Message::Goodbye(it) => self.goodbye = Some(format!("{}: {}", it.code, it.message)),
            other => panic!("{other:?}"),
        }
    }
}

impl Sight {
    pub(crate) fn strict(filter: &WatchFilter) -> Self {
        Self::Strict(Box::new(Reader::new(filter.clone())))
    }

    pub(crate) fn lean() -> Self {
        Self::Lean(Box::default())
    }

    fn read(&mut self, bytes: &[u8]) {
        match self {
            Self::Strict(reader) => reader.read(bytes),
            Self::Lean(lean) => lean.read(bytes),
        }
    }

    fn pings(&self) -> u64 {
        match self {
            Self::Strict(reader) => reader.pings,
            Self::Lean(lean) => lean.pings,
        }
    }

    fn mine(&self) -> u64 {
        match self {
            Self::Strict(reader) => reader.mine,
            Self::Lean(lean) => lean.mine,
        }
    }

    fn goodbye(&self) -> Option<String> {
        match self {
            Self::Strict(reader) => reader
                .goodbye
                .as_ref()
                .map(|it| format!("{}: {}", it.0, it.1)),
            Self::Lean(lean) => lean.goodbye.clone(),
        }
    }

    /// As it is ready for another connection, and what its HELLO presents.
    fn reconnected(self) -> (Self, Presented) {
        match self {
            Self::Strict(reader) => {
                let welcome = reader.welcome.clone();
                // A snapshot that was cut off leaves nothing to resume from.
                let resume = (!reader.syncing).then_some(reader.mine);
                let sight = Self::Strict(Box::new(reader.reconnected()));
                (sight, presented(welcome, resume))
            }
            Self::Lean(lean) => (Self::lean(), presented(lean.welcome, None)),
        }
    }
}

/// Session key, resume point.
type Presented = (Option<Vec<u8>>, Option<(u64, u64, Vec<u8>)>);

fn presented(welcome: Option<Welcome>, mine: Option<u64>) -> Presented {
    match welcome {
        None => (None, None),
        Some(it) => {
            let resume = mine.map(|mine| (it.epoch, mine, it.digest));
            (Some(it.session), resume)
        }
    }
}

/// One connection.
pub(crate) struct Member {
    stream: TcpStream,
    sight: Option<Sight>,
    /// What it registers with its HELLO.
    function: Option<String>,
    unsent: Vec<u8>,
    /// The poll said that there is something to read, and no read has said `WouldBlock` since.
    readable: bool,
    /// Whether it reads at all.
    pub(crate) reads: bool,
    /// How its connection ended.
    pub(crate) ended: Option<String>,
    answered: u64,
}

impl Member {
    fn sight(&self) -> &Sight {
        self.sight
            .as_ref()
            .expect("it has eyes between two connections only")
    }

    /// Its reader, if it is one that checks everything.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        match self.sight() {
            Sight::Strict(reader) => Some(reader),
            Sight::Lean(_) => None,
        }
    }

    pub(crate) fn mine(&self) -> u64 {
        self.sight().mine()
    }

    /// What the engine said as it closed.
    pub(crate) fn goodbye(&self) -> Option<String> {
        self.sight().goodbye()
    }

    pub(crate) fn is_welcome(&self) -> bool {
        match self.sight() {
            Sight::Strict(reader) => reader.welcome.is_some(),
            Sight::Lean(lean) => lean.welcome.is_some(),
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        match self.sight() {
            Sight::Strict(reader) => reader.is_synced(),
            Sight::Lean(lean) => lean.synced,
        }
    }

    /// The answer to its registration.
    pub(crate) fn registered(&self) -> Option<&Ending> {
        match self.sight() {
            Sight::Strict(reader) => reader.endings.get(&REGISTRATION),
            Sight::Lean(lean) => lean.registered.as_ref(),
        }
    }

    fn hello(&mut self, name: &str, filter: &WatchFilter, presented: Presented) {
        let mut greeting = Greeting::new(name, filter);
        (greeting.session, greeting.resume) = presented;
        self.unsent = greeting.frame();
        if let Some(function) = &self.function {
            let register = register_frame(REGISTRATION, false, vec![plain(function)]);
            self.unsent.extend_from_slice(&register);
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.write();
    }

    fn write(&mut self) {
        while !self.unsent.is_empty() && self.ended.is_none() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return,
                    // What the engine said before it closed is still to be read.
                    _ => return self.unsent.clear(),
                },
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) {
        while self.readable && self.reads && self.ended.is_none() {
            match self.stream.read(scratch) {
                Ok(0) => self.ended = Some("the end of the stream".to_owned()),
                Ok(n) => {
                    let sight = self.sight.as_mut().expect("eyes");
                    sight.read(&scratch[..n]);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => self.readable = false,
                    _ => self.ended = Some(error.to_string()),
                },
            }
        }
        while self.answered < self.sight().pings() {
            self.answered += 1;
            let revision = self.mine();
            let pong = Pong {
                revision,
                ..Pong::default()
            };
            self.say(&pong.to_frame());
        }
    }
}

/// Thousands of connections, driven by one thread.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    at: SocketAddr,
    pub(crate) filter: WatchFilter,
    /// Bytes of each connection's receive buffer; without it, the kernel gives more to those who read fast.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) members: Vec<Member>,
}

impl Crowd {
    /// Empty; all that join will watch all functions.
    pub(crate) fn new(at: SocketAddr) -> Self {
        Self {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH],
            at,
            filter: all(),
            receive_buffer: None,
            members: Vec::new(),
        }
    }

    /// One more, that says HELLO as soon as it is connected, and registers a function behind it.
    pub(crate) fn add(&mut self, sight: Sight, function: Option<String>) {
        let mut member = Member {
            stream: self.connect(self.members.len()),
            sight: Some(sight),
            function,
            unsent: Vec::new(),
            readable: false,
            reads: true,
            ended: None,
            answered: 0,
        };
        member.hello("one of the crowd", &self.filter, (None, None));
        self.members.push(member);
    }

    fn connect(&self, index: usize) -> TcpStream {
        let socket =
            Socket::new(Domain::for_address(self.at), Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        match socket.connect(&self.at.into()) {
            // It is under way; the poll tells of its end.
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            connected => connected.expect("a connection"),
        }
        let mut stream = TcpStream::from_std(socket.into());
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(index), both).unwrap();
        stream
    }

    /// Each whose connection has ended makes another, with its session key and its resume point. Returns
    /// how many did.
    pub(crate) fn reconnect(&mut self) -> usize {
        let ended: Vec<usize> = self.all_that(|member| member.ended.is_some());
        for &index in &ended {
            self.reconnect_one(index);
        }
        ended.len()
    }

    /// Leaves its connection, whatever its state, and makes another.
    pub(crate) fn reconnect_one(&mut self, index: usize) {
        let stream = self.connect(index);
        let member = &mut self.members[index];
        member.stream = stream;
        let sight = member.sight.take().expect("eyes");
        let (sight, presented) = sight.reconnected();
        member.sight = Some(sight);
        (member.readable, member.ended, member.answered) = (false, None, 0);
        member.hello("one of the crowd", &self.filter, presented);
    }

    fn all_that(&self, is_so: impl Fn(&Member) -> bool) -> Vec<usize> {
        let members = self.members.iter().enumerate();
        let wanted = members.filter(|(_, member)| is_so(member));
        wanted.map(|(index, _)| index).collect()
    }

    /// Waits for whatever comes, at most for so long, and reads it.
    pub(crate) fn turn(&mut self, patience: Duration) {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            polled => polled.unwrap(),
        }
        for event in &self.events {
            let member = &mut self.members[event.token().0];
            if event.is_writable() {
                member.write();
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                member.readable = true;
                member.read(&mut self.scratch);
            }
        }
    }

    /// Reads until it is so for each of them; fails with `what` when that does not come.
    pub(crate) fn read_until(&mut self, what: &str, is_so: impl Fn(&Member) -> bool) {
        self.watch_until(what, |crowd| {
            crowd.members.iter().all(|member| {
                let is_so = is_so(member);
                let ended = member.ended.as_deref().filter(|_| !is_so);
                assert!(ended.is_none(), "{what}: {ended:?}, {:?}", member.goodbye());
                is_so
            })
        });
    }

    /// Reads until it is so.
    pub(crate) fn watch_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what} does not come");
            self.turn(Duration::from_millis(50));
        }
    }

    /// Reads for so long, whatever comes.
    pub(crate) fn watch_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(left.min(Duration::from_millis(50)));
        }
    }

    /// The first so many stop reading, or begin again.
    pub(crate) fn set_reading(&mut self, count: usize, reads: bool) {
        for member in &mut self.members[..count] {
            member.reads = reads;
            member.read(&mut self.scratch);
        }
    }

    /// The first so many say this.
    pub(crate) fn say(&mut self, count: usize, bytes: &[u8]) {
        for member in &mut self.members[..count] {
            member.say(bytes);
        }
    }

    /// Those who are welcome and still there close their connections. Returns how many did.
    pub(crate) fn dismiss(&mut self) -> usize {
        let welcome = self.all_that(|member| member.is_welcome() && member.ended.is_none());
        for &index in &welcome {
            let member = &mut self.members[index];
            member.ended = Some("its own close".to_owned());
            // The engine may have been quicker.
            let _ = member.stream.shutdown(std::net::Shutdown::Both);
        }
        welcome.len()
    }

    /// All break their connections off.
    pub(crate) fn reset(self) {
        for member in &self.members {
            let stream = socket2::SockRef::from(&member.stream);
            stream.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}
