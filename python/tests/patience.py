"""How tests wait without supposing a speed: for a state, or for as long as only a hang takes.

`WATCHDOG` bounds what must happen: who runs into it hangs, however slow the machine is. What another process or thread
is to do first is waited for with `until`, or with `until_asleep` if it is to wait: never with a sleep.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds: no machine is so slow, and pytest's own watchdog (pyproject.toml) has time for several of them.
WATCHDOG = 120


def until(done: Callable[[], object], what: str = "what a test waits for never happened") -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + WATCHDOG
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def until_asleep(*ids: int | None) -> None:
    """Waits until each of these processes (their main threads) or threads (their native ids) sleeps in the kernel.

    One that is about to wait, and has said so, cannot be taken for one that waits: until then it runs, or is kept from
    running by the machine's load, which is another state. It must be seen three times, since on its way it may sleep
    for a moment, for the interpreter's lock for example.
    """
    for each in ids:
        seen = 0

        def sleeps(each: int | None = each) -> bool:
            nonlocal seen
            seen = seen + 1 if state(each) == "S" else 0
            return seen >= 3

        until(sleeps, f"{each} never fell asleep, it is {state(each)!r}")


def state(each: int | None) -> str | None:
    """The state of a process or thread: R runs or wants to, S sleeps, T is stopped, Z has ended, None is gone."""
    try:
        # Threads are found there by their ids too, though not listed.
        return Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


@contextmanager
def when_asleep(act: Callable[[], object]) -> Iterator[None]:
    """Acts, in a thread, as soon as the thread that is in this block sleeps in whatever call it has got to."""
    sleeper, inside = threading.get_native_id(), threading.Event()

    def watch() -> None:
        inside.wait()
        until_asleep(sleeper)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    # Not earlier: to start a thread is to sleep until it runs.
    inside.set()
    try:
        yield
    finally:
        thread.join(WATCHDOG)


def struck_asleep(number: int = signal.SIGINT) -> object:
    """A signal for the thread that is in this block, once it sleeps in whatever call it has got to."""
    thread = threading.get_ident()
    return when_asleep(lambda: signal.pthread_kill(thread, number))
