//! Meddles with a handshake. See `src/handshake.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::handshake::meddle(data));
