//! The engine's promises, held over real sockets: what a worker sees from the outside, with an
//! independent and strict reader at the other end of each connection. It never looks into the engine.

mod churn;
mod death;
mod growth;
mod laggard;
mod namespace;
mod providers;
mod proxy;
mod resume;
mod split;
mod step;
mod takeover;
mod watch;
