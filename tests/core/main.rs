//! The engine's promises, held against the pure core: no socket, no clock, every interleaving repeatable. With it what
//! else is held without a socket: the golden vectors, the corpus of the fuzz targets, and the number of allocations,
//! which is counted for each thread by itself.

mod abandoned;
mod allocations;
mod arguments;
mod budget;
mod calls;
mod churn;
mod coincidences;
mod deadlines;
mod departures;
mod disconnects;
mod endings;
mod fairness;
#[path = "../fleet/mod.rs"]
mod fleet;
mod fuzz_corpus;
mod rng;
// The targets in `fuzz/` use it from outside.
mod call_model;
#[path = "../fuzzed/mod.rs"]
#[allow(unreachable_pub)]
mod fuzzed;
mod growth;
mod hang;
mod large_changes;
mod limit_cases;
mod memory;
mod order;
mod partial_rights;
mod particulars;
mod pools;
mod promises;
mod promptness;
mod reader;
mod recorded_call;
mod refusals;
mod reload;
mod request_ids;
mod rights;
mod routing;
mod sessions;
mod setup;
mod several;
mod slices;
mod stats;
mod thresholds;
mod tiers;
#[path = "../turn/mod.rs"]
mod turn;
mod vectors;
mod verdicts;
mod visibility_fuzz;
#[path = "../watchdog/mod.rs"]
mod watchdog;
mod world;
