//! The board in turns of the pure engine without watchers: many functions at once, and providers of which the
//! board shows nothing.

use criterion::{BenchmarkId, Criterion, Throughput};

use crate::fleet::{Fleet, hello, register, unregister};

const BOARDS: [usize; 2] = [10, 100_000];

/// Functions of a batch.
const BATCH: usize = 1_000;

pub(super) fn bench(criterion: &mut Criterion) {
    batches(criterion);
    hidden(criterion);
}

/// Two turns: one that registers a thousand functions, one that unregisters them.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1,000 functions come and go");
    group.throughput(Throughput::Elements(2 * BATCH as u64));
    let names: Vec<String> = (0..BATCH).map(|number| format!("new::f{number}")).collect();
    let come = register(names.iter().map(|name| &**name));
    let go = unregister(names.iter().map(|name| &**name));
    for functions in BOARDS {
        let mut fleet = Fleet::with(functions, 0);
        let worker = fleet.join(&hello(false));
        group.bench_function(BenchmarkId::new("board", functions), |bencher| {
            bencher.iter(|| {
                fleet.say(worker, &come);
                fleet.say(worker, &go);
            });
        });
    }
    group.finish();
}

/// Two turns: a further provider of a function comes and goes, which the board does not show.
fn hidden(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a further provider comes and goes");
    let name = ["shared::f"];
    let (come, go) = (register(name.into_iter()), unregister(name.into_iter()));
    for providers in [1, 1_000] {
        let mut fleet = Fleet::new();
        for _ in 0..providers {
            let worker = fleet.join(&hello(false));
            fleet.say(worker, &come);
        }
        let worker = fleet.join(&hello(false));
        group.bench_function(BenchmarkId::new("providers", providers), |bencher| {
            bencher.iter(|| {
                fleet.say(worker, &come);
                fleet.say(worker, &go);
            });
        });
    }
    group.finish();
}
