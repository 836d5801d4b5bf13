//! Reads a stream of messages in pieces. See `src/frame.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::frame::read_in_pieces(data));
