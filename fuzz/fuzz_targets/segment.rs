//! Writes nonsense into the memory of a queue that is in use. See `src/segment.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::segment::corrupt(data));
