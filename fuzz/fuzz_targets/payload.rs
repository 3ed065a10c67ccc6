//! The target `payload`; what it does is in `tests/fuzzed/payload.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callboard_fuzz::fuzzed::payload::run(data));
