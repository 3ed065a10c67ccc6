//! One connection of a bench: its socket, a partly read frame, unwritten bytes, and how far its join is. Never
//! waits.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use socket2::Socket;

use super::error::BenchError;
use super::received_frame::{ReceivedFrame, head};
use crate::protocol::{
    Drain, Goodbye, Inbox, MAX_FRAME_CEILING, Message, Ping, Pong, Synced, Welcome, WorkerLimits,
};

/// A connection of a bench.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) socket: Socket,
    inbox: Inbox,
    out: Vec<u8>,
    /// Bytes of `out` that are written.
    sent: usize,
    pub(super) join_state: JoinState,
    /// The limits in the engine's WELCOME.
    pub(super) limits: WorkerLimits,
    /// Does not read.
    pub(super) stalled: bool,
    /// Polled for writability.
    pub(super) is_watched: bool,
}

/// How far the join of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinState {
    /// HELLO was sent. `watching`: the board follows WELCOME.
    Greeting { watching: bool },
    /// WELCOME arrived; the board has not.
    Syncing,
    /// The join is complete.
    Joined,
    /// GOODBYE was sent.
    Leaving,
    /// The engine has closed it after GOODBYE.
    Closed,
}

impl JoinState {
    /// Whether it has yet to become [`JoinState::Joined`].
    pub(super) fn is_joining(self) -> bool {
        matches!(self, Self::Greeting { .. } | Self::Syncing)
    }
}

