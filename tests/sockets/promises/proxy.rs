//! A byte proxy for one connection that never closes anything by itself: what the worker's end does
//! beyond bytes is kept from the engine, as a network does that loses a FIN.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use callboard::address::Address;

/// The proxy of one connection. Its drop closes both sides.
pub(crate) struct Proxy {
    at: Address,
    listener: TcpListener,
    engine: TcpStream,
    worker: Option<TcpStream>,
}

impl Proxy {
    /// Stands before the engine at `address`.
    pub(crate) fn before(address: &Address) -> Self {
        let Address::Tcp(address) = address else {
            panic!("a TCP address is needed");
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let engine = TcpStream::connect(address).unwrap();
        engine.set_nodelay(true).unwrap();
        Self {
            at: Address::Tcp(listener.local_addr().unwrap().to_string()),
            listener,
            engine,
            worker: None,
        }
    }

    /// Where the worker may connect, once; [`Proxy::carry`] comes after.
    pub(crate) fn address(&self) -> &Address {
        &self.at
    }

    /// Takes the worker's connection and carries bytes both ways from now on.
    pub(crate) fn carry(&mut self) {
        let (worker, _) = self.listener.accept().unwrap();
        worker.set_nodelay(true).unwrap();
        let copy = |stream: &TcpStream| stream.try_clone().unwrap();
        pump(copy(&worker), copy(&self.engine), false);
        pump(copy(&self.engine), copy(&worker), true);
        self.worker = Some(worker);
    }

    /// Bytes on the way to the engine, behind the worker's back.
    pub(crate) fn send_late(&mut self, bytes: &[u8]) {
        self.engine.write_all(bytes).unwrap();
    }

    /// The end of the stream, which the engine gets to know only now.
    pub(crate) fn finish_late(&self) {
        self.engine.shutdown(Shutdown::Write).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for stream in self.worker.iter().chain([&self.engine]) {
            // Ended already: all the better.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Copies bytes until the end of either stream; passes the end itself on only if told to.
fn pump(mut from: TcpStream, mut to: TcpStream, pass_the_end: bool) {
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..n]).is_err() {
                return;
            }
        }
        if pass_the_end {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}
