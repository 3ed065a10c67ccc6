//! An accepted socket, TCP or Unix: reads, gathered writes, half-close, and socket options. Knows nothing of
//! frames, and buffers nothing.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::kernel::Stream;
use crate::limits::Limits;

/// A nonblocking stream socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Registers both directions, once. The interest never changes: the loop tries before it waits, and remembers
    /// the edges that it saw.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source()
            .register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl Stream for Socket {
    /// If the peer has gone, this may fail; the reads and writes that follow report it in their own way.
    fn prepare(&self, limits: &Limits) -> io::Result<()> {
        let sock = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        // By default the kernel would buffer up to 4 MB for each stalled reader.
        sock.set_send_buffer_size(usize::try_from(limits.send_buffer).unwrap_or(usize::MAX))?;
        // By default the kernel would buffer up to 6 MB from a peer that sends faster than the engine reads.
        sock.set_recv_buffer_size(usize::try_from(limits.receive_buffer).unwrap_or(usize::MAX))?;
        if let Self::Tcp(stream) = self {
            // A change is one small write; Nagle's algorithm would hold it back for the peer's delayed ACK.
            stream.set_nodelay(true)?;
            // A host that vanishes with unacknowledged bytes is given up as quickly as a silent one, not after the
            // 15 minutes of retransmission.
            #[cfg(target_os = "linux")]
            sock.set_tcp_user_timeout(Some(Duration::from_millis(limits.silence)))?;
        }
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            // Most writes are a single slice, which the kernel handles more cheaply.
            (Self::Tcp(stream), [one]) => stream.write(one),
            (Self::Tcp(stream), _) => stream.write_vectored(slices),
            (Self::Unix(stream), [one]) => stream.write(one),
            (Self::Unix(stream), _) => stream.write_vectored(slices),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_pair() -> (Socket, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Socket::Tcp(TcpStream::from_std(ours)), peer)
    }

    #[test]
    fn an_accepted_tcp_socket_has_no_nagle_bounded_buffers_and_a_user_timeout() {
        let (socket, _peer) = tcp_pair();
        let limits = Limits {
            send_buffer: 16_384,
            receive_buffer: 32_768,
            silence: 7000,
            ..Limits::default()
        };
        socket.prepare(&limits).unwrap();
        let Socket::Tcp(stream) = &socket else {
            unreachable!()
        };
        assert!(stream.nodelay().unwrap());
        let sock = SockRef::from(stream);
        // Linux doubles the value to make room for its own bookkeeping.
        assert!(sock.send_buffer_size().unwrap() <= 2 * 16_384);
        assert!(sock.recv_buffer_size().unwrap() <= 2 * 32_768);
        assert_eq!(
            sock.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn a_closed_sending_half_still_reads() {
        let (mut socket, mut peer) = tcp_pair();
        socket.write_vectored(&[IoSlice::new(b"last")]).unwrap();
        socket.shutdown_write().unwrap();
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"last");
        peer.write_all(b"more").unwrap();
        drop(peer);
        let mut poll = mio::Poll::new().unwrap();
        socket.register(poll.registry(), Token(1)).unwrap();
        let mut events = mio::Events::with_capacity(4);
        let mut heard = Vec::new();
        loop {
            let mut scratch = [0; 16];
            match socket.read(&mut scratch) {
                Ok(0) => break,
                Ok(n) => heard.extend_from_slice(&scratch[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll.poll(&mut events, Some(Duration::from_secs(10)))
                        .unwrap();
                    assert!(!events.is_empty(), "the end never came");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(heard, b"more");
        socket.deregister(poll.registry()).unwrap();
    }
}
