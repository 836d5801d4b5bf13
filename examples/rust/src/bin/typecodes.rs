//! The letters with which Python says what a shared number is, and the types of Rust that they mean: a `Value<i32>`
//! made here is a `Value("i")` there.
//!
//! Each line has the room that a number takes and what it holds. One that does not fit wraps around where that is asked
//! for: another process adds one to the greatest of the small ones, and gets the least.

use std::error::Error;
use std::ffi::{c_long, c_ulong};
use std::fmt::Display;

use tasuki::{Process, Value};

fn show<T: Display>(letter: char, least: T, greatest: T) {
    println!("{letter}  bytes: {}  {least} to {greatest}", size_of::<T>());
}

#[tasuki::task]
fn add_one(b: Value<i8>, big_b: Value<u8>, h: Value<i16>) {
    b.fetch_add(1);
    big_b.fetch_add(1);
    h.fetch_add(1);
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    show('b', i8::MIN, i8::MAX);
    show('B', u8::MIN, u8::MAX);
    show('h', i16::MIN, i16::MAX);
    show('H', u16::MIN, u16::MAX);
    show('i', i32::MIN, i32::MAX);
    show('I', u32::MIN, u32::MAX);
    show('l', c_long::MIN, c_long::MAX);
    show('L', c_ulong::MIN, c_ulong::MAX);
    show('q', i64::MIN, i64::MAX);
    show('Q', u64::MIN, u64::MAX);
    println!("f  bytes: {}  a number with a fraction", size_of::<f32>());
    println!("d  bytes: {}  a number with a fraction", size_of::<f64>());
    let (b, big_b, h) = (Value::new(i8::MAX)?, Value::new(u8::MAX)?, Value::new(i16::MAX)?);
    Process::spawn(add_one, (b.clone(), big_b.clone(), h.clone()))?.join()?;
    println!("one more than the greatest of b, B and h: {} {} {}", b.get(), big_b.get(), h.get());
    Ok(())
}
