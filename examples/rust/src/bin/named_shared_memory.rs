//! Shared memory with a name: who knows the name opens it, in whatever program and language.
//!
//! One process makes it, another one opens it by its name and writes into it. Who made it takes the name away when it
//! is dropped. A name is good for strangers; to one's own processes a queue or an array can be handed over, and then no
//! name can be left behind.

use std::error::Error;

use tasuki::{Process, SharedMemory};

/// The text in the memory: its length in a byte, and then its bytes.
fn text_in(memory: &SharedMemory) -> Result<String, Box<dyn Error>> {
    let mut length = [0];
    memory.read(0, &mut length)?;
    let mut text = vec![0; length[0].into()];
    memory.read(1, &mut text)?;
    Ok(String::from_utf8(text)?)
}

#[tasuki::task]
fn shout(name: String) {
    let memory = SharedMemory::open(&name).unwrap();
    let text = text_in(&memory).unwrap();
    memory.write(1, text.to_uppercase().as_bytes()).unwrap();
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let memory = SharedMemory::new(100)?;
    let text = "hand over the sash";
    memory.write(0, &[text.len() as u8])?;
    memory.write(1, text.as_bytes())?;
    Process::spawn(shout, (memory.name().to_owned(),))?.join()?;
    println!("{}", text_in(&memory)?);
    let name = memory.name().to_owned();
    drop(memory);
    if SharedMemory::open(&name).is_err() {
        println!("nothing has that name any more");
    }
    Ok(())
}
