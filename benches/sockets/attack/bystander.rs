//! The bystander: a user whose own pace is modest and steady, and who measures how it fares. Each thing that it does is
//! due at its moment and is reckoned from then: one that had to wait for the one before it waits as well.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callboard::protocol::{
    Bin, Call, CallOptions, Changes, Message, Outcome, Sections, Text, Watch,
};
use hdrhistogram::Histogram;
use socket2::Socket;

use super::link::{DEFAULT, Link, prefix, registration};
use super::user::User;
use crate::pace::no_times;

/// Times between two calls, two changes and two newcomers.
const CALL_EVERY: Duration = Duration::from_millis(5);
const CHANGE_EVERY: Duration = Duration::from_millis(50);
const NEWCOMER_EVERY: Duration = Duration::from_millis(250);

/// With one change of so many comes a call that waits for a function which is not there.
const WAITS: u64 = 5;

/// What such a call waits, in milliseconds.
const WAIT: u64 = 100;

/// The ids of those calls begin here.
const FIRST_WAIT: u64 = 1 << 40;

/// Numbers of one measurement are below this.
const NUMBERS: u64 = 1_000_000;

/// The longest wait in a read before a look around.
const LOOK: Duration = Duration::from_millis(50);

/// How long the bystander may take to join an idle engine.
const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: &str = "bystander::echo";
const CHANGES: &str = "bystander::change::";
const PAYLOAD: [u8; 64] = [0x5a; 64];

/// How the bystander fared.
pub(super) struct Measured {
    /// Round trips of calls, those without an answer included with the time that they waited.
    pub(super) calls: Histogram<u64>,
    pub(super) failed: u64,
    pub(super) unanswered: u64,
    /// From the moment at which a worker changed the board until a watcher heard of it.
    pub(super) heard: Histogram<u64>,
    pub(super) unheard: u64,
    /// From the moment at which a newcomer connected until it had joined.
    pub(super) joins: Histogram<u64>,
    /// What the engine refused, and how often.
    pub(super) refused: BTreeMap<String, u64>,
    /// Which connections were lost, and why.
    pub(super) lost: Vec<String>,
}

/// Something that is due again and again.
#[derive(Clone, Copy)]
struct Pace {
    began: Instant,
    every: Duration,
    first: u64,
    count: u64,
}

impl Pace {
    fn due(&self, number: u64) -> Instant {
        self.began + self.every * u32::try_from(number - self.first).expect("a small number")
    }

    fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.count
    }

    fn has(&self, number: u64) -> bool {
        self.numbers().contains(&number)
    }

    /// Sends each when it is due. A connection that is lost is told by the one that reads from it.
    fn write(self, mut socket: Socket, frame: impl Fn(u64) -> Vec<u8>) {
        for number in self.numbers() {
            sleep_until(self.due(number));
            if socket.write_all(&frame(number)).is_err() {
                return;
            }
        }
    }

    fn record(&self, times: &mut Histogram<u64>, number: u64, at: Instant) {
        let time = at.saturating_duration_since(self.due(number));
        times.saturating_record(time.as_nanos() as u64);
    }
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

pub(super) struct Bystander {
    address: String,
    user: User,
    caller: Link,
    provider: Link,
    changer: Link,
    watcher: Link,
    measured: u64,
    /// Newcomers also join a namespace of their own. With credentials, each user has but one.
    roams: bool,
}

impl Bystander {
    /// Joins an idle engine.
    pub(super) fn join(address: &str, user: User, roams: bool) -> io::Result<Self> {
        let join = |watch| Link::join(address, user, DEFAULT, watch, PATIENCE);
        let mut provider = join(Watch::default())?;
        provider.register(&[ECHO.to_owned()], PATIENCE)?;
        Ok(Self {
            caller: join(Watch::default())?,
            provider,
            changer: join(Watch::default())?,
            watcher: join(prefix("bystander::"))?,
            address: address.to_owned(),
            user,
            measured: 0,
            roams,
        })
    }

