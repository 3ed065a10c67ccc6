//! The engine's promises, held against the pure core: no socket, no clock, every interleaving repeatable.

mod budget;
mod calls;
mod churn;
mod crowds;
mod deadlines;
mod departures;
mod dice;
mod endings;
mod fleet;
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
mod stats;
#[path = "../turn/mod.rs"]
mod turn;
mod world;
