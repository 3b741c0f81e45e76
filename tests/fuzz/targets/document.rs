//! The fuzzer's binary for the target of this name.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| invite_fuzz::document(data));