    /// Only lives, until it is over.
    pub(super) fn live(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let links = [
                &mut self.caller,
                &mut self.provider,
                &mut self.changer,
                &mut self.watcher,
            ];
            for link in links {
                link.hear(LOOK, |_| {}).expect("nothing has happened yet");
            }
        }
    }

    /// Does what it always does for so long, and then waits no longer than `patience` for what is left.
    pub(super) fn measure(&mut self, length: Duration, patience: Duration) -> Measured {
        let began = Instant::now() + Duration::from_millis(20);
        let until = began + length + patience;
        self.measured += 1;
        let first = self.measured * NUMBERS;
        let pace = |every: Duration| Pace {
            began,
            every,
            first,
            count: (length.as_micros() / every.as_micros()) as u64,
        };
        let (calls, changes, newcomers) =
            (pace(CALL_EVERY), pace(CHANGE_EVERY), pace(NEWCOMER_EVERY));
        let (over, not_changed) = (AtomicBool::new(false), AtomicU64::new(0));
        let (address, user, roams) = (&*self.address, self.user, self.roams);
        thread::scope(|threads| {
            let writing = self.caller.writer();
            threads.spawn(move || calls.write(writing, call));
            let writing = self.changer.writer();
            threads.spawn(move || changes.write(writing, change));
            let providing = threads.spawn(|| answer(&mut self.provider, &over));
            let calling = threads.spawn(|| hear_answers(&mut self.caller, calls, until));
            let changing =
                threads.spawn(|| hear_results(&mut self.changer, changes, until, &not_changed));
            let watching =
                threads.spawn(|| hear_changes(&mut self.watcher, changes, until, &not_changed));
            let joining = threads.spawn(|| join_all(address, user, roams, newcomers, until));
            let calling = calling.join().expect("a measurement");
            let (refused, changing) = changing.join().expect("a measurement");
            let watching = watching.join().expect("a measurement");
            let (joins, mut all_refused) = joining.join().expect("a measurement");
            over.store(true, Ordering::Relaxed);
            let providing = providing.join().expect("a measurement");
            for (what, times) in refused {
                *all_refused.entry(what).or_default() += times;
            }
            let lost = [
                ("caller", calling.lost),
                ("worker", changing),
                ("watcher", watching.lost),
                ("provider", providing),
            ];
            let named = lost
                .into_iter()
                .filter_map(|(name, why)| Some(format!("{name}: {}", why?)));
            Measured {
                calls: calling.times,
                failed: calling.failed,
                unanswered: calling.missing,
                heard: watching.times,
                unheard: watching.missing,
                joins,
                refused: all_refused,
                lost: named.collect(),
            }
        })
    }
}

/// What one connection heard.
struct Heard {
    times: Histogram<u64>,
    failed: u64,
    missing: u64,
    lost: Option<String>,
}

fn call(number: u64) -> Vec<u8> {
    let call = Call {
        id: number,
        function: Text(ECHO),
        payload: Bin(&PAYLOAD),
        ..Call::default()
    };
    call.to_frame()
}

/// A registration, and now and then a call that has to wait.
fn change(number: u64) -> Vec<u8> {
    let mut frame = registration(number, &[format!("{CHANGES}{number}")]);
    if number.is_multiple_of(WAITS) {
        let call = Call {
            id: FIRST_WAIT + number,
            function: Text("bystander::absent"),
            payload: Bin(&PAYLOAD),
            ext: CallOptions {
                timeout_ms: Some(WAIT),
                wait: true,
                ..CallOptions::default()
            },
        };
        call.encode(&mut frame);
    }
    frame
}

/// Answers calls until it is over. Says why it could not.
fn answer(link: &mut Link, over: &AtomicBool) -> Option<String> {
    let mut socket = link.writer();
    while !over.load(Ordering::Relaxed) {
        let mut answers = Vec::new();
        let heard = link.hear(LOOK, |message| {
            if let Message::Invoke(invoke) = message {
                let result = Outcome {
                    id: invoke.id,
                    payload: invoke.payload,
                    ..Outcome::default()
                };
                result.encode(&mut answers);
            }
        });
        if let Err(error) = heard.and_then(|()| socket.write_all(&answers)) {
            return Some(error.to_string());
        }
    }
    None
}

fn hear_answers(link: &mut Link, pace: Pace, until: Instant) -> Heard {
    let (mut times, mut failed, mut lost) = (no_times(), 0, None);
    let mut open: Vec<bool> = vec![true; pace.count as usize];
    let mut left = pace.count;
    while left > 0 && lost.is_none() && Instant::now() < until {
        let heard = link.hear(LOOK, |message| {
            let (number, good) = match message {
                Message::Outcome(it) => (it.id, true),
                Message::Failure(it) => (it.id, false),
                _ => return,
            };
            if pace.has(number) {
                open[(number - pace.first) as usize] = false;
                left -= 1;
                if good {
                    pace.record(&mut times, number, Instant::now());
                } else {
                    failed += 1;
                }
            }
        });
        lost = heard.err().map(|it| it.to_string());
    }
    let missing = record_missing(&mut times, pace, &open, until);
    Heard {
        times,
        failed,
        missing,
        lost,
    }
}

