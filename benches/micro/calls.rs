//! Calls through the pure engine, from CALL to the caller's RESULT: what one costs on boards of several sizes, among
//! several numbers of connections, with several numbers of calls in flight. What a write costs is not in it.

use criterion::{BenchmarkId, Criterion};

use crate::fleet::{Calls, Fleet};

const FUNCTIONS: [usize; 3] = [10, 10_000, 100_000];
const CONNECTIONS: [usize; 3] = [10, 1_000, 10_000];
const IN_FLIGHT: [usize; 4] = [1, 64, 1_000, 10_000];

pub(super) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CALL to RESULT");
    let mut one = |what: &str, size, mut fleet: Fleet, in_flight| {
        let mut calls = Calls::begin(&mut fleet, in_flight);
        group.bench_function(BenchmarkId::new(what, size), |bencher| {
            bencher.iter(|| calls.turn(&mut fleet));
        });
    };
    for size in FUNCTIONS {
        one("functions", size, Fleet::with(size, 0), 1);
    }
    for size in CONNECTIONS {
        one("connections", size, Fleet::with(10, size), 1);
    }
    for size in IN_FLIGHT {
        one("in flight", size, Fleet::with(10, 0), size);
    }
    group.finish();
}
