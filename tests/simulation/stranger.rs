//! A peer that speaks the protocol byte by byte and keeps no rule it need not: answers that are not its to
//! give, cancels what never was, leaves batches unfinished, reads nothing, or says no HELLO at all. Now and
//! then it breaks the protocol outright. Another kind of stranger provides what others provide, too: it answers
//! twice or never, and comes back without what it had. What they say is well known to the model, which reads it
//! too.

use std::collections::VecDeque;

use callboard::protocol::{
    Bin, Cancel, Definition, Failure, Hello, HelloOptions, Inbox, Message, NoExtensions, Outcome,
    Ping, Ready, Register, Text, Unregister, Watch,
};

use crate::application::named;
use crate::call_oracle::{Ending, number};
use crate::context::Context;
use crate::journal::saw;
use crate::network::Far;
use crate::principals::STRANGER;
use crate::rng::Rng;

/// Bytes that a stranger has ready who says more than the engine can handle.
const ENOUGH: usize = 5_000;

/// The principals of strangers that do so.
const RIVALS: [&str; 3] = [STRANGER, "first@default", "first@default"];

/// What a stranger says again and again.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Pings,
    /// Functions that it has already.
    Batches,
    /// One with a long description.
    LargeEntries,
}

#[derive(Debug)]
pub(crate) struct Stranger {
    pub wire: u64,
    /// It reads what it is sent.
    reads: bool,
    /// It registers what others call.
    provides: bool,
    /// It says more than the engine can handle, again and again.
    flood: Option<Flood>,
    greeted: bool,
    requests: u64,
    inbox: Inbox,
    /// The key of its session.
    pub session: Option<Vec<u8>>,
    /// What it was asked to run and did not answer: the INVOKE and the intent.
    asked: VecDeque<(u64, usize)>,
    /// What it answered last.
    answered: Option<u64>,
    out: Vec<u8>,
}

impl Stranger {
    /// Connects. `before`: those who have not gone.
    pub(crate) fn come(before: &[Stranger], has_token: bool, context: &mut Context<'_>) -> Self {
        let wire = context.dial(0);
        let reads = context.rng.one_in(2);
        let provides = reads && context.rng.one_in(2);
        let greeted = !context.rng.one_in(6);
        let mut stranger = Self::new(wire, reads, provides, greeted);
        if context.floods && stranger.reads && !stranger.provides {
            let floods = [Flood::Pings, Flood::Batches, Flood::LargeEntries];
            stranger.flood = Some(context.rng.pick(&floods));
        }
        if stranger.greeted {
            let all = context.rng.one_in(2).then(|| vec![Text("")]);
            let known = before.iter().find_map(|it| it.session.clone());
            // Ids that a stranger guesses at must not be in use meanwhile.
            let known = known.filter(|_| stranger.provides);
            let session = known.unwrap_or_else(|| vec![7; 16]);
            let capacity = 1 + context.rng.below(2) as u64;
            let session = context.rng.one_in(2).then_some(&*session);
            let token = match stranger.flood {
                // Users of different weights compete.
                Some(_) => context.rng.pick(&RIVALS),
                None => STRANGER,
            };
            stranger.out = hello(all, session, &[], capacity, has_token.then_some(token));
            if stranger.provides {
                let frame = stranger.register(context);
                stranger.out.extend(frame);
            }
        }
        stranger
    }

    /// Connects with the key of another, and is silent about what that one had.
    pub(crate) fn come_back(
        key: &[u8],
        metadata: &[u8],
        has_token: bool,
        context: &mut Context<'_>,
    ) -> Self {
        let mut stranger = Self::new(context.dial(0), true, true, true);
        stranger.out = hello(None, Some(key), metadata, 1, has_token.then_some(STRANGER));
        stranger
    }

