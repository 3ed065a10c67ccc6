//! Routing: a CAST, which leaves no record, to a function of so many providers. One alone is taken as it is; up to
//! sixteen are compared with each other; above that, two random ones.

use callboard::protocol::{Bin, Cast, Text};
use criterion::{BenchmarkId, Criterion};

use crate::fleet::{Fleet, hello, register};

const FUNCTION: &str = "shared::f";

pub(super) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route a CAST");
    let cast = Cast {
        function: Text(FUNCTION),
        payload: Bin(&[0x5a; 64]),
        ..Cast::default()
    }
    .to_frame();
    for providers in [1, 2, 16, 17, 1_000] {
        let mut fleet = Fleet::new();
        for _ in 0..providers {
            let worker = fleet.join(&hello(false));
            fleet.say(worker, &register([FUNCTION].into_iter()));
        }
        let caller = fleet.join(&hello(false));
        group.bench_function(BenchmarkId::new("providers", providers), |bencher| {
            bencher.iter(|| fleet.say(caller, &cast));
        });
    }
    group.finish();
}
