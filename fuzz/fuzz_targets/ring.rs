//! Attaches a queue whose memory holds nonsense, and uses it. See `src/ring.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::ring::attach_and_use(data));
