//! What a value's bytes are, the same number in both languages.

/// Bytes that only the program itself understands, such as a struct.
pub const OPAQUE: u16 = 0;
const SIGNED: u16 = 0x10;
const UNSIGNED: u16 = 0x20;
const FLOAT: u16 = 0x30;

/// A signed integer of `size` bytes.
pub const fn signed(size: usize) -> u16 {
    SIGNED + size as u16
}

/// An unsigned integer of `size` bytes.
pub const fn unsigned(size: usize) -> u16 {
    UNSIGNED + size as u16
}

/// A float of `size` bytes.
pub const fn float(size: usize) -> u16 {
    FLOAT + size as u16
}