/// Those that are open waited to the end, at least.
fn record_missing(times: &mut Histogram<u64>, pace: Pace, open: &[bool], until: Instant) -> u64 {
    let numbers = pace.numbers().zip(open).filter(|(_, open)| **open);
    let mut missing = 0;
    for (number, _) in numbers {
        pace.record(times, number, until);
        missing += 1;
    }
    missing
}

/// What was refused, and why the connection was lost.
fn hear_results(
    link: &mut Link,
    pace: Pace,
    until: Instant,
    not_changed: &AtomicU64,
) -> (BTreeMap<String, u64>, Option<String>) {
    let mut refused = BTreeMap::<String, u64>::new();
    let waits = pace.numbers().filter(|it| it.is_multiple_of(WAITS)).count() as u64;
    let mut left = pace.count + waits;
    while left > 0 && Instant::now() < until {
        let heard = link.hear(LOOK, |message| match message {
            Message::Outcome(_) => left -= 1,
            Message::Failure(it) => {
                left -= 1;
                let what = match it.id >= FIRST_WAIT {
                    true if it.code.0 == "deadline_exceeded" => return,
                    true => "waiting call",
                    false => {
                        not_changed.fetch_add(1, Ordering::Relaxed);
                        "registration"
                    }
                };
                *refused.entry(format!("{what}: {}", it.code.0)).or_default() += 1;
            }
            _ => {}
        });
        if let Err(error) = heard {
            not_changed.fetch_add(left, Ordering::Relaxed);
            return (refused, Some(error.to_string()));
        }
    }
    if left > 0 {
        refused.insert("worker: no answer".to_owned(), left);
    }
    (refused, None)
}

fn hear_changes(link: &mut Link, pace: Pace, until: Instant, not_changed: &AtomicU64) -> Heard {
    let (mut times, mut lost) = (no_times(), None);
    let mut open: Vec<bool> = vec![true; pace.count as usize];
    let mut left = pace.count;
    while left > not_changed.load(Ordering::Relaxed) && lost.is_none() && Instant::now() < until {
        let mut look = |sections: &Sections<'_>| {
            let now = Instant::now();
            for added in &sections.functions.added {
                let name = added.name.0.strip_prefix(CHANGES);
                let Some(number) = name.and_then(|it| it.parse().ok()) else {
                    continue;
                };
                if pace.has(number) && std::mem::take(&mut open[(number - pace.first) as usize]) {
                    left -= 1;
                    pace.record(&mut times, number, now);
                }
            }
        };
        let heard = link.hear(LOOK, |message| match message {
            Message::Changes(Changes { sections, .. }) => look(sections),
            Message::Snapshot(snapshot) => look(&snapshot.sections),
            _ => {}
        });
        lost = heard.err().map(|it| it.to_string());
    }
    let missing = if left > not_changed.load(Ordering::Relaxed) {
        record_missing(&mut times, pace, &open, until)
    } else {
        0
    };
    Heard {
        times,
        failed: 0,
        missing,
        lost,
    }
}

/// Newcomers, one after the other: some join the board that all know, with a watch that nobody else has; the others a
/// namespace of their own.
fn join_all(
    address: &str,
    user: User,
    roams: bool,
    pace: Pace,
    until: Instant,
) -> (Histogram<u64>, BTreeMap<String, u64>) {
    let (mut times, mut refused) = (no_times(), BTreeMap::<String, u64>::new());
    for number in pace.numbers() {
        sleep_until(pace.due(number));
        let left = until.saturating_duration_since(Instant::now());
        let watched = format!("bystander::newcomer::{number}");
        let (what, namespace, watch) = if roams && number % 2 == 1 {
            ("namespace", "bystander", prefix(""))
        } else {
            ("join", DEFAULT, prefix(&watched))
        };
        let patience = left.max(Duration::from_millis(1));
        match Link::join(address, user, namespace, watch, patience) {
            Ok(_) => pace.record(&mut times, number, Instant::now()),
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    pace.record(&mut times, number, Instant::now());
                }
                *refused.entry(format!("{what}: {error}")).or_default() += 1;
            }
        }
    }
    (times, refused)
}
