//! A list in shared memory with a name: numbers, texts, true, false and nothing, each in a place of fixed size.
//!
//! Any item can be replaced by one that needs no more room, of the same kind or another one; the list cannot grow. It
//! is Python's `ShareableList`, which opens it by its name. For a list that grows, put its items through a queue.

use std::error::Error;

use tasuki::shared_memory::Item;
use tasuki::{Process, ShareableList};

#[tasuki::task]
fn train(name: String) {
    let runner = ShareableList::open(&name).unwrap();
    let (Ok(Item::Int(age)), Ok(Item::Float(time))) = (runner.get(1), runner.get(2)) else {
        panic!("this is no runner: {runner:?}");
    };
    runner.set(1, age + 1).unwrap();
    runner.set(2, time - 0.5).unwrap();
    runner.set(3, true).unwrap();
    runner.set(4, "4 x 100 m").unwrap();
}

/// As Python shows it.
fn shown(item: Item) -> String {
    match item {
        Item::None => "None".to_owned(),
        Item::Bool(yes) => if yes { "True" } else { "False" }.to_owned(),
        Item::Int(number) => number.to_string(),
        Item::Float(number) => format!("{number:?}"),
        Item::Str(text) => text,
        Item::Bytes(bytes) => format!("{bytes:?}"),
    }
}

fn show(when: &str, list: &ShareableList) -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = list.to_vec()?.into_iter().map(shown).collect();
    println!("{when}: {}", words.join(" "));
    Ok(())
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let runner = ShareableList::new([
        Item::from("Aiko"),
        Item::from(16),
        Item::from(12.75),
        Item::None,
        Item::from("100 metres"),
    ])?;
    show("before", &runner)?;
    Process::spawn(train, (runner.memory().name().to_owned(),))?.join()?;
    show("after", &runner)?;
    if runner.set(0, "a name that is far too long for the place of the first one").is_err() {
        println!("too long a name does not fit: {}", shown(runner.get(0)?));
    }
    Ok(())
}
