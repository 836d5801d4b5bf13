//! Plays the peer of a connection. See `src/stream.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::stream::feed(data));
