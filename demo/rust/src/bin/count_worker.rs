//! A worker of the word count, for a program in any language that shares the queues `jobs` and `tables` with it.
//!
//! demo/python/wordcount.py feeds it; what it does is `count` there.

use std::env;
use std::error::Error;

use tasuki::Queue;
use tasuki_demo::text::{Table, count_words};
use tasuki_demo::trace::{Of, Trace, Tracer};

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let jobs = tasuki::inherited::<Queue<Vec<u8>>>("jobs")?;
    let tables = tasuki::inherited::<Queue<(Trace, Table)>>("tables")?;
    let name = env::args().nth(1).unwrap_or_else(|| "worker".to_owned());
    let mut tracer = Tracer::start(name, Of::Process);
    let mut table = Table::new();
    loop {
        let piece = jobs.get()?;
        if piece.is_empty() {
            break;
        }
        count_words(&piece, &mut table);
        tracer.mark();
    }
    tables.put((tracer.close(), table))?;
    Ok(())
}
