//! Children that die or stop at a step of the engine.

use tasuki::kill_points::{KillPoint, arm, arm_stop};

use super::{Child, Ended, fork};

/// Runs `work` in a process that dies at `point` when it passes there for the nth time, and says which one that was. It
/// is an error if it comes to its end instead.
pub fn dies_at(point: KillPoint, nth: u32, work: impl FnOnce()) -> u32 {
    let mut victim = victim(point, nth, work);
    assert_eq!(victim.wait(), Ended::DEAD, "{point:?} was not reached for the {nth}th time");
    victim.pid()
}

/// A process that dies at `point`, if it passes there.
pub fn victim(point: KillPoint, nth: u32, work: impl FnOnce()) -> Child {
    fork(|| {
        arm(point, nth);
        work();
    })
}

/// A process that is stopped at `point`.
pub fn stopped_at(point: KillPoint, work: impl FnOnce()) -> Child {
    let child = fork(|| {
        arm_stop(point, 1);
        work();
    });
    child.wait_until_stopped();
    child
}

/// Lets one that was stopped go on to its end.
pub fn goes_on(mut stopped: Child) {
    stopped.signal(libc::SIGCONT);
    assert_eq!(stopped.wait(), Ended::WELL);
}
