//! The link against scripted engines, with a clock of its own: HELLO, registering again and refusals, the
//! heartbeat, and every end of a connection.

mod calling;
mod registering;

use super::*;
use crate::protocol::{
    Changes, Definition, Failure, FailureOptions, Invoke, InvokeOptions, Outcome, OutcomeOptions,
    Resync, Rights, Sections, Synced, WelcomeOptions, WorkerLimits,
};
use crate::worker::error::ViewError;
use std::sync::Arc;

use crate::worker::{Binding, Function, Offer, Registered, RequestError, Standing};

const SECOND: Duration = Duration::from_secs(1);

/// A link, the time, and an engine's side of the wire.
struct Bench {
    link: Link,
    now: Instant,
}

fn bench(watch: Watch) -> Bench {
    let identity = Identity {
        name: "w".to_owned(),
        namespace: "default".to_owned(),
        watch,
        metadata: Vec::new(),
        capacity: None,
        tier: None,
    };
    let now = Instant::now();
    Bench {
        link: Link::new(identity, [3; 32], now),
        now,
    }
}

fn address() -> Address {
    "engine:1".parse().unwrap()
}

fn welcome(epoch: u64, key: &[u8]) -> Welcome<'_> {
    Welcome {
        version: 1,
        worker: 5,
        engine: Text("e"),
        epoch,
        revision: 10,
        session: Bin(key),
        digest: Bin(&[9; 8]),
        ext: WelcomeOptions {
            ping_ms: 5000,
            silence_ms: 15000,
            limits: WorkerLimits {
                max_frame: 100_000,
                max_payload: 90_000,
                max_functions: 50,
                max_entry: 1000,
            },
            ..WelcomeOptions::default()
        },
    }
}

fn outcome(id: u64, revision: u64) -> Outcome<'static> {
    Outcome {
        id,
        payload: Bin(&[]),
        ext: OutcomeOptions {
            revision: Some(revision),
            matched: None,
        },
    }
}

fn failure(id: u64, code: Code) -> Failure<'static> {
    Failure {
        id,
        code: Text(code.as_str()),
        message: Text("said so"),
        retryable: code.retryable(),
        executed: Executed::No,
        ext: FailureOptions::default(),
    }
}

fn goodbye(code: Code, retry_after_ms: Option<u64>) -> Goodbye<'static> {
    Goodbye {
        code: Text(code.as_str()),
        message: Text("said so"),
        ext: GoodbyeOptions {
            retry_after_ms,
            ..GoodbyeOptions::default()
        },
    }
}

/// What was written, abbreviated: `hello`, `register 1 a b`, `register 1 a …` if more follows, `unregister 2 a`,
/// `ready 3`, `ping 10`, `pong 10`, `failure 4 unsupported`, `goodbye bye`.
fn brief(message: &Message<'_>) -> String {
    match message {
        Message::Hello(_) => "hello".to_owned(),
        Message::Register(it) => {
            let mut text = format!("register {}", it.id);
            for function in &it.functions {
                text = format!("{text} {}", function.name);
            }
            if it.more { text + " …" } else { text }
        }
        Message::Unregister(it) => {
            let names: Vec<&str> = it.names.iter().map(|name| name.0).collect();
            format!("unregister {} {}", it.id, names.join(" "))
        }
        Message::Ready(it) => format!("ready {}", it.id),
        Message::Call(it) => format!("call {} {}", it.id, it.function),
        Message::Cancel(it) => format!("cancel {}", it.id),
        Message::Outcome(it) => format!("result {} {:?}", it.id, it.payload.0),
        Message::Drain(_) => "drain".to_owned(),
        Message::Bind(it) => {
            let ties = it.bindings.iter().map(|it| tie(&it.event, &it.function));
            format!("bind {}{}", it.id, ties.collect::<String>())
        }
        Message::Unbind(it) => {
            let ties = it.bindings.iter().map(|it| tie(&it.event, &it.function));
            format!("unbind {}{}", it.id, ties.collect::<String>())
        }
        Message::Ping(it) => format!("ping {}", it.revision),
        Message::Pong(it) => format!("pong {}", it.revision),
        Message::Failure(it) => format!("failure {} {}", it.id, it.code),
        Message::Goodbye(it) => format!("goodbye {}", it.code),
        other => panic!("{other:?}"),
    }
}

fn tie(event: &str, function: &str) -> String {
    format!(" {event}-{function}")
}

impl Bench {
    fn written(&mut self) -> Vec<String> {
        self.frames()
            .iter()
            .map(|body| brief(&Message::decode(body).unwrap()))
            .collect()
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        #[cfg(debug_assertions)]
        self.link.check_books();
        let mut bytes = Vec::new();
        self.link.take_output(&mut bytes);
        let (mut inbox, mut rest, mut bodies) = (Inbox::default(), &bytes[..], Vec::new());
        while let Some(body) = inbox.next(&mut rest, MAX_FRAME_CEILING).unwrap() {
            bodies.push(body.to_vec());
        }
        bodies
    }

