//! One worker's side of the protocol across its connections: HELLO with session key and resume point, WELCOME, the
//! view, registering again, READY, heartbeat, GOODBYE. A state machine without socket, clock, thread or randomness
//! of its own: bytes and the time go in, bytes and a deadline come out. The runtime around it (the library's, or a
//! simulation) calls
//!
//! 1. [`Link::open`] once there is a transport;
//! 2. [`Link::handle_bytes`], [`Link::handle_end`] and [`Link::handle_time`] for input; each that returns a
//!    [`Loss`] has ended the connection: close the transport;
//! 3. [`Link::take_output`] after each of those and after each request, and writes it;
//! 4. [`Link::take_notices`], [`Link::take_end`], [`Link::take_ended_calls`] and [`Link::take_work`] for the
//!    results.

#[cfg(debug_assertions)]
mod books;
mod calls;
mod registrations;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use super::answer::{Answer, CallEnd};
use super::call_error::CallError;
use super::calls::Calls;
use super::error::{End, Loss, Refusal};
pub use super::identity::Identity;
pub use super::invocation::Invocation;
use super::notice::Notice;
pub use super::outgoing_call::{CallKind, OutgoingCall};
use super::registrations::{Effects, Registrations};
use super::requests::{Purpose, Requests};
use super::serving::Serving;
pub use super::serving::{Reply, Work};
use super::status::ConnectionInfo;
pub use super::ticket::Ticket;
use super::view::{Origin, View};
use super::watch::Watch;
use crate::address::Address;
use crate::protocol::{
    Bin, Code, Executed, Goodbye, GoodbyeOptions, HEADER_LEN, Hello, HelloOptions, Inbox,
    MAX_FRAME_CEILING, Message, NoExtensions, Ping, Pong, Resume, Text, VERSION,
    Watch as WireWatch, Welcome,
};

/// From the start of the transport until WELCOME, unless the runtime has another time for it.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// From this worker's GOODBYE until the engine closes.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// The heartbeat if the engine does not tell its own.
const DEFAULT_PING: Duration = Duration::from_secs(5);
const DEFAULT_SILENCE: Duration = Duration::from_secs(15);

/// Session keys kept: one for each recently used engine.
const MAX_SESSION_KEYS: usize = 4;

/// The default number of calls that a worker accepts at once.
const DEFAULT_CAPACITY: u64 = 1000;

/// How far leaving the board has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DrainState {
    No,
    /// DRAIN was sent; calls routed before it may still arrive.
    Purpose,
    /// No further call arrives.
    Confirmed,
}

#[derive(Debug)]
enum LinkState {
    /// There is no transport.
    Closed,
    /// HELLO was sent.
    Greeting { address: Address, until: Instant },
    /// WELCOME arrived.
    Up(Heartbeat),
    /// GOODBYE was sent; the engine closes.
    Leaving { until: Instant },
}

#[derive(Debug)]
struct Heartbeat {
    ping_after: Duration,
    silence: Duration,
    last_received: Instant,
    /// PING was sent, and nothing has arrived since.
    ping_sent: bool,
}

/// A worker's side of the protocol.
#[derive(Debug)]
pub struct Link {
    identity: Identity,
    /// The token for the next HELLO.
    token: Option<Arc<str>>,
    random: StdRng,
    state: LinkState,
    inbox: Inbox,
    /// The largest frame that the engine may send.
    max_frame: usize,
    /// Session keys with their epochs, the newest last.
    keys: VecDeque<(u64, Box<[u8]>)>,
    requests: Requests,
    registrations: Registrations,
    calls: Calls,
    serving: Serving,
    draining: DrainState,
    view: View,
    connection: Option<ConnectionInfo>,
    notices: Vec<Notice>,
    /// Number of answered requests.
    answers: u64,
    end: Option<End>,
}

