//! The bodies of the fuzz targets, which the ordinary tests run too: they live in `tests/fuzzed/`.

#[path = "../../tests/fuzzed/mod.rs"]
pub mod fuzzed;
