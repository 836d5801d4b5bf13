"""How tests wait without supposing a speed: for a state, or for as long as only a hang takes.

`WATCHDOG` bounds what must happen: who runs into it hangs, however slow the machine is. What another process or thread
is to do first is waited for with `until`, or with `until_asleep` if it is to wait: never with a sleep.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

#: Seconds: no machine is so slow, and pytest's own watchdog (pyproject.toml) has time for several of them.
WATCHDOG = 120

#: Seconds: who has been woken and comes back after that was not woken, but came to the end of a timeout, `WATCHDOG` say.
LATE = WATCHDOG / 2


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
        until(_sleeps(each), f"{each} never fell asleep, it is {state(each)!r}")


def _sleeps(each: int | None) -> Callable[[], bool]:
    """Says whether it does, when it was seen so several times."""
    seen = 0

    def sleeps() -> bool:
        nonlocal seen
        seen = seen + 1 if state(each) == "S" else 0
        return seen >= 3

    return sleeps


def state(each: int | None) -> str | None:
    """The state of a process or thread: R runs or wants to, S sleeps, T is stopped, Z has ended, None is gone."""
    try:
        # Threads are found there by their ids too, though not listed.
        return Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class _Watcher(threading.Thread):
    """Acts once, when the thread that made it sleeps, and not any more when that has left its block."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.act, self.sleeper = act, threading.get_native_id()
        self.inside, self.left, self.turn = threading.Event(), False, threading.Lock()
        self.acted: float | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.inside.wait()
            sleeps = _sleeps(self.sleeper)
            until(lambda: self.left or sleeps(), "what is in the block neither returned nor slept")
            with self.turn:
                if not self.left:
                    self.acted = time.monotonic()
                    self.act()
        except BaseException as error:
            self.error = error

    def leave(self) -> None:
        """The block was left: an error unless that was since this acted, and soon after."""
        self.left = True
        with self.turn:  # it is about to act, then: let it
            now = time.monotonic()
        self.join(WATCHDOG)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), "what was to be done when the thread slept does not end"
        assert self.acted is not None, "what is in the block came back by itself: it never slept"
        assert now - self.acted < LATE, "what is in the block came back much later: for its timeout, most likely"


@contextmanager
def when_asleep(act: Callable[[], object]) -> Iterator[None]:
    """Acts, in a thread, as soon as the thread that is in this block sleeps in whatever call it has got to.

    It is an error if the block is left before that, or so long after it that something else has ended the call.
    """
    watcher = _Watcher(act)
    watcher.start()
    # Not earlier: to start a thread is to sleep until it runs.
    watcher.inside.set()
    try:
        yield
    finally:
        watcher.leave()


def struck_asleep(number: int = signal.SIGINT) -> AbstractContextManager[None]:
    """A signal for the thread that is in this block, once it sleeps in whatever call it has got to."""
    thread = threading.get_ident()
    return when_asleep(lambda: signal.pthread_kill(thread, number))