impl Link {
    /// A link without a transport. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(identity: Identity, seed: [u8; 32], now: Instant) -> Self {
        Self {
            view: View::new(!identity.watch.is_nothing(), now),
            identity,
            token: None,
            random: StdRng::from_seed(seed),
            state: LinkState::Closed,
            inbox: Inbox::default(),
            max_frame: MAX_FRAME_CEILING - 1,
            keys: VecDeque::new(),
            requests: Requests::default(),
            registrations: Registrations::default(),
            calls: Calls::default(),
            serving: Serving::default(),
            draining: DrainState::No,
            connection: None,
            notices: Vec::new(),
            answers: 0,
            end: None,
        }
    }

    /// Size of the longest HELLO that this link may send; an engine reads 16 KiB.
    #[must_use]
    pub fn hello_bytes(&self) -> usize {
        let resume = Resume {
            epoch: u64::MAX,
            revision: u64::MAX,
            digest: Bin(&[0; 32]),
        };
        self.hello(Some(&[0; 32]), Some(resume)).len() - HEADER_LEN
    }

    fn hello(&self, session: Option<&[u8]>, resume: Option<Resume<'_>>) -> Vec<u8> {
        Hello {
            versions: vec![VERSION],
            name: Text(&self.identity.name),
            namespace: Text(&self.identity.namespace),
            ext: HelloOptions {
                watch: Some(self.identity.watch.to_wire()).filter(|it| !is_default(it)),
                token: self.token.as_deref().map(Text),
                session: session.map(Bin),
                resume,
                metadata: Bin(&self.identity.metadata),
                capacity: self.identity.capacity,
                tier: self.identity.tier,
                client: Text(concat!("callboard-rust/", env!("CARGO_PKG_VERSION"))),
            },
        }
        .to_frame()
    }

    /// Sends HELLO over a new transport to `address`. `epoch` is that of the engine there, if known: it selects
    /// among several session keys; otherwise the newest is presented.
    pub fn open(&mut self, address: Address, epoch: Option<u64>, now: Instant) {
        self.inbox = Inbox::default();
        self.max_frame = MAX_FRAME_CEILING - 1;
        self.requests.clear();
        let of_epoch = self.keys.iter().find(|(it, _)| Some(*it) == epoch);
        let key = of_epoch.or_else(|| self.keys.back()).map(|(_, key)| &**key);
        let resume = self.view.resume_point().map(|(origin, revision)| Resume {
            epoch: origin.epoch,
            revision,
            digest: Bin(&origin.digest),
        });
        self.requests.out = self.hello(key, resume);
        let until = now + WELCOME_TIMEOUT;
        self.state = LinkState::Greeting { address, until };
    }

    /// WELCOME may take until then.
    pub(super) fn expect_welcome(&mut self, by: Instant) {
        if let LinkState::Greeting { until, .. } = &mut self.state {
            *until = by;
        }
    }

    /// Takes bytes in any split.
    pub fn handle_bytes(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Loss> {
        if let LinkState::Up(heartbeat) = &mut self.state {
            heartbeat.last_received = now;
            heartbeat.ping_sent = false;
        }
        // The frames borrow from the inbox while they change everything else.
        let mut inbox = mem::take(&mut self.inbox);
        let end = loop {
            match inbox.next(&mut bytes, self.max_frame) {
                Ok(Some(body)) => {
                    let message = Message::decode(body).map_err(Loss::Garbled);
                    if let Err(loss) = message.and_then(|it| self.handle_message(&it, now)) {
                        break Err(loss);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(Loss::NotAnEngine(error)),
            }
        };
        self.inbox = inbox;
        end.map_err(|loss| self.lose(loss, now))?;
        self.handle_time(now)
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Instant) -> Result<(), Loss> {
        let step = self.view.settle(now);
        self.notices.extend(step.map(Notice::Step));
        match &mut self.state {
            LinkState::Greeting { until, .. } if *until <= now => {
                return Err(self.lose(Loss::NoWelcome, now));
            }
            LinkState::Leaving { until } if *until <= now => {
                return Err(self.lose(Loss::Closed, now));
            }
            LinkState::Closed | LinkState::Greeting { .. } | LinkState::Leaving { .. } => {}
            LinkState::Up(heartbeat) => {
                let effects = Effects {
                    requests: &mut self.requests,
                    view: &mut self.view,
                    notices: &mut self.notices,
                };
                self.registrations.retry(now, effects);
                let silent = now.saturating_duration_since(heartbeat.last_received);
                if silent >= heartbeat.silence {
                    let loss = Loss::Silent(heartbeat.silence);
                    return Err(self.lose(loss, now));
                }
                if silent >= heartbeat.ping_after && !heartbeat.ping_sent {
                    heartbeat.ping_sent = true;
                    let ping = Ping {
                        revision: bookmark(&self.view),
                        ext: NoExtensions {},
                    };
                    ping.encode(&mut self.requests.out);
                }
            }
        }
        Ok(())
    }

    /// The transport was closed by the engine, or ended for the reason `why`.
    pub fn handle_end(&mut self, why: Option<Loss>, now: Instant) -> Loss {
        let loss = why.unwrap_or(match self.state {
            LinkState::Greeting { .. } => Loss::ClosedBeforeWelcome,
            _ => Loss::Closed,
        });
        self.lose(loss, now)
    }

    /// When [`Link::handle_time`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            LinkState::Closed => None,
            LinkState::Greeting { until, .. } | LinkState::Leaving { until } => Some(*until),
            LinkState::Up(heartbeat) => {
                let wait = if heartbeat.ping_sent {
                    heartbeat.silence
                } else {
                    heartbeat.ping_after
                };
                let others = [
                    self.view.next_deadline(),
                    self.registrations.next_deadline(),
                ];
                others
                    .into_iter()
                    .flatten()
                    .chain([heartbeat.last_received + wait])
                    .min()
            }
        }
    }

    /// Moves the bytes to be written to the end of `into`; returns whether there are any.
    pub fn take_output(&mut self, into: &mut Vec<u8>) -> bool {
        self.requests.take_output(into);
        !into.is_empty()
    }

    /// The number of bytes that [`Link::take_output`] has.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.requests.out.len()
    }

    /// The notices since the last call, in order.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// The view's revision and the number of answers: progress that waiting threads must see even without a notice.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.view.revision(), self.answers)
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The connection, from WELCOME until it ends.
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    /// Whether a change of the connection would disturb nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_idle() && self.serving.in_flight() == 0
    }

    /// Why the worker ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Sends GOODBYE. The engine then closes; [`Link::next_deadline`] bounds the wait.
    pub fn leave(&mut self, now: Instant) {
        match self.state {
            LinkState::Up(_) | LinkState::Greeting { .. } => {
                self.requests.append_goodbye(&farewell());
                let until = now + LEAVE_TIMEOUT;
                self.state = LinkState::Leaving { until };
            }
            LinkState::Closed | LinkState::Leaving { .. } => {}
        }
    }

    /// The worker has ended: ends its operations, accepts nothing new, and sends one notice.
    pub fn finish(&mut self, end: End, now: Instant) {
        if self.end.is_none() {
            if !matches!(self.state, LinkState::Closed) {
                self.lose(Loss::Closed, now);
            }
            self.registrations.end(&end, &mut self.view);
            self.calls.finish(&end);
            self.notices.push(Notice::Ended(end.clone()));
            self.end = Some(end);
        }
    }

    fn lose(&mut self, loss: Loss, now: Instant) -> Loss {
        self.state = LinkState::Closed;
        self.calls.disconnected(self.requests.written);
        self.serving.disconnected();
        if self.draining == DrainState::Purpose {
            self.draining = DrainState::Confirmed;
        }
        self.requests.clear();
        self.registrations.disconnected();
        self.view.lose(now);
        if let Loss::Inconsistent(error) = &loss {
            log::error!("fetching the whole board again: {error}");
            self.view.distrust();
        }
        if self.connection.take().is_some() {
            self.notices.push(Notice::Disconnected(loss.clone()));
        }
        loss
    }

    fn handle_message(&mut self, message: &Message<'_>, now: Instant) -> Result<(), Loss> {
        match (&self.state, message) {
            (LinkState::Closed | LinkState::Leaving { .. }, _) => Ok(()),
            (_, Message::Goodbye(goodbye)) => Err(self.loss_by(goodbye)),
            (LinkState::Greeting { .. }, Message::Welcome(welcome)) => self.welcomed(welcome, now),
            (LinkState::Greeting { .. }, other) => Err(Loss::Unexpected(other.kind_name())),
            (LinkState::Up(_), other) => self.handle_while_up(other, now),
        }
    }

    fn handle_while_up(&mut self, message: &Message<'_>, now: Instant) -> Result<(), Loss> {
        match message {
            Message::Changes(it) => {
                let step = self.view.changes(it.from, it.to, it.more, &it.sections);
                self.notices.extend(step?.map(Notice::Step));
            }
            Message::Snapshot(chunk) => self.view.snapshot(&chunk.sections)?,
            Message::Resync(it) => self.view.resync(it.revision, &it.reason, now)?,
            Message::Synced(it) => {
                let was_live = self.view.is_live();
                let steps = self.view.synced(it.revision, now)?;
                self.notices.extend(steps.into_iter().map(Notice::Step));
                if !was_live {
                    let revision = self.view.revision();
                    self.notices.push(Notice::Synced { revision });
                }
            }
            Message::Ping(it) => {
                self.view.bookmark(it.revision);
                let pong = Pong {
                    revision: bookmark(&self.view),
                    ext: NoExtensions {},
                };
                pong.encode(&mut self.requests.out);
            }
            Message::Pong(it) => self.view.bookmark(it.revision),
            Message::Outcome(it) => match self.requests.take(it.id) {
                Some(Purpose::Call(ticket)) => {
                    let answer = Answer {
                        payload: it.payload.0.into(),
                        matched: it.ext.matched.unwrap_or(0),
                    };
                    self.calls.answered(ticket, Ok(answer), now);
                }
                asked => self.answered(it.id, asked, Ok(it.ext.revision), now),
            },
            Message::Failure(it) => match self.requests.take(it.id) {
                Some(Purpose::Call(ticket)) => {
                    self.calls.answered(ticket, Err(CallError::from(it)), now);
                }
                asked => self.answered(it.id, asked, Err(Refusal::from(it)), now),
            },
            Message::Drain(it) => {
                self.calls.engine_stops();
                log::info!(
                    "the engine is draining (retry after {:?} ms)",
                    it.ext.retry_after_ms
                );
            }
            Message::Invoke(it) => {
                let capacity = self.identity.capacity.unwrap_or(DEFAULT_CAPACITY);
                self.serving.invoked(it, capacity, now, &mut self.requests);
            }
            Message::Rights(_) => self.rights_changed(),
            Message::Cast(it) => self.serving.cast(it),
            Message::Cancel(it) => self.serving.cancelled(it.id),
            Message::Unknown { kind, id: Some(id) } => {
                let message = format!("this worker does not support requests of kind {kind}");
                self.requests.answer_unsupported(*id, &message);
            }
            Message::Unknown { id: None, .. } => {}
            other => return Err(Loss::Unexpected(other.kind_name())),
        }
        Ok(())
    }

    fn welcomed(&mut self, welcome: &Welcome<'_>, now: Instant) -> Result<(), Loss> {
        let LinkState::Greeting { address, .. } = mem::replace(&mut self.state, LinkState::Closed)
        else {
            return Err(Loss::Unexpected("Welcome"));
        };
        let ext = &welcome.ext;
        let settling = Duration::from_millis(ext.settling_ms);
        let ping_after = or_default(ext.ping_ms, DEFAULT_PING);
        self.state = LinkState::Up(Heartbeat {
            // A little later than the engine's PING: while the engine asks, this side need not.
            ping_after: ping_after + ping_after / 5,
            silence: or_default(ext.silence_ms, DEFAULT_SILENCE),
            last_received: now,
            ping_sent: false,
        });
        if ext.limits.max_frame != 0 {
            self.max_frame = (ext.limits.max_frame as usize).min(MAX_FRAME_CEILING - 1);
        }
        self.keys.retain(|(epoch, _)| *epoch != welcome.epoch);
        self.keys
            .push_back((welcome.epoch, welcome.session.0.into()));
        if self.keys.len() > MAX_SESSION_KEYS {
            self.keys.pop_front();
        }
        let connection = ConnectionInfo {
            address,
            worker: welcome.worker,
            engine: welcome.engine.0.into(),
            epoch: welcome.epoch,
            revision: welcome.revision,
            resumed: ext.resumed,
            taken_over: ext.taken_over,
            settling,
        };
        self.connection = Some(connection.clone());
        self.notices.push(Notice::Connected(connection));
        let origin = Origin {
            epoch: welcome.epoch,
            digest: welcome.digest.0.into(),
        };
        let (worker, revision) = (welcome.worker, welcome.revision);
        self.view
            .welcome(origin, worker, revision, ext.resumed, settling, now);
        if self.view.is_live() {
            self.notices.push(Notice::Synced { revision });
        }
        self.requests.begin(&ext.limits);
        if self.draining == DrainState::No {
            let (registrations, effects) = self.effects();
            registrations.restore(effects);
        }
        // After the registrations, so that a call finds this worker's own functions.
        self.calls.connected(now, &mut self.requests);
        Ok(())
    }

    fn loss_by(&self, goodbye: &Goodbye<'_>) -> Loss {
        Loss::Goodbye {
            refusal: Refusal {
                code: goodbye.code.0.into(),
                message: goodbye.message.0.into(),
                // An unknown code is treated as one that does not end the worker.
                retryable: Code::parse(&goodbye.code).is_none_or(Code::retryable),
                executed: Executed::No,
            },
            retry_after: goodbye.ext.retry_after_ms.map(Duration::from_millis),
            before_welcome: matches!(self.state, LinkState::Greeting { .. }),
        }
    }
}

/// The GOODBYE of a worker that is done.
pub(super) fn farewell() -> Vec<u8> {
    Goodbye {
        code: Text(Code::Bye.as_str()),
        message: Text(""),
        ext: GoodbyeOptions::default(),
    }
    .to_frame()
}

/// The bookmark in PING and PONG: the view's revision.
fn bookmark(view: &View) -> u64 {
    if view.is_live() { view.revision() } else { 0 }
}

fn or_default(milliseconds: u64, default: Duration) -> Duration {
    match milliseconds {
        0 => default,
        milliseconds => Duration::from_millis(milliseconds),
    }
}

/// Whether HELLO may omit this watch because it is the default.
fn is_default(watch: &WireWatch<'_>) -> bool {
    *watch == Watch::all().to_wire()
}
