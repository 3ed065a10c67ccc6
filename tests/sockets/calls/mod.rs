//! Calls and events over real sockets, spoken frame by frame: what callers, providers and event sources may
//! rely on, whatever the others do. It never looks into the engine, but for what the engine counts.

mod answers;
mod builtin;
mod casts;
mod death;
mod events;
mod hung;
mod load;
mod payloads;
mod races;
mod shutdown;
mod takeover;
