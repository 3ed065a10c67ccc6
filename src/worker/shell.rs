//! The shell around the link: threads, sockets, the clock. One thread reads and reconnects, one writes
//! what the first has to say (a reader that waits until it can write would stop an engine that waits
//! until it is read), and the application's threads write by themselves, for that is faster. It decides
//! nothing about the protocol.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::builder::Pace;
use super::changes::{Changes, Queue};
use super::link::{Identity, Link, Ticket};
use super::pending::Slot;
use super::pool::Pool;
use super::probe::Probe;
use super::route::{Route, Turn, end_by};
use super::service::Handler;
use super::transport::{Received, Transport};
use super::{
    Attempt, End, Loss, Registered, RequestError, Snapshot, Status, Token, WaitError,
    deadline_after,
};
use crate::address::Address;
use crate::protocol::Code;

/// What one read takes at the most.
const READ_BYTES: usize = 64 * 1024;

/// What an application's thread writes by itself. More would not fit into the kernel's buffer at once,
/// and the thread shall be able to give up in time.
const DIRECT_BYTES: usize = 64 * 1024;

/// After GOODBYE: how long the engine may take to close, before the socket is dropped.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What all threads of one worker share.
#[derive(Debug)]
pub(super) struct Shell {
    state: Mutex<State>,
    /// Something changed that somebody may wait for: the board, the connection, an order's end.
    pub(super) changed: Condvar,
    /// There is something to write, or the worker is over.
    ink: Condvar,
    /// Whoever holds it writes; so frames are written in the order of their making. Never taken while
    /// the state is held.
    pen: Mutex<Option<Arc<Transport>>>,
    pub(super) pace: Pace,
    pub(super) pool: Arc<Pool>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Link,
    /// Counts what `changed` announced.
    version: u64,
    attempts: Vec<Attempt>,
    subscribers: Vec<Weak<Queue>>,
    pub(super) transport: Option<Arc<Transport>>,
    /// Counts connections; so a probe knows when it is out of date.
    pub(super) connections: u64,
    pub(super) stop: bool,
    /// An address that comes first is back: the epoch of the engine there.
    pub(super) move_to: Option<u64>,
    /// Those who wait for calls.
    pub(super) waiting: HashMap<Ticket, Arc<Slot>>,
    /// What runs for which function.
    pub(super) handlers: HashMap<Arc<str>, Option<Handler>>,
}

impl Shell {
    /// Begins the threads of a worker. `once`: give up when no address works.
    pub(super) fn start(
        identity: Identity,
        token: Option<Token>,
        addresses: Vec<Address>,
        pace: Pace,
        seed: [u8; 32],
        once: bool,
    ) -> std::io::Result<Arc<Self>> {
        let now = Instant::now();
        let mut random = StdRng::from_seed(seed);
        let route = Route::new(addresses, once, now);
        let link = Link::new(identity.clone(), random.random(), now);
        let shell = Arc::new(Self {
            state: Mutex::new(State {
                link,
                version: 0,
                attempts: Vec::new(),
                subscribers: Vec::new(),
                transport: None,
                connections: 0,
                stop: false,
                move_to: None,
                waiting: HashMap::new(),
                handlers: HashMap::new(),
            }),
            changed: Condvar::new(),
            ink: Condvar::new(),
            pen: Mutex::new(None),
            pool: Arc::new(Pool::new(pace.threads, pace.capacity)),
            pace,
        });
        let writer = shell.clone();
        thread::Builder::new()
            .name("callboard-write".to_owned())
            .spawn(move || writer.write())?;
        let reader = Reader {
            shell: shell.clone(),
            identity,
            token,
            route,
            random,
            outgoing: None,
        };
        let spawned = thread::Builder::new()
            .name("callboard-link".to_owned())
            .spawn(move || reader.run());
        if let Err(error) = spawned {
            shell.finish(End::Closed);
            return Err(error);
        }
        Ok(shell)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something of the link.
    pub(super) fn with_link<T>(&self, ask: impl FnOnce(&Link) -> T) -> T {
        ask(&self.state().link)
    }

    pub(super) fn status(&self) -> Status {
        let state = self.state();
        if let Some(end) = state.link.ended() {
            return Status::Ended(end.clone());
        }
        match state.link.connection() {
            Some(connection) => Status::Connected(connection.clone()),
            None => Status::Connecting {
                attempts: state.attempts.clone(),
            },
        }
    }

    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.state().attempts.clone()
    }

