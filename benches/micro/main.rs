//! Micro benches: what one frame costs to encode and decode, and what one turn and one call of the pure engine
//! cost on boards of several sizes; what the board, the change log and the routing cost, each in turns that do
//! little else. `benches/README.md` says how to repeat them, `docs/COSTS.md` what came
//! out. Holds no socket: the links take everything at once.

mod board;
mod calls;
#[path = "../../tests/fleet/mod.rs"]
mod fleet;
mod frames;
mod large_steps;
mod log;
mod routing;
#[path = "../../tests/turn/mod.rs"]
mod turn;
mod turns;

use criterion::{Criterion, criterion_main};

fn benches() {
    let mut criterion = Criterion::default().configure_from_args();
    frames::bench(&mut criterion);
    turns::bench(&mut criterion);
    board::bench(&mut criterion);
    log::bench(&mut criterion);
    routing::bench(&mut criterion);
    calls::bench(&mut criterion);
    criterion.final_summary();
    let filters: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = filters.iter().filter(|it| !it.starts_with('-'));
    if filters.all(|it| "large steps".contains(&**it)) {
        large_steps::bench();
    }
}

criterion_main!(benches);
