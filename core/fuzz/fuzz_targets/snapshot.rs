#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polymorph_fuzz::run("snapshot", bytes));