    fn hear(&mut self, frame: &[u8]) -> Result<(), Loss> {
        self.link.handle_bytes(frame, self.now)
    }

    fn wait(&mut self, time: Duration) -> Result<(), Loss> {
        self.now += time;
        self.link.handle_time(self.now)
    }

    /// Connects to a new engine, up to READY.
    fn up(&mut self, epoch: u64) {
        self.link.open(address(), None, self.now);
        assert_eq!(self.written(), ["hello"]);
        self.hear(&welcome(epoch, &[epoch as u8; 16]).to_frame())
            .unwrap();
    }

    /// Opens a connection, and accepts everything that is registered again.
    fn up_and_ready(&mut self, epoch: u64) {
        self.up(epoch);
        while let Some(frame) = self.frames().pop() {
            match Message::decode(&frame).unwrap() {
                Message::Register(it) => self.hear(&outcome(it.id, 10).to_frame()).unwrap(),
                Message::Ready(it) => return self.hear(&outcome(it.id, 10).to_frame()).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn register(&mut self, names: &[&str]) -> Ticket {
        self.link
            .register(names.iter().map(|name| Function::new(*name)).collect())
            .unwrap()
    }

    fn unregister(&mut self, names: &[&str]) -> Ticket {
        self.link
            .unregister(names.iter().map(|name| Arc::from(*name)).collect())
            .unwrap()
    }

    /// Registers, and the engine accepts.
    fn provide(&mut self, names: &[&str]) {
        let ticket = self.register(names);
        let frame = self.frames().pop().unwrap();
        let Message::Register(sent) = Message::decode(&frame).unwrap() else {
            panic!()
        };
        self.hear(&outcome(sent.id, 11).to_frame()).unwrap();
        assert_eq!(
            self.link.take_end(ticket),
            Some(Ok(Registered { revision: 11 }))
        );
    }

    fn drop_connection(&mut self) {
        assert_eq!(self.link.handle_end(None, self.now), Loss::Closed);
    }

    fn standing(&self, name: &str) -> Option<Standing> {
        let offers: Vec<Offer> = self.link.offers();
        let found = offers
            .into_iter()
            .find(|offer| offer.function.name() == name);
        found.map(|offer| offer.standing)
    }
}

#[test]
fn hello_presents_the_newest_key_and_the_resume_point() {
    let mut bench = bench(Watch::all());
    bench.link.open(address(), None, bench.now);
    let frames = bench.frames();
    let Message::Hello(first) = Message::decode(&frames[0]).unwrap() else {
        panic!()
    };
    assert_eq!(
        (first.versions, first.name.0, first.namespace.0),
        (vec![1], "w", "default")
    );
    assert_eq!(
        (first.ext.session, first.ext.resume, first.ext.watch),
        (None, None, None)
    );
    bench.hear(&welcome(7, &[1; 16]).to_frame()).unwrap();
    let resync = Resync {
        revision: 10,
        reason: Text("joined"),
        ext: NoExtensions {},
    };
    bench.hear(&resync.to_frame()).unwrap();
    let synced = Synced {
        revision: 10,
        ext: NoExtensions {},
    };
    bench.hear(&synced.to_frame()).unwrap();
    bench.drop_connection();
    bench.link.open(address(), None, bench.now);
    // A WELCOME that never arrived leaves no session key.
    assert_eq!(
        bench.link.handle_end(None, bench.now),
        Loss::ClosedBeforeWelcome
    );
    bench.link.open(address(), None, bench.now);
    let frames = bench.frames();
    let Message::Hello(again) = Message::decode(frames.last().unwrap()).unwrap() else {
        panic!()
    };
    assert_eq!(again.ext.session, Some(Bin(&[1; 16])));
    let resume = again.ext.resume.unwrap();
    assert_eq!(
        (resume.epoch, resume.revision, resume.digest),
        (7, 10, Bin(&[9; 8]))
    );
}

#[test]
fn of_several_engines_keys_the_one_of_the_engine_at_hand_is_presented() {
    // Four keys are kept.
    for engines in 1..=6 {
        let mut bench = bench(Watch::nothing());
        for epoch in 1..=engines {
            bench.up_and_ready(epoch);
            bench.drop_connection();
        }
        let newest = engines as u8;
        let oldest = newest.saturating_sub(3).max(1);
        let mut asked: Vec<_> = (oldest..=newest).map(|it| (Some(it.into()), it)).collect();
        asked.extend([(None, newest), (Some(9), newest)]);
        if oldest > 1 {
            asked.push((Some(u64::from(oldest) - 1), newest));
        }
        for (known, want) in asked {
            bench.link.open(address(), known, bench.now);
            let frames = bench.frames();
            let Message::Hello(hello) = Message::decode(&frames[0]).unwrap() else {
                panic!()
            };
            assert_eq!(hello.ext.session, Some(Bin(&[want; 16])), "{engines}");
            assert_eq!(hello.ext.watch, Some(WireWatch::default()));
        }
    }
}

#[test]
fn every_split_of_what_the_engine_sends_gives_the_same_view() {
    let mut bytes = welcome(1, &[1; 16]).to_frame();
    Resync {
        revision: 10,
        reason: Text("joined"),
        ext: NoExtensions {},
    }
    .encode(&mut bytes);
    let mut sections = Sections::default();
    let definition = |name| Definition {
        name: Text(name),
        ..Definition::default()
    };
    sections.functions.added = vec![definition("a"), definition("b")];
    for (from, to, more) in [(10, 12, true), (10, 12, false)] {
        Changes {
            from,
            to,
            more,
            sections: if more {
                sections.clone()
            } else {
                Sections::default()
            },
            ext: NoExtensions {},
        }
        .encode(&mut bytes);
    }
    Synced {
        revision: 12,
        ext: NoExtensions {},
    }
    .encode(&mut bytes);
    for at in 0..=bytes.len() {
        let mut bench = bench(Watch::all());
        bench.link.open(address(), None, bench.now);
        bench.hear(&bytes[..at]).unwrap();
        bench.hear(&bytes[at..]).unwrap();
        assert_eq!(
            (bench.link.view().len(), bench.link.view().revision()),
            (2, 12),
            "{at}"
        );
        let notices = bench.link.take_notices();
        assert!(
            matches!(
                &notices[..],
                [
                    Notice::Connected(_),
                    Notice::Step(_),
                    Notice::Synced { revision: 12 }
                ]
            ),
            "{notices:?}"
        );
    }
}

#[test]
fn pings_are_answered_and_asked_in_silence_and_silence_ends_the_connection() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let ping = Ping {
        revision: 40,
        ext: NoExtensions {},
    };
    bench.hear(&ping.to_frame()).unwrap();
    assert_eq!(bench.written(), ["pong 40"]);
    assert_eq!(bench.link.next_deadline(), Some(bench.now + 6 * SECOND));
    bench.wait(5 * SECOND).unwrap();
    assert_eq!(bench.written(), Vec::<String>::new());
    bench.wait(SECOND).unwrap();
    assert_eq!(bench.written(), ["ping 40"]);
    bench.wait(SECOND).unwrap();
    assert_eq!(bench.written(), Vec::<String>::new());
    // Any byte shows that the engine lives.
    bench.hear(&Pong::default().to_frame()[..1]).unwrap();
    bench.wait(6 * SECOND).unwrap();
    assert_eq!(bench.written(), ["ping 40"]);
    assert_eq!(bench.wait(8 * SECOND), Ok(()));
    assert_eq!(bench.wait(SECOND), Err(Loss::Silent(15 * SECOND)));
    assert_eq!(
        (bench.link.connection(), bench.link.next_deadline()),
        (None, None)
    );
    assert!(bench.link.view().stale_since().is_some());
}

#[test]
fn who_does_not_welcome_is_left() {
    let mut bench = bench(Watch::all());
    bench.link.open(address(), None, bench.now);
    assert_eq!(bench.wait(WELCOME_TIMEOUT), Err(Loss::NoWelcome));
    for (bytes, loss) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            Loss::NotAnEngine(crate::protocol::FrameError::Foreign(b'H')),
        ),
        (&Ping::default().to_frame(), Loss::Unexpected("Ping")),
    ] {
        bench.link.open(address(), None, bench.now);
        assert_eq!(bench.hear(bytes), Err(loss));
        assert_eq!(bench.link.take_notices(), []);
    }
}

