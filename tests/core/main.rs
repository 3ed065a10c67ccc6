//! The engine's promises, held against the pure core: no socket, no clock, every interleaving repeatable.

mod churn;
mod deadlines;
mod fleet;
mod promises;
mod reader;
mod refusals;
mod sessions;
mod world;
