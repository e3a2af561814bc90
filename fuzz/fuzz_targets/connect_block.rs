#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ashlar_fuzz::run("connect_block", data));