#[test]
fn refusals_say_whether_waiting_helps() {
    let mut bench = bench(Watch::all());
    for (code, retryable) in [
        (Code::TooManyConnections, true),
        (Code::UnsupportedVersion, false),
        (Code::SessionTakenOver, false),
    ] {
        bench.link.open(address(), None, bench.now);
        let loss = bench.hear(&goodbye(code, None).to_frame()).unwrap_err();
        assert_eq!(loss.code(), Some(code.as_str()));
        let Loss::Goodbye {
            refusal,
            before_welcome: true,
            ..
        } = loss
        else {
            panic!("{loss}")
        };
        assert_eq!(refusal.retryable, retryable);
    }
    let unknown = Goodbye {
        code: Text("of_a_newer_engine"),
        ..Goodbye::default()
    };
    bench.link.open(address(), None, bench.now);
    let loss = bench.hear(&unknown.to_frame()).unwrap_err();
    assert!(matches!(loss, Loss::Goodbye { refusal, .. } if refusal.retryable));
}

#[test]
fn a_gap_ends_the_connection_and_the_next_asks_for_the_whole_board() {
    let mut bench = bench(Watch::all());
    bench.up(1);
    let resync = Resync {
        revision: 10,
        reason: Text("joined"),
        ext: NoExtensions {},
    };
    bench.hear(&resync.to_frame()).unwrap();
    let synced = Synced {
        revision: 10,
        ext: NoExtensions {},
    };
    bench.hear(&synced.to_frame()).unwrap();
    let changes = Changes {
        from: 12,
        to: 13,
        ..Changes::default()
    };
    let gap = ViewError::Gap {
        mine: 10,
        from: 12,
        to: 13,
    };
    assert_eq!(
        bench.hear(&changes.to_frame()),
        Err(Loss::Inconsistent(gap))
    );
    bench.link.open(address(), None, bench.now);
    let frames = bench.frames();
    let Message::Hello(hello) = Message::decode(frames.last().unwrap()).unwrap() else {
        panic!()
    };
    assert_eq!(
        (hello.ext.resume, hello.ext.session),
        (None, Some(Bin(&[1; 16])))
    );
}

