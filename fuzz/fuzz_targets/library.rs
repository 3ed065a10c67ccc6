//! The target `library`; what it does is in `tests/fuzzed/library.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callboard_fuzz::fuzzed::library::run(data));
