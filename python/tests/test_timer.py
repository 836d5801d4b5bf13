"""A timer calls its function once, in its own process, not before its time, and not after it was cancelled."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from observing import processor_seconds
from deadlines import state, until
import tasuki

#: Longer than any test waits: such a timer must be cancelled, or killed.
NEVER = 1000.0


def _answer(queue: Any, *args: object, **kwargs: object) -> None:
    queue.put((os.getpid(), time.monotonic(), args, kwargs))


def _fail() -> None:
    raise SystemExit(7)


def _cancel(timer: Any) -> None:
    timer.cancel()


def _announce_and_wait(begun: Any, proceed: Any) -> None:
    begun.put("begun")
    proceed.get(timeout=120)
    begun.put("done")


def test_the_function_is_called_in_another_process_and_not_before_its_time(ctx: Any) -> None:
    queue = ctx.Queue()
    timer = ctx.Timer(0.2, _answer, (queue, 1, "two"), {"three": 3})
    before = time.monotonic()
    timer.start()
    pid, called, args, kwargs = queue.get(timeout=120)
    assert called - before >= 0.2
    assert (args, kwargs) == ((1, "two"), {"three": 3})
    timer.join(120)
    assert pid == timer.pid != os.getpid()
    assert timer.exitcode == 0 and timer.finished.is_set()


@pytest.mark.parametrize("interval", [0, -1])
def test_without_an_interval_it_is_called_at_once(ctx: Any, interval: float) -> None:
    queue = ctx.Queue()
    timer = ctx.Timer(interval, _answer, [queue])
    timer.start()
    assert queue.get(timeout=120)[0] == timer.pid
    timer.join(120)


@pytest.mark.parametrize("daemon", [False, True])
def test_a_cancelled_timer_calls_nothing_and_ends(ctx: Any, daemon: bool) -> None:
    queue = ctx.Queue()
    timer = ctx.Timer(NEVER, _answer, (queue,), daemon=daemon)
    timer.start()
    assert timer.is_alive()
    timer.cancel()
    timer.cancel()
    timer.join(120)
    assert timer.exitcode == 0 and queue.empty()


def test_a_timer_cancelled_before_its_start_calls_nothing(ctx: Any) -> None:
    queue = ctx.Queue()
    timer = ctx.Timer(0, _answer, (queue,))
    timer.cancel()
    timer.start()
    timer.join(120)
    assert timer.exitcode == 0 and queue.empty()


def test_another_process_cancels(ctx: Any) -> None:
    queue = ctx.Queue()
    timer = ctx.Timer(NEVER, _answer, (queue,))
    timer.start()
    other = ctx.Process(target=_cancel, args=(timer,))
    other.start()
    other.join(120)
    timer.join(120)
    assert (other.exitcode, timer.exitcode, queue.empty()) == (0, 0, True)


def _cancel_next(timers: Any) -> None:
    timers.get(timeout=120).cancel()


def test_a_process_that_got_it_through_a_queue_cancels(ctx: Any) -> None:
    timers = ctx.Queue()
    other = ctx.Process(target=_cancel_next, args=(timers,))
    other.start()
    timer = ctx.Timer(NEVER, _fail)
    timer.start()
    timers.put(timer)
    timer.join(120)
    other.join(120)
    assert (other.exitcode, timer.exitcode) == (0, 0)


def test_cancel_does_nothing_once_the_function_runs(ctx: Any) -> None:
    begun, proceed = ctx.Queue(), ctx.Queue()
    timer = ctx.Timer(0, _announce_and_wait, (begun, proceed))
    timer.start()
    assert begun.get(timeout=120) == "begun"
    timer.cancel()
    proceed.put(None)
    assert begun.get(timeout=120) == "done"
    timer.join(120)
    assert timer.exitcode == 0


def test_a_timer_is_a_process(ctx: Any) -> None:
    timer = ctx.Timer(NEVER, _fail, name="egg", daemon=True)
    assert isinstance(timer, (ctx.Process, multiprocessing.process.BaseProcess))
    assert (timer.name, timer.daemon, timer.exitcode) == ("egg", True, None)
    assert not ctx.Timer(NEVER, _fail).daemon and "Timer-" in ctx.Timer(NEVER, _fail).name
    timer.start()
    assert timer in tasuki.active_children()
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        timer.start()
    timer.kill()
    timer.join(120)
    assert timer.exitcode == -signal.SIGKILL


def test_the_exit_code_is_the_functions(ctx: Any) -> None:
    timer = ctx.Timer(0, _fail)
    timer.start()
    timer.join(120)
    assert timer.exitcode == 7


class Metronome(tasuki.get_context("spawn").Timer):  # type: ignore[misc, name-defined]
    """The usual way to repeat: a `run` of one's own."""

    def run(self) -> None:
        while not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)


def test_a_subclass_repeats_until_it_is_cancelled() -> None:
    queue = tasuki.get_context("spawn").Queue()
    metronome = Metronome(0.01, _answer, (queue, "tick"))
    metronome.start()
    assert [queue.get(timeout=120)[2] for _ in range(3)] == [("tick",)] * 3
    metronome.cancel()
    metronome.join(120)
    assert metronome.exitcode == 0


def test_the_default_timer_starts_as_the_default_process() -> None:
    assert isinstance(tasuki.Timer(0, _fail), tasuki.Process)
    assert tasuki.ENGINE["Timer"] == "tasuki.timer.BaseTimer"


def test_a_waiting_timer_uses_no_processor(ctx: Any) -> None:
    timer = ctx.Timer(NEVER, _fail, daemon=True)
    timer.start()
    try:
        # It comes to rest as soon as it has come up.
        until(lambda: _is_idle(timer.pid))
    finally:
        timer.cancel()
        timer.join(120)


ORPHAN = """
    import os, signal, sys
    import tasuki

    context = tasuki.get_context(sys.argv[1])

    class Loud(context.Timer):
        def run(self):
            self.up.put(os.getpid())
            super().run()

    def write(path):
        with open(path, "w") as file:
            file.write("called")

    if __name__ == "__main__":
        _, method, interval, daemon, path = sys.argv
        timer = Loud(float(interval), write, (path,), daemon=bool(int(daemon)))
        timer.up = context.Queue()
        timer.start()
        print(timer.up.get(timeout=120), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("daemon", [False, True])
def test_a_waiting_daemon_does_not_outlive_a_killed_parent(tmp_path: Path, method: str, daemon: bool) -> None:
    script, called = tmp_path / "program.py", tmp_path / "called"
    script.write_text(textwrap.dedent(ORPHAN))
    interval = NEVER if daemon else 1.0
    command = [sys.executable, str(script), method, str(interval), str(int(daemon)), str(called)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    until(lambda: state(pid) in ("Z", None))
    assert called.exists() is not daemon


def _is_idle(pid: int | None) -> bool:
    """Whether it uses next to nothing of the processor for a second."""
    before = processor_seconds(pid)
    time.sleep(1)
    return processor_seconds(pid) - before <= 0.01