    pub(super) fn subscribe(&self) -> (Snapshot, Changes) {
        let mut state = self.state();
        (state.link.view().to_snapshot(), state.subscribe())
    }

    pub(super) fn changes(&self) -> Changes {
        self.state().subscribe()
    }

    /// Orders something of the link, writes it, and waits for its end.
    pub(super) fn order(
        &self,
        order: impl FnOnce(&mut Link) -> Result<Ticket, RequestError>,
    ) -> Result<Registered, RequestError> {
        let deadline = deadline_after(self.pace.request_timeout);
        let mut state = self.state();
        let ticket = order(&mut state.link)?;
        if state.link.output_bytes() > DIRECT_BYTES {
            self.ink.notify_one();
        } else {
            drop(state);
            self.flush();
            state = self.state();
        }
        loop {
            if let Some(end) = state.link.take_end(ticket) {
                return end;
            }
            if Instant::now() >= deadline {
                state.link.abandon(ticket);
                return Err(RequestError::Timeout(self.pace.request_timeout));
            }
            state = self.wait(state, deadline);
        }
    }

    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> MutexGuard<'a, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Waits until `condition` gives something. It is asked without a lock, so that it may ask the board
    /// in turn.
    pub(super) fn wait_until<T>(
        &self,
        timeout: Duration,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        let deadline = deadline_after(timeout);
        loop {
            let (version, end) = {
                let state = self.state();
                (state.version, state.link.ended().cloned())
            };
            if let Some(value) = condition() {
                return Ok(value);
            }
            if let Some(end) = end {
                return Err(WaitError::Ended(end));
            }
            let mut state = self.state();
            while state.version == version {
                if Instant::now() >= deadline {
                    return Err(WaitError::Timeout(timeout));
                }
                state = self.wait(state, deadline);
            }
        }
    }

