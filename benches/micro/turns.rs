//! Turns of the pure engine: a function that comes and goes on boards of several sizes before several
//! watchers, and workers that join a large board. What a write costs is not in it.

use criterion::{BatchSize, BenchmarkId, Criterion};

use crate::fleet::{Fleet, hello, register, unregister};

const BOARDS: [usize; 3] = [10, 10_000, 100_000];
const WATCHERS: [usize; 3] = [0, 1, 1_000];

/// The board that is joined.
const JOINED: usize = 10_000;

pub(super) fn bench(criterion: &mut Criterion) {
    changes(criterion);
    joins(criterion);
}

/// Two turns: one that registers a function, one that unregisters it.
fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("register and unregister");
    let (come, go) = (
        register(["orders::new"].into_iter()),
        unregister(["orders::new"].into_iter()),
    );
    for watchers in WATCHERS {
        for functions in BOARDS {
            let mut fleet = Fleet::with(functions, watchers);
            let worker = fleet.join(&hello(false));
            let what = BenchmarkId::new(format!("{watchers} watchers"), functions);
            group.bench_function(what, |bencher| {
                bencher.iter(|| {
                    fleet.say(worker, &come);
                    fleet.say(worker, &go);
                });
            });
        }
    }
    group.finish();
}

/// HELLO to SYNCED, and the end of the connection.
fn joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    let hello = hello(true);
    let join = |fleet: &mut Fleet| {
        let id = fleet.join(&hello);
        fleet.lose(id);
    };
    group.sample_size(20);
    // The first to join: each page is encoded.
    group.bench_function(BenchmarkId::new("cold pages", JOINED), |bencher| {
        bencher.iter_batched_ref(|| Fleet::with(JOINED, 0), join, BatchSize::PerIteration);
    });
    group.bench_function(BenchmarkId::new("warm pages", JOINED), |bencher| {
        let mut fleet = Fleet::with(JOINED, 1);
        bencher.iter(|| join(&mut fleet));
    });
    group.finish();
}
