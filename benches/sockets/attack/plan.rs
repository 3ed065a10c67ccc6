//! The plans of attacking connections: to write frames, at a pace or without pause; to join, again and again; to take
//! a session over from one another; to die.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callboard::protocol::{Message, Ping, Synced, Welcome};

use super::link::{DEFAULT, hello};
use super::user::User;

/// Often enough for any engine to know that the worker lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(4);

/// What a connection does next.
pub(super) enum Next {
    Write(Arc<[u8]>),
    /// Nothing before this moment.
    Until(Instant),
    /// Nothing before a frame comes.
    Rest,
    /// Closes the connection, and opens another.
    Leave,
    /// Closes the connection.
    End,
}

pub(super) trait Plan {
    /// Everything was written.
    fn next(&mut self, now: Instant) -> Next;

    /// Whether it wants to be told of each frame.
    fn listens(&self) -> bool {
        false
    }

    /// A frame's body.
    fn hear(&mut self, _body: &[u8]) {}

    /// Whether it reads at all.
    fn reads(&self) -> bool {
        true
    }

    /// The connection has ended. Whether it wants another.
    fn lost(&mut self) -> bool {
        false
    }
}

/// Writes these in turn, then only lives.
pub(super) struct Script {
    frames: Vec<Arc<[u8]>>,
    every: Duration,
    /// Writes left.
    left: usize,
    at: usize,
    due: Option<Instant>,
    reads: bool,
    /// Says at the end that it lives.
    lives: bool,
}

impl Script {
    /// One of the frames each time, endlessly.
    pub(super) fn paced(frames: Vec<Arc<[u8]>>, every: Duration) -> Self {
        Self {
            frames,
            every,
            left: usize::MAX,
            at: 0,
            due: None,
            reads: true,
            lives: true,
        }
    }

    /// The same bytes without pause.
    pub(super) fn flood(bytes: Arc<[u8]>) -> Self {
        Self::paced(vec![bytes], Duration::ZERO)
    }

    /// These bytes once.
    pub(super) fn once(bytes: Arc<[u8]>) -> Self {
        Self {
            left: 1,
            ..Self::flood(bytes)
        }
    }

    /// Only reads.
    pub(super) fn silent() -> Self {
        Self {
            left: 0,
            ..Self::paced(Vec::new(), Duration::ZERO)
        }
    }

    /// Not another byte at the end.
    pub(super) fn without_heartbeat(self) -> Self {
        Self {
            lives: false,
            ..self
        }
    }

    pub(super) fn without_reading(self) -> Self {
        Self {
            reads: false,
            ..self
        }
    }
}

impl Plan for Script {
    fn next(&mut self, now: Instant) -> Next {
        let due = *self.due.get_or_insert(match self.left {
            0 => now + HEARTBEAT,
            _ => now,
        });
        if now < due {
            return Next::Until(due);
        }
        if self.left == 0 {
            self.due = Some(now + HEARTBEAT);
            return if self.lives {
                Next::Write(heartbeat())
            } else {
                Next::Until(now + HEARTBEAT)
            };
        }
        self.left -= 1;
        self.due = Some(match self.left {
            0 => now + HEARTBEAT,
            _ => now + self.every,
        });
        self.at += 1;
        Next::Write(Arc::clone(&self.frames[(self.at - 1) % self.frames.len()]))
    }

    fn reads(&self) -> bool {
        self.reads
    }
}

pub(super) fn heartbeat() -> Arc<[u8]> {
    Ping::default().to_frame().into()
}

/// Whether a frame is of this kind. Bodies begin with the head of a short array, and the kinds are short as well.
fn is(body: &[u8], kind: u64) -> bool {
    body.get(1).is_some_and(|&byte| u64::from(byte) == kind)
}

