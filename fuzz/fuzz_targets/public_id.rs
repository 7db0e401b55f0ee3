#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::public_id::run(data));
