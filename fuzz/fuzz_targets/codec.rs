//! Reads bytes as every shape of type. See `src/codec.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tasuki_fuzz::codec::read_as_everything(data));