    /// Writes what the link has to say, until nothing is left.
    fn flush(&self) {
        self.write_with(self.pen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Has written what the link has to say, without waiting for whoever is writing.
    pub(super) fn send(&self, state: MutexGuard<'_, State>) {
        let bytes = state.link.output_bytes();
        drop(state);
        if bytes == 0 {
            return;
        }
        if bytes <= DIRECT_BYTES {
            match self.pen.try_lock() {
                Ok(pen) => return self.write_with(pen),
                Err(TryLockError::Poisoned(pen)) => return self.write_with(pen.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.ink.notify_one();
    }

    fn write_with(&self, mut pen: MutexGuard<'_, Option<Arc<Transport>>>) {
        let mut bytes = Vec::new();
        while self.state().link.take_output(&mut bytes) {
            if let Some(transport) = &*pen
                && let Err(error) = transport.write(&bytes)
            {
                log::debug!("writing to the engine failed: {error}");
                // The reader finds the end, and what it means.
                transport.shut();
                *pen = None;
            }
            bytes.clear();
        }
    }

    /// Waits for whoever is writing.
    fn write_to(&self, transport: Option<Arc<Transport>>) {
        *self.pen.lock().unwrap_or_else(PoisonError::into_inner) = transport;
    }

    /// The thread that writes what the reader has to say.
    fn write(&self) {
        loop {
            let mut state = self.state();
            while state.link.output_bytes() == 0 {
                if state.link.ended().is_some() {
                    return;
                }
                state = self.ink.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            self.flush();
        }
    }

    /// Tells everybody what the link did.
    fn publish(self: &Arc<Self>, mut state: MutexGuard<'_, State>, before: (u64, u64)) {
        self.hand_out(&mut state);
        let notices = state.link.take_notices();
        let news = !notices.is_empty() || state.link.progress() != before;
        if !notices.is_empty() {
            state.subscribers.retain(|it| it.strong_count() > 0);
        }
        for notice in notices {
            for queue in state.subscribers.iter().filter_map(Weak::upgrade) {
                queue.push(notice.clone());
            }
        }
        let output = state.link.output_bytes() > 0;
        let over = state.link.ended().is_some();
        if news {
            state.version += 1;
        }
        drop(state);
        if news {
            self.changed.notify_all();
        }
        if output || over {
            self.ink.notify_one();
        }
    }

    fn finish(self: &Arc<Self>, end: End) {
        let mut state = self.state();
        let before = state.link.progress();
        state.link.finish(end, Instant::now());
        state.transport = None;
        // What handlers hold may hold on to this worker.
        let handlers = std::mem::take(&mut state.handlers);
        self.publish(state, before);
        drop(handlers);
        self.pool.close();
    }

    /// Ends the worker; `gently` with a GOODBYE. Returns when it is over.
    pub(super) fn stop(self: &Arc<Self>, gently: bool) {
        if gently && self.serves() {
            self.drain(self.pace.drain_timeout);
        }
        let mut state = self.state();
        if state.link.ended().is_some() {
            return;
        }
        state.stop = true;
        state.version += 1;
        if gently {
            state.link.leave(Instant::now());
        } else if let Some(transport) = &state.transport {
            transport.shut();
        }
        self.ink.notify_one();
        self.changed.notify_all();
        let mut patience = deadline_after(CLOSE_TIMEOUT);
        let mut shut = !gently;
        while state.link.ended().is_none() {
            if Instant::now() >= patience {
                if shut {
                    // The reader hangs in the operating system, looking up a name for instance. It ends
                    // by itself when it comes back from there.
                    break;
                }
                shut = true;
                patience = deadline_after(CLOSE_TIMEOUT);
                if let Some(transport) = &state.transport {
                    transport.shut();
                }
            }
            state = self.wait(state, patience);
        }
        drop(state);
        self.finish(End::Closed);
    }
}

impl State {
    fn subscribe(&mut self) -> Changes {
        let queue = Arc::new(Queue::default());
        if self.link.ended().is_some() {
            queue.close();
        }
        self.subscribers.push(Arc::downgrade(&queue));
        Changes::new(queue)
    }
}

/// The thread that reads and reconnects.
struct Reader {
    shell: Arc<Shell>,
    identity: Identity,
    token: Option<Token>,
    route: Route,
    random: StdRng,
    /// The connection that the worker moves away from. It is kept until the next one is welcomed: if
    /// both lead to the same engine, that must not see this worker go.
    outgoing: Option<Arc<Transport>>,
}

impl Reader {
    fn run(mut self) {
        let end = loop {
            if self.shell.state().stop {
                break End::Closed;
            }
            let now = Instant::now();
            match self.route.next(now, &mut self.random) {
                Turn::Stop(end) => break end,
                Turn::Wait(until) => {
                    let state = self.shell.state();
                    if !state.stop {
                        drop(self.shell.wait(state, until));
                    }
                }
                Turn::Try(index) => {
                    if let Some(end) = self.try_address(index) {
                        break end;
                    }
                }
            }
        };
        log::debug!("worker `{}`: {end}", self.identity.name.escape_debug());
        self.shell.finish(end);
        // A board may be kept for long; the socket is not.
        self.shell.write_to(None);
    }

    /// Connects and stays connected for as long as it goes. Says whether the worker is over then.
    fn try_address(&mut self, index: usize) -> Option<End> {
        let address = self.route.address(index).clone();
        let (loss, welcomed) = match self.dial(&address) {
            Ok(transport) => self.converse(index, &address, &Arc::new(transport)),
            Err(loss) => (loss, None),
        };
        // It mends itself only when somebody does something.
        let level = if loss.code() == Some(Code::Unauthorized.as_str()) {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(
            level,
            "worker `{}`: {address}: {}",
            self.identity.name.escape_debug(),
            loss.to_string().escape_debug()
        );
        let now = Instant::now();
        match welcomed {
            Some(at) => {
                let held = now.saturating_duration_since(at);
                self.route
                    .lost(index, loss.clone(), held, now, &mut self.random);
            }
            None => self.route.failed(index, loss.clone(), now),
        }
        self.shell.state().attempts = self.route.attempts();
        end_by(&loss)
    }

    /// Makes a connection, and has the link present the token of now on it.
    fn dial(&self, address: &Address) -> Result<Transport, Loss> {
        let token = self.token.as_ref().map(Token::read).transpose();
        let token = token.map_err(|error| Loss::Token(error.into()))?;
        let transport = Transport::dial(address)?;
        self.shell.state().link.set_token(token);
        Ok(transport)
    }

    /// Returns why the connection ended, and when its WELCOME came.
    fn converse(
        &mut self,
        index: usize,
        address: &Address,
        transport: &Arc<Transport>,
    ) -> (Loss, Option<Instant>) {
        let shell = self.shell.clone();
        shell.write_to(Some(transport.clone()));
        let mut state = shell.state();
        let epoch = state.move_to;
        if state.stop {
            return (Loss::Closed, None);
        }
        state.transport = Some(transport.clone());
        state.connections += 1;
        state.link.open(address.clone(), epoch, Instant::now());
        drop(state);
        shell.flush();

        let mut buffer = vec![0; READ_BYTES];
        let mut welcomed = None;
        loop {
            let deadline = shell.state().link.next_deadline();
            let received = transport.read(&mut buffer, deadline);
            let now = Instant::now();
            let mut state = shell.state();
            let before = state.link.progress();
            let moving = state.move_to.is_some();
            let link = &mut state.link;
            let result = match received {
                Ok(Received::Bytes(n)) => link.handle_bytes(&buffer[..n], now),
                Ok(Received::Nothing) => link.handle_time(now),
                Ok(Received::End) if moving => Err(link.handle_end(Some(Loss::Moved), now)),
                Ok(Received::End) => Err(link.handle_end(None, now)),
                Err(error) => Err(link.handle_end(Some(Loss::Broken(error.into())), now)),
            };
            let connected = state.link.connection().is_some();
            let live = state.link.view().is_live();
            if result.is_err() {
                state.transport = None;
            }
            shell.publish(state, before);
            if connected && welcomed.is_none() {
                welcomed = Some(now);
                shell.state().move_to = None;
                self.let_go();
                self.look_ahead(index);
            }
            if live {
                self.route.welcomed();
            }
            if let Err(loss) = result {
                if loss == Loss::Moved {
                    self.outgoing = Some(transport.clone());
                } else {
                    transport.shut();
                }
                shell.write_to(None);
                return (loss, welcomed);
            }
        }
    }

    /// Says goodbye to the engine that the worker moved away from.
    fn let_go(&mut self) {
        if let Some(transport) = self.outgoing.take() {
            // If that engine is gone, it needs none.
            let _ = transport.write(&super::link::farewell());
            transport.shut();
        }
    }

    /// On an address that is not the first: looks from time to time whether one before it is back.
    fn look_ahead(&mut self, index: usize) {
        let addresses: Vec<Address> = (0..index)
            .map(|it| self.route.address(it).clone())
            .collect();
        if addresses.is_empty() {
            return;
        }
        let identity = self.identity.clone();
        let probe = Probe::new(
            self.shell.clone(),
            identity,
            self.token.clone(),
            addresses,
            self.random.random(),
        );
        let spawned = thread::Builder::new()
            .name("callboard-probe".to_owned())
            .spawn(move || probe.run());
        if let Err(error) = spawned {
            log::warn!("no thread to look for the engines that come first: {error}");
        }
    }
}
