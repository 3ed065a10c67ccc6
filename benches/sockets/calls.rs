//! What a call costs: through the engine, beside a relay that forwards frames of the same sizes; and through an
//! engine that is full, beside one that is nearly empty. In one run, in alternation, with a second base as the
//! control. The server has one processor, callers and providers the other.

use std::thread;
use std::time::Duration;

use callboard::protocol::{Call, CallOptions, Message, Text};

use crate::engine;
use crate::load::{self, Frames, Pair, Run, Shape};
use crate::peer::{self, Peer};
use crate::process::{self, Process};
use crate::ratio::Ratio;
use crate::relay;

/// Rounds of a measurement, each with both bases and the subject.
const ROUNDS: usize = 15;

/// What one load runs each time.
const LENGTH: Duration = Duration::from_millis(400);

/// What one load runs before anything is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// Pairs of connections, for the loads that spread their calls.
const PAIRS: usize = 64;

const SHAPES: [(&str, Shape); 4] = [
    ("1 in flight", Shape::One),
    ("64 in flight, a connection each", Shape::Pairs(PAIRS)),
    (
        "64 in flight on one connection, a write each",
        Shape::Single(64),
    ),
    (
        "64 in flight on one connection, gathered writes",
        Shape::Gathered(64),
    ),
];

/// What stands on a full engine beside the calls that are measured.
const FUNCTIONS: usize = 100_000;
const CONNECTIONS: usize = 9_600;
const IN_FLIGHT: usize = 10_000;

/// In milliseconds; longer than the bench takes.
const HOUR: u64 = 3_600_000;

/// The most times the floor's round trip, and the least part of its calls per second of processor time.
const TIMES_RTT: f64 = 1.13;
const PART_OF_CALLS: f64 = 0.6;

pub(super) fn bench() {
    // Pinning is for the rest of a thread's life.
    process::require_descriptors(CONNECTIONS as u64 + 1_000);
    let measuring = thread::spawn(|| {
        process::pin(false);
        let directory = tempfile::tempdir().expect("a directory for sockets");
        let path = |name: &str| format!("unix:{}", directory.path().join(name).display());
        beside_the_floor(&path);
        beside_an_empty_one(&path);
    });
    measuring.join().expect("a measurement");
}

/// A server, and the pairs that call each other through it by TCP and by Unix sockets.
pub(super) struct Target {
    process: Process,
    transports: [Vec<Pair<Frames>>; 2],
}

pub(super) const TRANSPORTS: [&str; 2] = ["TCP", "Unix socket"];

impl Target {
    /// An engine. `how` is for its role.
    pub(super) fn engine(unix: &str, how: &str) -> Self {
        let listen = format!("listen=127.0.0.1:0 listen={unix}");
        let process = Process::start(&format!("{} processor=last {how} {listen}", engine::ROLE));
        let mut functions = (0..).map(|number| format!("bench::echo{number:03}"));
        let transports = [0, 1].map(|transport| {
            let address: &str = &process.addresses[transport];
            let pair = |function: String| {
                let mut provider = Peer::join(address, false);
                provider.register(&function, "");
                let caller = Peer::join(address, false);
                Pair::new(caller.into_stream(), provider.into_stream(), &function)
            };
            functions.by_ref().take(PAIRS).map(pair).collect()
        });
        Self {
            process,
            transports,
        }
    }

    /// A relay; what goes to a provider grows by `extra` bytes on its way.
    fn floor(unix: &str, extra: usize) -> Self {
        let listen = format!("listen=127.0.0.1:0 listen={unix}");
        let process = Process::start(&format!("{} extra={extra} {listen}", relay::ROLE));
        let transports = [0, 1].map(|transport| {
            let address = &process.addresses[transport];
            let pair = |_| {
                let provider = peer::connect(address);
                Pair::new(peer::connect(address), provider, "bench::echo000")
            };
            (0..PAIRS).map(pair).collect()
        });
        Self {
            process,
            transports,
        }
    }

    pub(super) fn run(
        &mut self,
        transport: usize,
        shape: Shape,
        length: Duration,
    ) -> (Run, Duration) {
        let pairs = &mut self.transports[transport][..shape.pairs()];
        let before = self.process.cpu();
        let run = load::run(pairs, shape, length);
        let used = self.process.cpu().saturating_sub(before);
        (run, used)
    }

    /// Processor time that the server has used so far.
    pub(super) fn cpu(&self) -> Duration {
        self.process.cpu()
    }

    /// The sizes of a call's frames.
    fn sizes(&mut self) -> [usize; 4] {
        self.transports[0][0].exchange()
    }
}

