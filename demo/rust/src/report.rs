//! A run's outcome, handed to the program that started this one, or printed where nobody waits for it.

use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tasuki::Queue;
use tasuki::command::InheritError;

use crate::trace::Trace;

/// How long the run took in seconds, what came out, and who worked when.
pub type Report<R> = (f64, R, Vec<Trace>);

/// Puts the report into the queue `report` that the starting program handed over; without one, prints the time and
/// what `summary` makes of the result.
pub fn report<R>(
    took: Duration,
    result: R,
    traces: Vec<Trace>,
    summary: impl FnOnce(&R) -> String,
) -> Result<(), Box<dyn Error>>
where
    R: Serialize + DeserializeOwned + 'static,
{
    match tasuki::inherited::<Queue<Report<R>>>("report") {
        Ok(queue) => queue.put((took.as_secs_f64(), result, traces))?,
        Err(InheritError::NotInherited) => println!("{} in {took:.3?}", summary(&result)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
