//! An engine that does what a test's script says, frame by frame.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use callboard::address::Address;
use callboard::protocol::{
    Bin, Code, Goodbye, GoodbyeOptions, Inbox, MAX_FRAME_CEILING, Message, NoExtensions, Outcome,
    OutcomeOptions, Resync, Snapshot, Synced, Text, Welcome, WelcomeOptions,
};

use super::PATIENCE;

pub(super) struct FakeEngine {
    listener: TcpListener,
}

/// One connection, at the engine's end.
pub(super) struct Line {
    stream: TcpStream,
    inbox: Inbox,
    held: Vec<u8>,
    /// When it was accepted.
    pub(super) accepted: Instant,
    /// The HELLO, as a whole frame.
    hello: Vec<u8>,
}

impl FakeEngine {
    pub(super) fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub(super) fn address(&self) -> Address {
        self.listener
            .local_addr()
            .unwrap()
            .to_string()
            .parse()
            .unwrap()
    }

    /// The next connection, and its HELLO.
    pub(super) fn accept(&self) -> Line {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = Line {
            stream,
            inbox: Inbox::default(),
            held: Vec::new(),
            accepted: Instant::now(),
            hello: Vec::new(),
        };
        line.hello = line.next().expect("a worker begins with HELLO");
        assert!(matches!(
            Message::decode(&line.hello),
            Ok(Message::Hello(_))
        ));
        line
    }
}

impl Line {
    /// The body of the next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut rest = &self.held[..];
            let body = self.inbox.next(&mut rest, MAX_FRAME_CEILING).unwrap();
            let body = body.map(<[u8]>::to_vec);
            let taken = self.held.len() - rest.len();
            self.held.drain(..taken);
            if body.is_some() {
                return body;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.held.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(super) fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).unwrap();
    }

    pub(super) fn send_message(&mut self, message: &Message<'_>) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.send(&frame);
    }

    /// What HELLO presented: session key, and the revision to resume from.
    pub(super) fn presented(&self) -> (Option<Vec<u8>>, Option<u64>) {
        let Ok(Message::Hello(hello)) = Message::decode(&self.hello) else {
            panic!("HELLO was looked at before")
        };
        let session = hello.ext.session.map(|key| key.0.to_vec());
        (session, hello.ext.resume.map(|it| it.revision))
    }

    /// WELCOME of epoch 1 with this session key and heartbeat.
    pub(super) fn welcome(&mut self, key: u8, ping_ms: u64, silence_ms: u64) {
        self.send_message(&Message::Welcome(Welcome {
            version: 1,
            worker: 1,
            engine: Text("fake"),
            epoch: 1,
            revision: 10,
            session: Bin(&[key; 16]),
            digest: Bin(&[1; 8]),
            ext: WelcomeOptions {
                ping_ms,
                silence_ms,
                ..WelcomeOptions::default()
            },
        }));
    }

    /// WELCOME and a board of these functions at revision 10.
    pub(super) fn welcome_with_board(&mut self, key: u8, names: &[&str]) {
        self.welcome(key, 5000, 15000);
        self.board(names);
    }

    pub(super) fn board(&mut self, names: &[&str]) {
        self.send_message(&Message::Resync(Resync {
            revision: 10,
            reason: Text("joined"),
            ext: NoExtensions {},
        }));
        let mut snapshot = Snapshot::default();
        snapshot.sections.functions.added = names
            .iter()
            .map(|name| callboard::protocol::Definition {
                name: Text(name),
                ..callboard::protocol::Definition::default()
            })
            .collect();
        self.send_message(&Message::Snapshot(snapshot));
        self.send_message(&Message::Synced(Synced {
            revision: 10,
            ext: NoExtensions {},
        }));
    }

    /// Accepts requests until one is READY.
    pub(super) fn accept_until_ready(&mut self) {
        loop {
            let body = self.next().expect("READY comes before the end");
            let (id, ready) = match Message::decode(&body).unwrap() {
                Message::Register(it) => (it.id, false),
                Message::Ready(it) => (it.id, true),
                _ => continue,
            };
            self.send(&accepted(id));
            if ready {
                return;
            }
        }
    }

    pub(super) fn goodbye(&mut self, code: Code, retry_after_ms: Option<u64>) {
        self.send_message(&Message::Goodbye(Goodbye {
            code: Text(code.as_str()),
            message: Text("the script says so"),
            ext: GoodbyeOptions {
                retry_after_ms,
                ..GoodbyeOptions::default()
            },
        }));
    }
}

/// RESULT for a request of the registry.
pub(super) fn accepted(id: u64) -> Vec<u8> {
    Outcome {
        id,
        payload: Bin(&[]),
        ext: OutcomeOptions {
            revision: Some(10),
            matched: None,
        },
    }
    .to_frame()
}
