//! Calls beside a connection that sends expensive requests as fast as the engine takes them: with the share of the
//! engine's time that one connection may have, and without one.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use callboard::protocol::{
    Bind, BindingEntry, Definition, Emit, HEADER_LEN, MAX_ELEMENTS, Register, Text,
};
use hdrhistogram::Histogram;

use crate::engine::Engine;
use crate::load::Pair;
use crate::pace;
use crate::peer::Peer;
use crate::process;

const LASTS: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// As many as one request may list, nearly.
const ENTRIES: usize = 65_000;

/// Events in one write.
const EVENTS: usize = 100;

const SHARES: [(&str, &str); 2] = [("max-share=10", "10 %"), ("max-share=0", "any")];

/// What a hostile connection sends.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Nothing,
    SameFunctions,
    Events,
    Junk,
}

const FLOODS: [(Flood, &str); 4] = [
    (Flood::Nothing, "nothing"),
    (Flood::SameFunctions, "65,000 functions, again"),
    (Flood::Events, "events 65,000 times bound"),
    (Flood::Junk, "a megabyte of nothing"),
];

pub(super) fn bench() {
    let measuring = thread::spawn(|| {
        process::pin(false);
        println!("flood: a call each millisecond beside one who sends, as fast as it is taken,");
        println!("  {:<26} {:>6} {}", "what", "share", pace::HEADINGS);
        for (flood, what) in FLOODS {
            for (how, share) in SHARES {
                let mut all = pace::no_times();
                for _ in 0..ROUNDS {
                    run(how, flood, &mut all);
                }
                println!("  {what:<26} {share:>6} {}", pace::columns(&all));
            }
        }
    });
    measuring.join().expect("a measurement");
}

/// Adds the times of the calls to `times`.
fn run(how: &str, flood: Flood, times: &mut Histogram<u64>) {
    let engine = Engine::start_with(&format!("processor=last {how}"));
    let mut provider = Peer::join(&engine.address, false);
    provider.register("bench::echo", "");
    let caller = Peer::join(&engine.address, false);
    let mut pair = Pair::new(caller.into_stream(), provider.into_stream(), "bench::echo");
    let mut bad = Peer::join(&engine.address, false);
    let names: Vec<String> = (0..ENTRIES).map(|number| format!("f{number:05}")).collect();
    let said = prepare(flood, &mut bad, &names);
    let mut writing = bad.into_stream();
    let mut reading = writing.try_clone().expect("a socket");
    let end = writing.try_clone().expect("a socket");
    let sender = thread::spawn(
        move || {
            while !said.is_empty() && writing.write_all(&said).is_ok() {}
        },
    );
    let reader = thread::spawn(move || {
        let mut scratch = [0; 16 * 1024];
        while reading.read(&mut scratch).is_ok_and(|n| n > 0) {}
    });
    let started = Instant::now();
    pace::call(&mut pair, times, || started.elapsed() >= LASTS);
    // The engine may have much left to do: its process ends with it.
    end.shutdown(Shutdown::Both).expect("a socket");
    sender.join().expect("it only writes");
    reader.join().expect("it only reads");
}

/// The frames that are sent again and again, once their preconditions are there.
fn prepare(flood: Flood, peer: &mut Peer, names: &[String]) -> Vec<u8> {
    match flood {
        Flood::Nothing => Vec::new(),
        Flood::SameFunctions => {
            let definition = |name| Definition {
                name: Text(name),
                ..Definition::default()
            };
            let register = Register {
                id: 1,
                functions: names.iter().map(|name| definition(name)).collect(),
                ..Register::default()
            };
            register.to_frame()
        }
        Flood::Events => {
            let entry = |name| BindingEntry {
                event: Text("e"),
                function: Text(name),
                ..BindingEntry::default()
            };
            for names in names.chunks(10_000) {
                let bind = Bind {
                    id: 1,
                    bindings: names.iter().map(|name| entry(name)).collect(),
                    ..Bind::default()
                };
                peer.send(&bind.to_frame());
                peer.end_request(1);
            }
            let emit = Emit {
                event: Text("e"),
                ..Emit::default()
            };
            emit.to_frame().repeat(EVENTS)
        }
        Flood::Junk => {
            // A request of an unknown kind, with lists as long as they may be.
            let list = [&[0xdd, 0, 1, 0, 0][..], &vec![0x80; MAX_ELEMENTS]].concat();
            let lists = list.repeat(16);
            let body = [&[0x93, 50, 1, 0xdc, 0, 16][..], &lists].concat();
            let mut frame = u32::try_from(body.len())
                .expect("a frame")
                .to_be_bytes()
                .to_vec();
            assert_eq!(frame.len(), HEADER_LEN);
            frame.extend(body);
            frame
        }
    }
}
