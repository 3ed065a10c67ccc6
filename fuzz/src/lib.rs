//! The bodies of the fuzz targets, which the ordinary tests run too: they live in `tests/fuzzed/`.

#[path = "../../tests/fuzzed/mod.rs"]
pub mod fuzzed;
/// A reader that panics over whatever the specification rules out.
#[path = "../../tests/core/reader.rs"]
mod reader;
#[path = "../../tests/turn/mod.rs"]
mod turn;
