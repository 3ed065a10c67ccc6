//! A relay of bytes between workers and an engine, which can take a connection away from the worker
//! while the engine goes on believing in it, as a broken network does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use callboard::address::Address;

pub(super) struct Proxy {
    address: Address,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Both ends of each relayed connection: the worker's, the engine's.
    relayed: Vec<(TcpStream, TcpStream)>,
    /// New connections are dropped at once.
    closed: bool,
}

impl Proxy {
    pub(super) fn to(engine: &Address) -> Self {
        let Address::Tcp(target) = engine.clone() else {
            panic!("the proxy speaks TCP")
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for worker in listener.incoming().map(Result::unwrap) {
                let mut state = shared.lock().unwrap();
                if state.closed {
                    continue;
                }
                if let Ok(engine) = TcpStream::connect(&target) {
                    relay(&worker, &engine);
                    relay(&engine, &worker);
                    state.relayed.push((worker, engine));
                }
            }
        });
        Self { address, state }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Cuts all workers off. The engine's ends stay open.
    pub(super) fn cut_off_workers(&self) {
        for (worker, _) in &self.state.lock().unwrap().relayed {
            // One that has gone by itself is as cut off.
            let _ = worker.shutdown(Shutdown::Both);
        }
    }

    /// Ends the engine's ends, too.
    pub(super) fn cut_off_engine(&self) {
        for (_, engine) in self.state.lock().unwrap().relayed.drain(..) {
            let _ = engine.shutdown(Shutdown::Both);
        }
    }

    /// Ends the engine's ends of all connections but the newest.
    pub(super) fn cut_off_engine_from_the_past(&self) {
        let relayed = &mut self.state.lock().unwrap().relayed;
        let past = relayed.len() - 1;
        for (_, engine) in relayed.drain(..past) {
            // The engine may have closed it long since.
            let _ = engine.shutdown(Shutdown::Both);
        }
    }

    /// Drops new connections from now on, or lets them through again.
    pub(super) fn set_closed(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
    }
}

/// Copies bytes until one side ends; does not pass the end on.
fn relay(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..n]).is_err() {
                // The rest is read and lost, as a broken network loses it.
            }
        }
    });
}
