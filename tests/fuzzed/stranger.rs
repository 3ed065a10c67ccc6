//! A connection that says whatever the input wants, and what can be expected of it nevertheless: the engine
//! sends it well-formed frames of kinds that are the engine's to send, WELCOME or GOODBYE first and nothing
//! behind GOODBYE, never more answers than there were requests, each INVOKE once.

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::Time;
use callboard::protocol::{FIRST_UNANSWERED_KIND, Inbox, MAX_FRAME_CEILING, Message};

use super::principals::SECRET;
use super::worker_frame::{Greeting, Known};

/// The time of a call that names none, in milliseconds.
const TIMEOUT_DEFAULT: u64 = 30_000;
/// The longest time that the engine grants, in milliseconds.
const TIMEOUT_MAX: u64 = 86_400_000;

/// What was asked under one id.
#[derive(Debug, Default)]
struct Asked {
    requests: u64,
    answers: u64,
    /// When the last of them must have ended.
    until: Time,
    /// A batch is not complete, or nothing is answered: only the upper bound counts.
    open: bool,
}

#[derive(Debug, Default)]
pub struct Stranger {
    /// Of the host.
    pub line: usize,
    /// What it said, as the engine reads it.
    said: Inbox,
    /// What it said is no stream of frames any more.
    garbled: bool,
    /// What it was told.
    told: Inbox,
    asked: BTreeMap<u64, Asked>,
    invoked: BTreeSet<u64>,
    pub welcomed: bool,
    pub goodbye: Option<String>,
    /// It said GOODBYE itself.
    pub left: bool,
    /// It said so much.
    pub bytes: usize,
}

impl Stranger {
    pub fn new(line: usize) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }

    /// These bytes reached the engine.
    pub fn said(&mut self, mut bytes: &[u8], now: Time) {
        self.bytes += bytes.len();
        while !self.garbled {
            match self.said.next(&mut bytes, MAX_FRAME_CEILING - 1) {
                Ok(None) => return,
                Err(_) => self.garbled = true,
                Ok(Some(body)) => match Message::decode(body) {
                    Err(_) => self.garbled = true,
                    Ok(Message::Goodbye(_)) => self.left = true,
                    Ok(message) => note(&mut self.asked, &message, now),
                },
            }
        }
    }

    /// Bytes of a frame that is not complete.
    pub fn partial(&self) -> usize {
        self.said.held()
    }

    /// Whether a frame may follow.
    pub fn is_between_frames(&self) -> bool {
        !self.garbled && self.said.held() == 0
    }

    /// The engine sent these bytes.
    pub fn told(&mut self, mut bytes: &[u8], known: &mut Known) {
        let mut told = std::mem::take(&mut self.told);
        while let Some(body) = told
            .next(&mut bytes, MAX_FRAME_CEILING - 1)
            .expect("a frame of the engine")
        {
            let message = Message::decode(body).expect("a message of the engine");
            if known.has_credentials {
                let secret = SECRET.as_bytes();
                let tells = body.windows(secret.len()).any(|bytes| bytes == secret);
                assert!(!tells, "{message:?} tells the secret");
            }
            self.hear(&message, known);
        }
        self.told = told;
    }

    fn hear(&mut self, message: &Message<'_>, known: &mut Known) {
        assert!(self.goodbye.is_none(), "{message:?} came behind GOODBYE");
        match message {
            Message::Welcome(it) => {
                assert!(!self.welcomed, "a second WELCOME");
                self.welcomed = true;
                known.workers.push(it.worker);
                known.welcomes.push(Greeting {
                    session: it.session.to_vec(),
                    digest: it.digest.to_vec(),
                    epoch: it.epoch,
                    revision: it.revision,
                });
            }
            Message::Goodbye(it) => self.goodbye = Some(it.code.to_string()),
            other => {
                assert!(self.welcomed, "{other:?} came before WELCOME");
                self.hear_more(other, known);
            }
        }
    }

    fn hear_more(&mut self, message: &Message<'_>, known: &mut Known) {
        match message {
            Message::Outcome(it) => self.answered(it.id),
            Message::Failure(it) => self.answered(it.id),
            Message::Invoke(it) => {
                assert!(self.invoked.insert(it.id), "INVOKE {} twice", it.id);
                known.invokes.push(it.id);
            }
            Message::Cancel(it) => {
                assert!(self.invoked.contains(&it.id), "CANCEL of no INVOKE");
            }
            Message::Changes(_)
            | Message::Snapshot(_)
            | Message::Synced(_)
            | Message::Resync(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Drain(_)
            | Message::Rights(_)
            | Message::Cast(_) => {}
            other => panic!("not the engine's to send: {other:?}"),
        }
    }

    fn answered(&mut self, id: u64) {
        let Some(asked) = self.asked.get_mut(&id) else {
            panic!("request {id} was answered and never made");
        };
        asked.answers += 1;
        assert!(asked.answers <= asked.requests, "request {id} ended twice");
    }

    /// For a connection that is served still and has read everything: what was asked has ended.
    pub fn check_ended(&self, now: Time) {
        for (id, asked) in &self.asked {
            if !asked.open && asked.until < now {
                assert_eq!(asked.requests, asked.answers, "request {id} did not end");
            }
        }
    }
}

/// Takes down what a request asks for.
fn note(asked: &mut BTreeMap<u64, Asked>, message: &Message<'_>, now: Time) {
    let (id, milliseconds, open) = match message {
        Message::Register(it) => (it.id, 0, it.more),
        Message::Unregister(it) => (it.id, 0, false),
        Message::Ready(it) => (it.id, 0, false),
        Message::Bind(it) => (it.id, 0, false),
        Message::Unbind(it) => (it.id, 0, false),
        Message::Emit(it) => (it.id, 0, it.id == 0),
        Message::Call(it) => {
            let wanted = it.ext.timeout_ms.unwrap_or(TIMEOUT_DEFAULT);
            (it.id, wanted.min(TIMEOUT_MAX), false)
        }
        Message::Invoke(it) => (it.id, 0, true),
        Message::Unknown { id: Some(id), kind } => {
            assert!(*kind < FIRST_UNANSWERED_KIND);
            (*id, 0, false)
        }
        _ => return,
    };
    let entry = asked.entry(id).or_default();
    entry.requests += 1;
    entry.open |= open;
    entry.until = entry.until.max(Time(now.0 + milliseconds * 1000));
}
