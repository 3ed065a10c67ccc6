//! The engine's promises, held against the pure core: no socket, no clock, every interleaving repeatable.

mod churn;
mod deadlines;
mod promises;
mod reader;
mod world;
