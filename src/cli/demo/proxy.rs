//! A TCP proxy whose connections can be cut on one side: the worker sees the connection end, the engine sees
//! nothing, as when a cable is pulled. Forwards bytes without looking at them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use callboard::address::Address;

/// Listens on a free port, and forwards connections to the engine.
pub(super) struct Proxy {
    address: Address,
    plugged: Arc<Mutex<Vec<Plugged>>>,
}

/// Both ends of a forwarded connection.
struct Plugged {
    worker: TcpStream,
    /// Stays open when the worker's side is cut.
    engine: TcpStream,
}

impl Proxy {
    pub(super) fn to(engine: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = Address::Tcp(listener.local_addr()?.to_string());
        let plugged = Arc::new(Mutex::new(Vec::new()));
        let (engine, ends) = (engine.to_owned(), Arc::clone(&plugged));
        // Ends with the process at the latest.
        thread::Builder::new()
            .name("demo-proxy".to_owned())
            .spawn(move || {
                for worker in listener.incoming() {
                    if worker.and_then(|it| plug(it, &engine, &ends)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { address, plugged })
    }

    /// The address for the worker.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Cuts all connections on the worker's side. New ones are forwarded as before.
    pub(super) fn cut(&self) -> io::Result<()> {
        let plugged = self.plugged.lock().unwrap_or_else(PoisonError::into_inner);
        plugged.iter().try_for_each(|ends| end(&ends.worker))
    }

    /// Closes the engine's side too: the engine would otherwise wait for its peers.
    pub(super) fn remove(&self) -> io::Result<()> {
        let plugged = self.plugged.lock().unwrap_or_else(PoisonError::into_inner);
        plugged.iter().try_for_each(|ends| end(&ends.engine))
    }
}

fn end(stream: &TcpStream) -> io::Result<()> {
    match stream.shutdown(Shutdown::Both) {
        // It had ended already.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

fn plug(worker: TcpStream, engine: &str, ends: &Mutex<Vec<Plugged>>) -> io::Result<()> {
    let engine = TcpStream::connect(engine)?;
    // The proxy must not add latency of its own.
    worker.set_nodelay(true)?;
    engine.set_nodelay(true)?;
    let directions = [
        (worker.try_clone()?, engine.try_clone()?),
        (engine.try_clone()?, worker.try_clone()?),
    ];
    let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
    ends.push(Plugged { worker, engine });
    drop(ends);
    for (from, to) in directions {
        thread::Builder::new()
            .name("demo-proxy".to_owned())
            .spawn(move || forward(from, to))?;
    }
    Ok(())
}

/// Forwards until either side ends; does not forward the end itself.
fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}
