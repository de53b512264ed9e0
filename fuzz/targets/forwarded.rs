#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firstcome::fuzz::check(env!("CARGO_BIN_NAME"), bytes));
