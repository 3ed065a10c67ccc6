//! One connection of the exchange: writes what it is given, reads what there is, whole frames at a time. It
//! keeps nothing and checks nothing beyond the protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use callboard::address::Address;
use callboard::protocol::{Inbox, Message};
use socket2::SockRef;

use crate::peer::Greeting;

/// Only a failing test ever waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

const SCRATCH: usize = 64 * 1024;

/// More than the engine's largest frame.
const FRAME_MAX: usize = 1 << 21;

pub(crate) struct Wire {
    stream: TcpStream,
    inbox: Inbox,
    scratch: Vec<u8>,
    patience: Duration,
}

impl Wire {
    /// Connects, says HELLO and is welcome.
    pub(crate) fn join(at: &Address, greeting: &Greeting<'_>) -> Self {
        let stream = TcpStream::connect(at.to_string()).expect("the engine listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut wire = Self {
            stream,
            inbox: Inbox::default(),
            scratch: vec![0; SCRATCH],
            patience: PATIENCE,
        };
        wire.send(&mut greeting.frame());
        wire.read(|message| assert!(matches!(message, Message::Welcome(_)), "{message:?}"));
        wire
    }

    /// Writes all of it, and empties it.
    pub(crate) fn send(&mut self, bytes: &mut Vec<u8>) {
        self.stream.write_all(bytes).expect("the engine reads");
        bytes.clear();
    }

    /// Reads what is there, waiting for it if need be; it comes.
    pub(crate) fn read(&mut self, each: impl FnMut(&Message<'_>)) {
        let came = self.read_for(PATIENCE, each);
        assert!(came, "the engine says nothing");
    }

    /// Reads what is there, waiting for it for so long. Whether anything came.
    pub(crate) fn read_for(
        &mut self,
        patience: Duration,
        mut each: impl FnMut(&Message<'_>),
    ) -> bool {
        if patience != self.patience {
            self.stream
                .set_read_timeout(Some(patience))
                .expect("a socket");
            self.patience = patience;
        }
        let n = match self.stream.read(&mut self.scratch) {
            Ok(0) => panic!("the engine closed the connection"),
            Ok(n) => n,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    return false;
                }
                _ => panic!("{error}"),
            },
        };
        let mut input = &self.scratch[..n];
        while let Some(frame) = self.inbox.next(&mut input, FRAME_MAX).expect("frames") {
            each(&Message::decode(frame).expect("the protocol"));
        }
        true
    }

    /// Reads to the end of the connection; nothing but a GOODBYE comes any more.
    pub(crate) fn read_to_end(mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("a clean end");
        let mut input = &rest[..];
        while let Some(frame) = self.inbox.next(&mut input, FRAME_MAX).expect("frames") {
            let message = Message::decode(frame).expect("the protocol");
            assert!(matches!(message, Message::Goodbye(_)), "{message:?}");
        }
    }

    /// Breaks the connection off: the engine hears of a reset.
    pub(crate) fn reset(self) {
        let stream = SockRef::from(&self.stream);
        stream.set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}
