//! The target `session`; what it does is in `tests/fuzzed/session.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callboard_fuzz::fuzzed::session::run(data));
