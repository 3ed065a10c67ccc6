//! The mio shell around the engine.
