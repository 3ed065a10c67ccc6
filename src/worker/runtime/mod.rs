//! The runtime around the link: threads, sockets, the clock. One thread reads and reconnects. A second writes for
//! it, because a reader that blocks on a write would stop an engine that blocks on its own write. Threads of the
//! application write directly, which is faster. Decides nothing about the protocol.

mod calls;
mod probe;
pub(super) mod reader;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::changes::{Changes, Queue};
use super::deadline::deadline_after;
use super::error::{Attempt, End, RequestError, WaitError};
use super::link::Link;
use super::lock::{lock, wait, wait_until};
use super::pool::Pool;
use super::result_slot::ResultSlot;
use super::service::Handler;
use super::settings::Settings;
use super::snapshot::Snapshot;
use super::status::{Registered, Status};
use super::ticket::Ticket;
use super::transport::Transport;

/// The most that a thread of the application writes itself. More would not fit into the kernel's buffer at once,
/// and the thread must be able to time out.
const DIRECT_BYTES: usize = 64 * 1024;

/// After GOODBYE, how long the engine may take to close before the socket is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// State shared by all threads of one worker.
#[derive(Debug)]
pub(super) struct Runtime {
    state: Mutex<State>,
    /// The board, the connection or an operation has changed.
    pub(super) changed: Condvar,
    /// There are bytes to write, or the worker has ended.
    write_ready: Condvar,
    /// Its holder writes, so that frames are written in the order in which they were made. Never locked while the
    /// state is locked.
    writer: Mutex<Option<Arc<Transport>>>,
    pub(super) settings: Settings,
    pub(super) pool: Arc<Pool>,
}

#[derive(Debug)]
struct State {
    link: Link,
    /// Counts the notifications of `changed`.
    version: u64,
    attempts: Vec<Attempt>,
    subscribers: Vec<Weak<Queue>>,
    transport: Option<Arc<Transport>>,
    /// Counts connections, so that a probe knows when it is out of date.
    connections: u64,
    stop: bool,
    /// A preferred engine is back: its epoch.
    move_to: Option<u64>,
    /// Threads that wait for calls.
    waiting: HashMap<Ticket, Arc<ResultSlot>>,
    /// The handler of each registered function, if it has one.
    handlers: HashMap<Arc<str>, Option<Handler>>,
}

impl Runtime {
    /// A worker without threads and without a connection.
    fn new(link: Link, settings: Settings) -> Self {
        Self {
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
            write_ready: Condvar::new(),
            writer: Mutex::new(None),
            pool: Arc::new(Pool::new(settings.threads, settings.capacity)),
            settings,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queries the link.
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

    /// Starts an operation, writes its request, and waits for its end.
    pub(super) fn run_operation(
        &self,
        operation: impl FnOnce(&mut Link) -> Result<Ticket, RequestError>,
    ) -> Result<Registered, RequestError> {
        let deadline = deadline_after(self.settings.request_timeout);
        let mut state = self.state();
        let ticket = operation(&mut state.link)?;
        if state.link.output_bytes() > DIRECT_BYTES {
            self.write_ready.notify_one();
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
                return Err(RequestError::Timeout(self.settings.request_timeout));
            }
            state = self.wait(state, deadline);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        wait_until(&self.changed, state, deadline)
    }

    /// Waits until `condition` returns a value. It is called without a lock, so that it may query the board.
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

    /// Writes the link's output until none is left.
    fn flush(&self) {
        self.write_with(lock(&self.writer));
    }

    /// Gets the link's output written, without waiting for another thread that is writing.
    fn send(&self, state: MutexGuard<'_, State>) {
        let bytes = state.link.output_bytes();
        drop(state);
        if bytes == 0 {
            return;
        }
        if bytes <= DIRECT_BYTES {
            match self.writer.try_lock() {
                Ok(writer) => return self.write_with(writer),
                Err(TryLockError::Poisoned(writer)) => return self.write_with(writer.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.write_ready.notify_one();
    }

    fn write_with(&self, mut writer: MutexGuard<'_, Option<Arc<Transport>>>) {
        let mut bytes = Vec::new();
        while self.state().link.take_output(&mut bytes) {
            if let Some(transport) = &*writer
                && let Err(error) = transport.write(&bytes)
            {
                log::debug!("writing to the engine failed: {error}");
                // The reader finds out that the connection ended, and why.
                transport.close();
                *writer = None;
            }
            bytes.clear();
        }
    }

    /// Waits for a thread that is writing.
    fn write_to(&self, transport: Option<Arc<Transport>>) {
        *lock(&self.writer) = transport;
    }

    /// The thread that writes for the reader.
    fn write(&self) {
        loop {
            let mut state = self.state();
            while state.link.output_bytes() == 0 {
                if state.link.ended().is_some() {
                    return;
                }
                state = wait(&self.write_ready, state);
            }
            drop(state);
            self.flush();
        }
    }

    /// Publishes what the link did to subscribers and waiting threads.
    fn publish(self: &Arc<Self>, mut state: MutexGuard<'_, State>, before: (u64, u64)) {
        self.dispatch(&mut state);
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
            self.write_ready.notify_one();
        }
    }

    fn finish(self: &Arc<Self>, end: End) {
        let mut state = self.state();
        let before = state.link.progress();
        state.link.finish(end, Instant::now());
        state.transport = None;
        // What handlers hold may keep this worker alive.
        let handlers = std::mem::take(&mut state.handlers);
        self.publish(state, before);
        drop(handlers);
        self.pool.close();
    }

    /// Ends the worker, with GOODBYE if `gently`. Returns when it has ended.
    pub(super) fn stop(self: &Arc<Self>, gently: bool) {
        if gently && self.serves() {
            self.drain(self.settings.drain_timeout);
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
            transport.close();
        }
        self.write_ready.notify_one();
        self.changed.notify_all();
        let mut patience = deadline_after(CLOSE_TIMEOUT);
        let mut shut = !gently;
        while state.link.ended().is_none() {
            if Instant::now() >= patience {
                if shut {
                    // The reader hangs in the operating system, for example in a name lookup. It ends when that
                    // returns.
                    break;
                }
                shut = true;
                patience = deadline_after(CLOSE_TIMEOUT);
                if let Some(transport) = &state.transport {
                    transport.close();
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