/// Joins, and when it has joined leaves and joins again, or stays.
pub(super) struct Joins {
    hello: Box<dyn FnMut() -> Vec<u8>>,
    /// The kind of the frame after which it has joined.
    last: u64,
    stays: bool,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Fresh,
    Asked,
    Joined,
    /// It stays, and lives until this moment without a word.
    Stays(Instant),
}

impl Joins {
    /// Until the board is complete.
    pub(super) fn again(hello: impl FnMut() -> Vec<u8> + 'static) -> Self {
        Self {
            hello: Box::new(hello),
            last: Synced::KIND,
            stays: false,
            stage: Stage::Fresh,
        }
    }

    /// Until WELCOME.
    pub(super) fn welcome(hello: impl FnMut() -> Vec<u8> + 'static) -> Self {
        Self {
            last: Welcome::KIND,
            ..Self::again(hello)
        }
    }

    /// Once, to stay.
    pub(super) fn once(hello: impl FnMut() -> Vec<u8> + 'static) -> Self {
        Self {
            stays: true,
            ..Self::again(hello)
        }
    }
}

impl Plan for Joins {
    fn next(&mut self, now: Instant) -> Next {
        match self.stage {
            Stage::Fresh => {
                self.stage = Stage::Asked;
                Next::Write((self.hello)().into())
            }
            Stage::Asked => Next::Rest,
            Stage::Joined if self.stays => {
                self.stage = Stage::Stays(now + HEARTBEAT);
                Next::Until(now + HEARTBEAT)
            }
            Stage::Joined => {
                self.stage = Stage::Fresh;
                Next::Leave
            }
            Stage::Stays(due) if now < due => Next::Until(due),
            Stage::Stays(_) => {
                self.stage = Stage::Joined;
                Next::Write(heartbeat())
            }
        }
    }

    fn listens(&self) -> bool {
        matches!(self.stage, Stage::Asked)
    }

    fn hear(&mut self, body: &[u8]) {
        if is(body, self.last) {
            self.stage = Stage::Joined;
        }
    }

    fn lost(&mut self) -> bool {
        self.stage = Stage::Fresh;
        !self.stays
    }
}

/// One of two connections that take a session over from one another: the engine closes the older one, which comes back
/// with the newest key.
pub(super) struct Takeover {
    session: Arc<Mutex<Vec<u8>>>,
    said: bool,
}

impl Takeover {
    /// The one that comes later.
    pub(super) fn new(session: Arc<Mutex<Vec<u8>>>) -> Self {
        Self {
            session,
            said: false,
        }
    }

    /// The one that has the session.
    pub(super) fn joined(session: Arc<Mutex<Vec<u8>>>) -> Self {
        Self {
            said: true,
            ..Self::new(session)
        }
    }
}

impl Plan for Takeover {
    fn next(&mut self, _now: Instant) -> Next {
        if self.said {
            return Next::Rest;
        }
        self.said = true;
        let session = self.session.lock().expect("a key");
        let key = Some(&session[..]).filter(|it| !it.is_empty());
        Next::Write(
            hello(
                User::Attacker,
                DEFAULT,
                callboard::protocol::Watch::default(),
                key,
            )
            .into(),
        )
    }

    fn listens(&self) -> bool {
        true
    }

    fn hear(&mut self, body: &[u8]) {
        if is(body, Welcome::KIND)
            && let Ok(Message::Welcome(welcome)) = Message::decode(body)
        {
            *self.session.lock().expect("a key") = welcome.session.0.to_vec();
        }
    }

    fn lost(&mut self) -> bool {
        self.said = false;
        true
    }
}

/// Dies a little later.
pub(super) struct Death(Option<Instant>);

impl Death {
    pub(super) fn soon() -> Self {
        Self(None)
    }
}

impl Plan for Death {
    fn next(&mut self, now: Instant) -> Next {
        let due = *self.0.get_or_insert(now + Duration::from_millis(300));
        if now < due {
            Next::Until(due)
        } else {
            Next::End
        }
    }
}
