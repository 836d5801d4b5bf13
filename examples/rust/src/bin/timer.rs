//! Two timers: one is cancelled, the other one rings.
//!
//! A timer is a process that waits before it calls its function. `cancel` ends the waiting and says whether it came in
//! time; `join` gives what the function returned, or nothing. The program goes on meanwhile, and a timer that nobody
//! needs any more keeps nobody busy.

use std::error::Error;
use std::time::Duration;

use tasuki::Timer;

#[tasuki::task]
fn ring(what: String) -> String {
    format!("the {what} is ready")
}

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let tea = Timer::start(Duration::from_millis(300), ring, ("tea".to_owned(),))?;
    let roast = Timer::start(Duration::from_secs(3600), ring, ("roast".to_owned(),))?;
    println!("tea and roast are on the fire");
    println!("{}", tea.join()?.expect("nobody cancels it"));
    roast.cancel();
    let quiet = if roast.join()?.is_none() { "True" } else { "False" };
    println!("the roast was taken away, and did not ring: {quiet}");
    Ok(())
}
