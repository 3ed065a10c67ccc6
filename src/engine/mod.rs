//! The engine: a state machine without sockets and without a clock.
//!
//! In: a connection's bytes, its end, what could be written to it, the time. Out: what to write, which connections to
//! read again, which to close. The shell around it (the server, or a simulation) calls, turn by turn:
//!
//! 1. [`Engine::handle_open`], [`Engine::handle_reset`], [`Engine::handle_writable`], [`Engine::handle_readable`] for
//!    what happened; then [`Engine::poll_read`], and for each connection that it names, one read and
//!    [`Engine::handle_bytes`] or [`Engine::handle_eof`];
//! 2. [`Engine::poll_expired`]; for each connection it names, read once more and call [`Engine::handle_expired`];
//! 3. [`Engine::seal`]: this turn's changes become one revision, replies get their stamp;
//! 4. [`Engine::poll_reply`] and then [`Engine::poll_news`], each within a budget; [`Engine::flush`] for each
//!    connection that they name;
//! 5. [`Engine::poll_close`] and [`Engine::poll_resume`];
//! 6. [`Engine::note_turn`], if it has a clock to tell how long the turn took.
//!
//! State lives in the folders `access`, `registry`, `calls`, `metrics` and `connection`, in structs that never name
//! [`Engine`]. Transitions are in `handlers`, one file per family of inputs. The other files are ground: values and data
//! structures that know nothing of the rest.

mod access;
mod calls;
mod ceiling;
mod connection;
mod handlers;
mod interface;
mod lifecycle;
mod memory;
mod metrics;
mod prefix_set;
mod rate_limiter;
mod refusal;
mod registry;
mod rng;
mod timer_wheel;
mod user_key;
mod work;

pub use access::authenticator::GUARDED;
pub use access::credentials::{Credentials, Principal, TokenHash, check_namespace};
pub use access::rights::{Rights, Rules, Verb};
#[cfg(debug_assertions)]
pub use connection::step_log::{LoggedStep, StepKind};
pub use interface::{Close, Config, ConnId, Peer, Time, Written};
pub use metrics::size::Size;
pub use metrics::stats::{Dropped, Relief, Stats};
pub use metrics::turn_times::{Percentiles, Turn};
pub use registry::change::Changes;

use access::authenticator::Authenticator;
use access::review::Review;
use calls::call::CallId;
use calls::table::CallTable;
use ceiling::Ceiling;
use connection::admission::ConnectionCounts;
use connection::input::Input;
use connection::output::Output;
use connection::run_queue::RunQueue;
use connection::sessions::Sessions;
use connection::table::ConnectionTable;
use connection::users::Users;
use lifecycle::Lifecycle;
use metrics::Metrics;
use registry::Registry;
use rng::{HashKeys, Rng};
use timer_wheel::TimerWheel;

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    ceiling: Ceiling,
    lifecycle: Lifecycle,
    rng: Rng,
    hash_keys: HashKeys,
    connections: ConnectionTable,
    admission: ConnectionCounts,
    users: Users,
    run: RunQueue,
    authenticator: Authenticator,
    review: Review,
    sessions: Sessions,
    registry: Registry,
    calls: CallTable,
    timers: TimerWheel<Timer>,
    input: Input,
    output: Output,
    metrics: Metrics,
}

/// The subject of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Connection(ConnId),
    Call(CallId),
}

impl Engine {
    /// An engine with an empty board.
    #[must_use]
    pub fn new(mut config: Config, now: Time) -> Self {
        let ceiling = Ceiling::divide(&mut config.limits);
        let mut rng = Rng::new(config.seed);
        let run = RunQueue::new(config.turn_work);
        let hash_keys = rng.hash_keys();
        Self {
            config,
            ceiling,
            lifecycle: Lifecycle::new(now),
            rng,
            hash_keys,
            connections: ConnectionTable::default(),
            admission: ConnectionCounts::new(hash_keys),
            users: Users::new(hash_keys),
            run,
            authenticator: Authenticator::open(hash_keys),
            review: Review::default(),
            sessions: Sessions::new(hash_keys),
            registry: Registry::default(),
            calls: CallTable::new(hash_keys),
            timers: TimerWheel::new(now),
            input: Input::default(),
            output: Output::default(),
            metrics: Metrics::new(now),
        }
    }

    /// The uid of the user that runs this engine. Without credentials, that user and root may command the engine over
    /// a Unix socket. Without this call, no connection may.
    pub fn set_owner(&mut self, uid: u32) {
        self.authenticator.set_owner(uid);
    }

    /// Whether this connection may be read now. When it may again, [`Engine::poll_resume`] names it.
    #[must_use]
    pub fn wants_read(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|conn| conn.is_leaving() || !conn.pause().any() && !conn.has_deferred())
    }

    /// Whether the next turn has something to do, whatever happens until then.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.output.has_more() || !self.run.is_empty() || self.review.is_open()
    }

    /// The next connection to close.
    pub fn poll_close(&mut self) -> Option<Close> {
        self.output.pop_close()
    }

    /// The next connection that may be read again. Mostly [`Engine::wants_read`] denied it before; one that leaves is
    /// named in any case, and may be closed already.
    pub fn poll_resume(&mut self) -> Option<ConnId> {
        self.output.pop_resume()
    }

    /// After [`Engine::handle_shutdown`]: whether every connection is closed, so that the shell may exit.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lifecycle.is_stopped() && self.connections.len() == 0
    }

    /// Whether a worker called `engine::drain` since the last time. Then the shell shuts down as on SIGTERM.
    pub fn take_drain(&mut self) -> bool {
        self.lifecycle.take_drain_request()
    }
}