#[test]
fn what_a_worker_cannot_do_it_says() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let invoke = Invoke {
        id: 77,
        function: Text("f"),
        timeout_ms: 1000,
        payload: Bin(&[]),
        ext: InvokeOptions::default(),
    };
    bench.hear(&invoke.to_frame()).unwrap();
    let work = bench.link.take_work().pop().unwrap();
    bench.link.answer_unserved(work.reply.unwrap(), true);
    // A request and a message of a newer engine, by hand: [60, 9] and [200, "x"].
    bench.hear(&[0, 0, 0, 3, 0x92, 60, 9]).unwrap();
    bench
        .hear(&[0, 0, 0, 5, 0x92, 0xcc, 200, 0xa1, b'x'])
        .unwrap();
    assert_eq!(
        bench.written(),
        ["failure 77 unsupported", "failure 9 unsupported"]
    );
    let garbled = bench.hear(&[0, 0, 0, 2, 0x91, 0xc1]);
    assert!(matches!(garbled, Err(Loss::Garbled(_))), "{garbled:?}");
    bench.up_and_ready(2);
    assert_eq!(
        bench.hear(&Hello::default().to_frame()),
        Err(Loss::Unexpected("Hello"))
    );
}

#[test]
fn a_worker_that_is_over_takes_nothing_and_ends_what_is_open() {
    let mut bench = bench(Watch::all());
    bench.up(1);
    bench.written();
    let ticket = bench.register(&["a"]);
    bench.link.take_notices();
    bench.link.finish(End::TakenOver, bench.now);
    let over = RequestError::Ended(End::TakenOver);
    assert_eq!(bench.link.take_end(ticket), Some(Err(over.clone())));
    assert_eq!(bench.link.register(Vec::new()), Err(over));
    let notices = bench.link.take_notices();
    assert!(
        matches!(
            &notices[..],
            [Notice::Disconnected(_), Notice::Ended(End::TakenOver)]
        ),
        "{notices:?}"
    );
    bench.link.finish(End::Closed, bench.now);
    assert_eq!(bench.link.ended(), Some(&End::TakenOver));
}

#[test]
fn what_a_worker_was_registering_at_its_end_is_not_shown_as_its_own() {
    let mut bench = bench(Watch::all());
    bench.up_and_ready(1);
    let mut sections = Sections::default();
    sections.functions.added = vec![Definition {
        name: Text("a"),
        ..Definition::default()
    }];
    let changes = Changes {
        to: 1,
        sections,
        ..Changes::default()
    };
    let frames = [Resync::default().to_frame(), changes.to_frame()];
    for frame in frames.iter().chain([&Synced::default().to_frame()]) {
        bench.hear(frame).unwrap();
    }
    let is_own = |bench: &Bench| bench.link.view().get("a").unwrap().is_own();
    bench.register(&["a"]);
    assert!(is_own(&bench));
    bench.link.finish(End::Closed, bench.now);
    assert!(!is_own(&bench));
}

#[test]
fn leaving_says_goodbye_and_waits_for_the_close_for_a_while() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.link.leave(bench.now);
    assert_eq!(bench.written(), ["goodbye bye"]);
    // Later messages are ignored.
    bench.hear(&Ping::default().to_frame()).unwrap();
    assert_eq!(bench.written(), Vec::<String>::new());
    assert_eq!(bench.link.next_deadline(), Some(bench.now + LEAVE_TIMEOUT));
    assert_eq!(bench.wait(LEAVE_TIMEOUT), Err(Loss::Closed));
}
