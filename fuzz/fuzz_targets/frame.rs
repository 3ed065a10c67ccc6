//! The target `frame`; what it does is in `tests/fuzzed/frame.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callboard_fuzz::fuzzed::frame::run(data));