impl Peer {
    pub(super) fn new(socket: Socket, watching: bool) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            out: Vec::new(),
            sent: 0,
            join_state: JoinState::Greeting { watching },
            limits: WorkerLimits::default(),
            stalled: false,
            is_watched: false,
        }
    }

    /// Bytes to write with the next [`flush`](Self::flush).
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether the socket takes no more bytes for now.
    pub(super) fn is_full(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) {
        while self.sent < self.out.len() {
            match self.socket.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The other direction tells why it broke: a GOODBYE may be pending.
                Err(_) => self.sent = self.out.len(),
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Reads what has arrived, passes on each frame that is not about the connection itself, and sends the replies.
    /// `ended`: the poll reported the end of the stream. Returns whether bytes arrived.
    pub(super) fn read(
        &mut self,
        key: usize,
        read_buffer: &mut [u8],
        ended: bool,
        on_frame: &mut impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<bool, BenchError> {
        let mut any = false;
        loop {
            let n = match self.socket.read(read_buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) if self.join_state == JoinState::Leaving => 0,
                Err(error) => return Err(BenchError::Broken(error)),
            };
            if n == 0 {
                self.end()?;
                return Ok(true);
            }
            any = true;
            let at = Instant::now();
            let mut inbox = std::mem::take(&mut self.inbox);
            let mut input = &read_buffer[..n];
            let result = loop {
                match inbox.next(&mut input, MAX_FRAME_CEILING) {
                    Ok(Some(body)) => {
                        if let Err(error) = self.take(key, at, body, on_frame) {
                            break Err(error);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(BenchError::NotAnEngine(error.to_string())),
                }
            };
            self.inbox = inbox;
            result?;
            self.flush();
            // A short read emptied the socket; further bytes raise another event.
            if n < read_buffer.len() && !ended {
                break;
            }
        }
        Ok(any)
    }

    /// The engine closed the connection.
    fn end(&mut self) -> Result<(), BenchError> {
        match self.join_state {
            JoinState::Leaving | JoinState::Closed => {
                self.join_state = JoinState::Closed;
                Ok(())
            }
            JoinState::Greeting { .. } => Err(BenchError::NotAnEngine(
                "it closed without WELCOME".to_owned(),
            )),
            _ => Err(BenchError::Closed),
        }
    }

    fn take(
        &mut self,
        key: usize,
        at: Instant,
        body: &[u8],
        on_frame: &mut impl FnMut(ReceivedFrame<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        if self.join_state == JoinState::Leaving {
            return Ok(());
        }
        let (kind, number) = head(body)?;
        match kind {
            Ping::KIND => {
                Pong::default().encode(&mut self.out);
                return Ok(());
            }
            Pong::KIND => return Ok(()),
            Goodbye::KIND => {
                return Err(match Message::decode(body) {
                    Ok(Message::Goodbye(goodbye)) => BenchError::goodbye(&goodbye),
                    _ => BenchError::unexpected(body),
                });
            }
            Drain::KIND => return Err(BenchError::Stopping),
            Welcome::KIND => {
                let Ok(Message::Welcome(welcome)) = Message::decode(body) else {
                    return Err(BenchError::unexpected(body));
                };
                self.limits = welcome.ext.limits;
                self.join_state = match self.join_state {
                    JoinState::Greeting { watching: true } => JoinState::Syncing,
                    _ => JoinState::Joined,
                };
            }
            Synced::KIND => self.join_state = JoinState::Joined,
            _ => {}
        }
        on_frame(ReceivedFrame {
            peer: key,
            at,
            kind,
            number,
            body,
            reply: &mut self.out,
        })
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;
    use crate::protocol::{Bin, Outcome, Text};

    fn pair() -> (Peer, Socket) {
        let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        near.set_nonblocking(true).unwrap();
        (Peer::new(near, true), far)
    }

    /// Reads what the engine sent: the kinds passed on, or the error.
    fn read(peer: &mut Peer) -> Result<Vec<u64>, BenchError> {
        let mut kinds = Vec::new();
        let mut read_buffer = [0; 64];
        peer.read(0, &mut read_buffer, false, &mut |received| {
            kinds.push(received.kind);
            received.reply.extend_from_slice(b"reply");
            Ok(())
        })?;
        Ok(kinds)
    }

    #[test]
    fn a_ping_is_answered_and_what_joins_goes_on_to_be_there() {
        let (mut peer, mut engine) = pair();
        let mut frames = Ping::default().to_frame();
        Welcome::default().encode(&mut frames);
        engine.write_all(&frames).unwrap();
        assert_eq!(read(&mut peer).unwrap(), [Welcome::KIND]);
        assert_eq!(peer.join_state, JoinState::Syncing);
        let pong = Pong::default().to_frame();
        let mut came = vec![0; pong.len() + b"reply".len()];
        engine.read_exact(&mut came).unwrap();
        assert_eq!(came, [&pong[..], b"reply"].concat());
        engine.write_all(&Synced::default().to_frame()).unwrap();
        assert_eq!(read(&mut peer).unwrap(), [Synced::KIND]);
        assert!(!peer.join_state.is_joining());
    }

    #[test]
    fn a_frame_in_pieces_longer_than_a_read_is_shown_once() {
        let (mut peer, mut engine) = pair();
        let outcome = Outcome {
            payload: Bin(&[7; 500]),
            ..Outcome::default()
        };
        let frame = outcome.to_frame();
        let mut shown = Vec::new();
        for byte in &frame {
            engine.write_all(&[*byte]).unwrap();
            shown.extend(read(&mut peer).unwrap());
        }
        assert_eq!(shown, [Outcome::KIND]);
        engine.write_all(&frame).unwrap();
        assert_eq!(read(&mut peer).unwrap(), [Outcome::KIND]);
    }

    #[test]
    fn every_end_says_what_it_was() {
        let goodbye = |code| {
            let goodbye = Goodbye {
                code: Text(code),
                ..Goodbye::default()
            };
            goodbye.to_frame()
        };
        for (sent, wanted) in [
            (goodbye("too_many_connections"), "refused: too_many"),
            (goodbye("shutting_down"), "about to stop"),
            (Drain::default().to_frame(), "about to stop"),
            (
                b"HTTP/1.1 400 Bad Request".to_vec(),
                "not a Callboard engine",
            ),
            (vec![0, 0, 0, 2, 0xff, 0xff], "not a Callboard engine"),
            (Vec::new(), "closed without WELCOME"),
        ] {
            let (mut peer, mut engine) = pair();
            engine.write_all(&sent).unwrap();
            drop(engine);
            let error = read(&mut peer).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let (mut peer, engine) = pair();
        peer.join_state = JoinState::Joined;
        drop(engine);
        assert!(matches!(read(&mut peer), Err(BenchError::Closed)));
        // After GOODBYE a close is expected, whatever came before.
        let (mut peer, mut engine) = pair();
        peer.join_state = JoinState::Leaving;
        engine.write_all(&goodbye("silent")).unwrap();
        drop(engine);
        peer.read(0, &mut [0; 64], true, &mut |_| panic!("shown"))
            .unwrap();
        assert_eq!(peer.join_state, JoinState::Closed);
    }
}