fn beside_the_floor(path: &impl Fn(&str) -> String) {
    let mut engine = Target::engine(&path("engine"), "");
    let sizes = engine.sizes();
    let extra = sizes[1] - sizes[0];
    let mut floors = ["floor", "control"].map(|name| Target::floor(&path(name), extra));
    for floor in &mut floors {
        assert_eq!(floor.sizes(), sizes, "the floor moves the same bytes");
    }
    println!(
        "calls: payloads of 64 bytes, frames of {} bytes, through the engine and through a relay",
        sizes.map(|size| size.to_string()).join(", ")
    );
    for (transport, name) in TRANSPORTS.iter().enumerate() {
        for (what, shape) in SHAPES {
            println!("  {name}, {what}");
            let ratios = alternate(
                &mut floors,
                &mut engine,
                transport,
                shape,
                ["floor", "engine"],
            );
            match shape {
                Shape::One => verdict(
                    ratios[0].median() <= TIMES_RTT,
                    &format!("at most {TIMES_RTT} times the floor's round trip"),
                ),
                _ => verdict(
                    ratios[2].median() >= PART_OF_CALLS,
                    &format!("at least {PART_OF_CALLS} of the floor's calls per second of CPU"),
                ),
            }
        }
    }
}

fn beside_an_empty_one(path: &impl Fn(&str) -> String) {
    println!(
        "calls: an engine with {FUNCTIONS} functions, {CONNECTIONS} idle connections and {IN_FLIGHT} calls in \
         flight, and one without them"
    );
    let mut empty = ["empty", "control"].map(|name| Target::engine(&path(name), ""));
    let mut full = Target::engine(&path("full"), "");
    let _crowd = fill(&full.process.addresses[0]);
    for (what, shape) in SHAPES {
        println!("  {}, {what}", TRANSPORTS[0]);
        alternate(&mut empty, &mut full, 0, shape, ["empty", "full"]);
    }
}

/// Fills an engine. The returned connections keep it full.
fn fill(address: &str) -> Vec<Peer> {
    let names: Vec<String> = (0..FUNCTIONS)
        .map(|number| format!("orders::number{number:06}"))
        .collect();
    let mut crowd: Vec<Peer> = (0..CONNECTIONS)
        .map(|_| Peer::join(address, false))
        .collect();
    for (worker, names) in crowd.iter_mut().zip(names.chunks(FUNCTIONS / 10)) {
        worker.register_all(names);
    }
    // One calls another who never answers.
    let (ends, others) = crowd.split_at_mut(1);
    let (sleeper, caller) = (&mut ends[0], &mut others[0]);
    for number in 0..IN_FLIGHT {
        let call = Call {
            id: number as u64,
            function: Text(&names[0]),
            ext: CallOptions {
                timeout_ms: Some(HOUR),
                ..CallOptions::default()
            },
            ..Call::default()
        };
        caller.send(&call.to_frame());
    }
    let mut asked = 0;
    sleeper.read_until(|message| {
        asked += usize::from(matches!(message, Message::Invoke(_)));
        asked == IN_FLIGHT
    });
    crowd
}

/// Runs one load against both bases and the subject, in turns, and says what came out: round trips in
/// microseconds at the median and the 99th percentile, calls per second of the server's processor time, and calls
/// per second.
fn alternate(
    bases: &mut [Target; 2],
    subject: &mut Target,
    transport: usize,
    shape: Shape,
    names: [&str; 2],
) -> [Ratio; 4] {
    let [one, other] = bases;
    for target in [&mut *one, &mut *subject, &mut *other] {
        target.run(transport, shape, WARM_UP);
    }
    let mut ratios = [(); 4].map(|()| Ratio::default());
    for round in 0..ROUNDS {
        // The order alternates, so that a drift of the machine favours neither.
        let (first, last) = match round % 2 {
            0 => (&mut *one, &mut *other),
            _ => (&mut *other, &mut *one),
        };
        let before = figures(first.run(transport, shape, LENGTH));
        let ours = figures(subject.run(transport, shape, LENGTH));
        let after = figures(last.run(transport, shape, LENGTH));
        let (left, right) = match round % 2 {
            0 => (before, after),
            _ => (after, before),
        };
        for (number, ratio) in ratios.iter_mut().enumerate() {
            ratio.add([left[number], right[number]], ours[number]);
        }
    }
    println!(
        "    {:<26} {:>10} {:>10}   {:<22} control",
        "", names[0], names[1], "ratio"
    );
    let what = [
        "round trip, median, us",
        "round trip, 99 %, us",
        "calls/s of server CPU",
        "calls/s",
    ];
    for (what, ratio) in what.iter().zip(&ratios) {
        println!("    {what:<26} {ratio}");
    }
    ratios
}

fn figures((run, cpu): (Run, Duration)) -> [f64; 4] {
    let microseconds = |quantile| run.times.value_at_quantile(quantile) as f64 / 1000.0;
    let calls = run.calls as f64;
    [
        microseconds(0.5),
        microseconds(0.99),
        calls / cpu.as_secs_f64(),
        calls / run.took.as_secs_f64(),
    ]
}

fn verdict(met: bool, aim: &str) {
    println!("    aim: {aim}: {}", if met { "met" } else { "MISSED" });
}
