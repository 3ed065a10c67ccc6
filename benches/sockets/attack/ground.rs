//! The ground of an attack: joins for its set-up, boards that are filled by many workers at once, and the frames
//! that rows have in common. The engine is idle then and has time, so everything here is expected to succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callboard::protocol::{
    Bin, Bind, BindingEntry, Call, CallOptions, Emit, Text, Unregister, Watch,
};

use super::lanes::Lane;
use super::link::{DEFAULT, Link, all, registration};
use super::plan::{HEARTBEAT, Script, heartbeat};
use super::user::User;

/// Longer than any set-up takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most functions of one worker.
pub(super) const MAX_FUNCTIONS: usize = 65_536;

/// Functions of a whole namespace, some fewer than the limit: the bystander has its own.
pub(super) const BOARD: usize = 1_000_000;

/// Links that are made at the same time.
const AT_ONCE: usize = 16;

/// Between two looks at how many links are missing.
const LOOK: Duration = Duration::from_millis(5);

/// A function that no worker provides.
pub(super) const ABSENT: &str = "absent::function";

/// A day, in milliseconds.
pub(super) const DAY: u64 = 86_400_000;

pub(super) const EVENT: &str = "e";

pub(super) type Frame = Arc<[u8]>;

/// Where the attack happens, and how many attackers there are.
pub(super) struct Ground {
    pub(super) address: String,
    pub(super) n: usize,
}

impl Ground {
    /// A worker in this namespace.
    pub(super) fn join(&self, namespace: &str, watch: Watch<'_>) -> Link {
        Link::join(&self.address, User::Attacker, namespace, watch, PATIENCE)
            .expect("an idle engine admits everybody")
    }

    /// A worker that watches nothing.
    pub(super) fn worker(&self) -> Link {
        self.join(DEFAULT, Watch::default())
    }

    /// All attackers, alike, each with a plan of its own.
    pub(super) fn each(&self, plan: impl Fn(usize) -> Script) -> Vec<Lane> {
        let workers = Self::at_once(self.n, |_| self.worker());
        let lanes = workers.into_iter().enumerate();
        lanes
            .map(|(number, worker)| Lane::new(Some(worker), plan(number)))
            .collect()
    }

    /// So many links, made by several threads; those that are done say that they live until all are.
    pub(super) fn at_once(number: usize, link: impl Fn(usize) -> Link + Sync) -> Vec<Link> {
        let numbers: Vec<usize> = (0..number).collect();
        let missing = AtomicUsize::new(number);
        let make_part = |part: &[usize]| {
            let mut links = Vec::new();
            let began = Instant::now();
            let mut beaten = began;
            for &number in part {
                links.push(link(number));
                missing.fetch_sub(1, Ordering::Relaxed);
                beat(&mut links, &mut beaten);
            }
            // Another part may have failed.
            while missing.load(Ordering::Relaxed) > 0 && began.elapsed() < PATIENCE {
                thread::sleep(LOOK);
                beat(&mut links, &mut beaten);
            }
            links
        };
        thread::scope(|threads| {
            let parts = numbers.chunks(number.div_ceil(AT_ONCE).max(1));
            let making: Vec<_> = parts
                .map(|part| threads.spawn(|| make_part(part)))
                .collect();
            let made = making.into_iter().map(|it| it.join().expect("a part"));
            made.flatten().collect()
        })
    }

    /// Workers that provide so many functions each, with names of their own.
    pub(super) fn fill(&self, workers: usize, functions: usize) -> Vec<Link> {
        Self::at_once(workers, |number| {
            let mut worker = self.worker();
            let names = names(number, functions);
            worker.register(&names, PATIENCE).expect("there is room");
            worker
        })
    }

    /// So many workers that watch everything.
    pub(super) fn watchers(&self) -> Vec<Link> {
        Self::at_once(self.n, |_| self.join(DEFAULT, all()))
    }

    /// A board of so many functions; the workers that provide them only read.
    pub(super) fn board(&self, functions: usize) -> Vec<Lane> {
        let workers = functions.div_ceil(MAX_FUNCTIONS - 3_036);
        silent(self.fill(workers, functions / workers))
    }

    /// Binds these functions to the event, a few at a time.
    pub(super) fn bind(&self, names: &[String], deliver_all: bool) -> Lane {
        let mut binder = self.worker();
        for names in names.chunks(200) {
            binder
                .ask(&binding(1, names, deliver_all), 1, PATIENCE)
                .expect("there is room");
        }
        Lane::new(Some(binder), Script::silent())
    }
}

/// Has the links say that they live, now and then.
fn beat(links: &mut [Link], beaten: &mut Instant) {
    if beaten.elapsed() >= HEARTBEAT {
        *beaten = Instant::now();
        for link in links {
            link.send(&heartbeat()).expect("the engine reads");
        }
    }
}

/// Workers that only read.
pub(super) fn silent(links: Vec<Link>) -> Vec<Lane> {
    let lanes = links.into_iter();
    lanes
        .map(|link| Lane::new(Some(link), Script::silent()))
        .collect()
}

/// The functions of one worker.
pub(super) fn names(worker: usize, functions: usize) -> Vec<String> {
    (0..functions)
        .map(|number| format!("target::{worker:04}::{number:05}"))
        .collect()
}

pub(super) fn register(names: &[String]) -> Frame {
    registration(1, names).into()
}

pub(super) fn unregister(names: &[String]) -> Frame {
    let unregister = Unregister {
        id: 2,
        names: names.iter().map(|name| Text(name)).collect(),
        ..Unregister::default()
    };
    unregister.to_frame().into()
}

pub(super) fn binding(id: u64, names: &[String], deliver_all: bool) -> Vec<u8> {
    let entry = |name| BindingEntry {
        event: Text(EVENT),
        function: Text(name),
        deliver_all,
        ..BindingEntry::default()
    };
    let bind = Bind {
        id,
        bindings: names.iter().map(|name| entry(name)).collect(),
        ..Bind::default()
    };
    bind.to_frame()
}

/// An EMIT without an answer.
pub(super) fn event(payload: usize) -> Vec<u8> {
    let payload = vec![0x5a; payload];
    let emit = Emit {
        event: Text(EVENT),
        payload: Bin(&payload),
        ..Emit::default()
    };
    emit.to_frame()
}

pub(super) fn call(id: u64, function: &str, payload: &[u8], ext: CallOptions<'_>) -> Vec<u8> {
    let call = Call {
        id,
        function: Text(function),
        payload: Bin(payload),
        ext,
    };
    call.to_frame()
}

/// Waits for a day, for a function that never comes.
pub(super) fn forever() -> CallOptions<'static> {
    CallOptions {
        timeout_ms: Some(DAY),
        wait: true,
        ..CallOptions::default()
    }
}

/// One frame many times over, so that one write has many.
pub(super) fn many(frame: &[u8]) -> Frame {
    frame.repeat((32 * 1024 / frame.len()).max(1)).into()
}
