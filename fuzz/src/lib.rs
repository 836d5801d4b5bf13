//! The bodies of the fuzz targets: plain functions, which the fuzzer and ordinary tests call.

pub mod codec;
pub mod frame;
pub mod handshake;
pub mod ring;
pub mod segment;
pub mod stream;
