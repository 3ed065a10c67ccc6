//! The engine's promises, held against the pure core: no socket, no clock, every interleaving repeatable. With it what
//! else is held without a socket: the golden vectors, the corpus of the fuzz targets, and the number of allocations,
//! which is counted for each thread by itself.

mod allocations;
mod budget;
mod calls;
mod churn;
mod crowds;
mod deadlines;
mod departures;
mod dice;
mod endings;
#[path = "../fleet/mod.rs"]
mod fleet;
mod fuzz_corpus;
// The targets in `fuzz/` use it from outside.
#[path = "../fuzzed/mod.rs"]
#[allow(unreachable_pub)]
mod fuzzed;
mod growth;
mod ledger;
mod limits;
mod loads;
mod order;
mod promises;
mod reader;
mod reform;
mod refusals;
mod rights;
mod routing;
mod secrets;
mod sessions;
mod setup;
mod stats;
#[path = "../turn/mod.rs"]
mod turn;
mod vectors;
mod world;
