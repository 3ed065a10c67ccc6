//! The change log: steps that are pushed onto one that has room and onto one that is full, and folded for a reader
//! for a reader that was behind by many of them.

use std::time::{Duration, Instant};

use callboard::limits::Limits;
use criterion::{BenchmarkId, Criterion};

use crate::fleet::{Fleet, hello, register, unregister};

/// Steps that a reader is behind.
const BEHIND: [usize; 3] = [2, 64, 1_000];

pub(super) fn bench(criterion: &mut Criterion) {
    pushes(criterion);
    folds(criterion);
}

/// Two turns, and a step of the log each.
fn pushes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push a step, twice");
    let name = ["orders::new"];
    let (come, go) = (register(name.into_iter()), unregister(name.into_iter()));
    for (what, log_bytes) in [
        ("with room", 1 << 40),
        ("full: the oldest is trimmed", 4096),
    ] {
        let mut fleet = Fleet::new_within(&Limits {
            log_bytes,
            ..Limits::default()
        });
        let worker = fleet.join(&hello(false));
        group.bench_function(what, |bencher| {
            bencher.iter(|| {
                fleet.say(worker, &come);
                fleet.say(worker, &go);
            });
        });
    }
    group.finish();
}

/// A reader that missed so many steps is sent their net effect: of as many functions, or of one that came and went
/// again and again.
fn folds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold");
    for steps in BEHIND {
        let names: Vec<String> = (0..steps).map(|number| format!("new::f{number}")).collect();
        let each = |names: &[String]| -> Vec<Vec<u8>> {
            let one = |name: &String| register([&**name].into_iter());
            names.iter().map(one).collect()
        };
        let gone = unregister(names.iter().map(|name| &**name));
        group.bench_function(BenchmarkId::new("distinct functions", steps), |bencher| {
            let mut fleet = Fleet::new();
            let worker = fleet.join(&hello(false));
            let reader = fleet.join(&hello(true));
            let come = each(&names);
            bencher.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    fleet.stop_reading(reader);
                    for frame in &come {
                        fleet.say(worker, frame);
                    }
                    let began = Instant::now();
                    fleet.catch_up(reader);
                    took += began.elapsed();
                    fleet.say(worker, &gone);
                }
                took
            });
        });
        group.bench_function(BenchmarkId::new("one function", steps), |bencher| {
            let mut fleet = Fleet::new();
            let worker = fleet.join(&hello(false));
            let reader = fleet.join(&hello(true));
            let name = ["new::f"];
            let (come, go) = (register(name.into_iter()), unregister(name.into_iter()));
            bencher.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    fleet.stop_reading(reader);
                    for _ in 0..steps / 2 {
                        fleet.say(worker, &come);
                        fleet.say(worker, &go);
                    }
                    let began = Instant::now();
                    fleet.catch_up(reader);
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}