    fn new(wire: u64, reads: bool, provides: bool, greeted: bool) -> Self {
        Self {
            wire,
            reads,
            provides,
            flood: None,
            greeted,
            requests: 0,
            inbox: Inbox::default(),
            session: None,
            asked: VecDeque::new(),
            answered: None,
            out: Vec::new(),
        }
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Says something. `invokes`: ids of calls that run elsewhere.
    pub(crate) fn act(&mut self, invokes: &[u64], context: &mut Context<'_>) {
        if !self.greeted {
            return;
        }
        if self.provides {
            let frame = self.serve(context);
            return self.out.extend(frame);
        }
        let id = match invokes.len() {
            0 => context.rng.below(9) as u64,
            _ if context.rng.one_in(5) => (1 << 50) + context.rng.below(9) as u64,
            _ => context.rng.pick(invokes),
        };
        let ext = NoExtensions {};
        let frame = match context.rng.below(24) {
            0..=4 => outcome(id, b"forged"),
            5..=6 => Failure {
                id,
                code: Text("forged"),
                ..Failure::default()
            }
            .to_frame(),
            7..=9 => Cancel {
                id: context.rng.below(40) as u64,
                ext,
            }
            .to_frame(),
            10..=11 => Ping {
                revision: 1 << 40,
                ext,
            }
            .to_frame(),
            12 => Ready {
                id: self.request(),
                ext,
            }
            .to_frame(),
            13 => {
                let names = vec![Text("not its own")];
                Unregister {
                    id: self.request(),
                    names,
                    ext,
                }
                .to_frame()
            }
            14..=15 => {
                let definition = Definition {
                    name: Text("s1"),
                    ..Definition::default()
                };
                let functions = vec![definition];
                // Of a batch that never ends, too.
                let more = context.rng.one_in(2);
                Register {
                    id: self.request(),
                    more,
                    functions,
                    ext,
                }
                .to_frame()
            }
            16 => unknown(63, self.request()),
            17 => unknown(200, 0),
            18 if context.rng.one_in(3) => {
                self.break_rules(context.rng);
                Vec::new()
            }
            19 if context.rng.one_in(3) => {
                // A frame that is begun and never ended.
                vec![0, 0, 1, 0, 0x93]
            }
            _ => Vec::new(),
        };
        self.out.extend(frame);
    }

    /// Breaks the protocol outright.
    pub(crate) fn break_rules(&mut self, rng: &mut Rng) {
        saw("a stranger broke the protocol");
        self.out.extend(rng.pick(&[
            b"GET / HTTP/1.1\r\n".to_vec(),
            vec![0, 0, 0, 2, 0xc1, 0xc1],
            vec![0, 0, 0, 0],
        ]));
    }

    /// Much of the same.
    fn flood(&mut self) -> Vec<u8> {
        let (names, long) = match self.flood {
            Some(Flood::Batches) => (20, 0),
            Some(Flood::LargeEntries) => (1, 8_000),
            _ => return Ping::default().to_frame().repeat(50),
        };
        let names: Vec<String> = (0..names).map(|it| format!("flood::{it}")).collect();
        let description = ".".repeat(long);
        let definition = |name| Definition {
            name: Text(name),
            description: Text(&description),
            ..Definition::default()
        };
        let functions: Vec<_> = names.iter().map(|name| definition(name)).collect();
        let mut batches = Vec::new();
        for _ in 0..5 {
            let id = self.request();
            let functions = functions.clone();
            let batch = Register {
                id,
                more: false,
                functions,
                ext: NoExtensions {},
            };
            batches.extend(batch.to_frame());
        }
        batches
    }

    fn register(&mut self, context: &mut Context<'_>) -> Vec<u8> {
        let name = named(context.rng.pick(&["a1", "b1", "c1", "s1"]), context.large);
        let definition = Definition {
            name: Text(&name),
            ..Definition::default()
        };
        Register {
            id: self.request(),
            more: false,
            functions: vec![definition],
            ext: NoExtensions {},
        }
        .to_frame()
    }

    /// What one who provides something says.
    fn serve(&mut self, context: &mut Context<'_>) -> Vec<u8> {
        match (context.rng.below(12), self.answered) {
            (0..=5, _) => self.answer(context),
            (6..=8, Some(id)) => {
                saw("a provider answered twice");
                outcome(id, b"doubled")
            }
            (9, _) => Ready {
                id: self.request(),
                ext: NoExtensions {},
            }
            .to_frame(),
            (10, _) => self.register(context),
            _ => Vec::new(),
        }
    }

    /// Answers what it was asked first.
    fn answer(&mut self, context: &mut Context<'_>) -> Vec<u8> {
        let Some((id, intent)) = self.asked.pop_front() else {
            return Vec::new();
        };
        let run = context.oracle.ran(intent);
        let payload = format!("{intent} run {run} by a stranger").into_bytes();
        let frame = outcome(id, &payload);
        let answers = &mut context.oracle.intents[intent].answers;
        answers.push(Ending::Result(payload));
        self.answered = Some(id);
        frame
    }

    /// Reads its key, and what it is asked to run.
    fn hear(&mut self, mut bytes: &[u8]) {
        while let Ok(Some(frame)) = self.inbox.next(&mut bytes, 1 << 24) {
            match Message::decode(frame) {
                Ok(Message::Welcome(it)) => self.session = Some(it.session.to_vec()),
                Ok(Message::Invoke(it)) => {
                    let intent = number(&it.payload).expect("every call is in the oracle");
                    self.asked.push_back((it.id, intent));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn turn(&mut self, context: &mut Context<'_>) {
        while self.greeted && self.flood.is_some() && self.out.len() < ENOUGH {
            let frame = self.flood();
            self.out.extend(frame);
        }
        let wire = context.wires.get_mut(&self.wire).expect("its own wire");
        if self.reads {
            let bytes = wire.down.read(context.now, usize::MAX);
            self.hear(&bytes);
        }
        let wire = context.wires.get_mut(&self.wire).expect("its own wire");
        let n = wire.up.room().min(self.out.len());
        let arrives = context.now + context.rng.between(wire.delay.0..wire.delay.1 + 1);
        wire.up.write(&self.out[..n], arrives);
        self.out.drain(..n);
    }

    /// Whether the engine has dropped it.
    pub(crate) fn is_over(&self, context: &Context<'_>) -> bool {
        let wire = &context.wires[&self.wire];
        wire.far == Far::Gone || wire.down.ended(context.now).is_some()
    }

    pub(crate) fn leave(&mut self, context: &mut Context<'_>) {
        let wire = context.wires.get_mut(&self.wire).expect("its own wire");
        wire.near_gone = true;
        wire.up.close(context.now);
        wire.down.cut(0, None);
    }
}

/// The HELLO of a stranger that watches functions, workers and bindings with these prefixes.
fn hello(
    watch: Option<Vec<Text<'_>>>,
    session: Option<&[u8]>,
    metadata: &[u8],
    capacity: u64,
    token: Option<&str>,
) -> Vec<u8> {
    Hello {
        versions: vec![1],
        name: Text("stranger"),
        namespace: Text(""),
        ext: HelloOptions {
            watch: Some(Watch {
                functions: watch.clone(),
                workers: watch.clone(),
                bindings: watch,
            }),
            session: session.map(Bin),
            metadata: Bin(metadata),
            capacity: Some(capacity),
            token: token.map(Text),
            ..HelloOptions::default()
        },
    }
    .to_frame()
}

fn outcome(id: u64, payload: &[u8]) -> Vec<u8> {
    let payload = Bin(payload);
    let ext = callboard::protocol::OutcomeOptions::default();
    Outcome { id, payload, ext }.to_frame()
}

/// A frame of an unknown kind.
fn unknown(kind: u8, id: u64) -> Vec<u8> {
    let mut body = vec![0x92, 0xcc, kind, 0xcf];
    body.extend(id.to_be_bytes());
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}
