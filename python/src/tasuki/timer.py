"""A process that calls a function after a while, unless it is cancelled before: `threading.Timer` for processes.

The process starts at once and waits in itself; nobody keeps a thread for it. Each context has a `Timer` class that is
made from `BaseTimer` and the context's `Process`, as below.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import context, process

from tasuki.context import ForkProcess, ForkServerProcess, Process, SpawnProcess, _default_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ("BaseTimer", "ForkServerTimer", "ForkTimer", "SpawnTimer", "Timer")

#: How long a waiting daemon sleeps before it looks whether its parent still lives, in seconds.
_LOOK = 0.5


class BaseTimer(process.BaseProcess):
    """Calls `function(*args, **kwargs)` in a process of its own, `interval` seconds after `start()`.

    It is a process in everything else: it is started once, joined, named, and a daemon if it is told so. The interval
    counts from `start()`, not from the moment when the new process has come up. A subclass with a `run` of its own
    finds what `threading.Timer` has: `interval`, `function`, `args`, `kwargs`, and the event `finished`.
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        self.interval = interval
        self.function = function
        self.args = args if args is not None else []
        self.kwargs = kwargs if kwargs is not None else {}
        #: Set when the function has returned, or when the timer was cancelled.
        self.finished = self._context().Event()
        self._due = 0.0

    def start(self) -> None:
        """Start the process; the interval counts from here."""
        from tasuki import _tasuki

        self._due = _tasuki.deadline(self.interval)
        super().start()

    def cancel(self) -> None:
        """Keep the function from being called, if it has not been yet. Any process that has the timer may do it."""
        self.finished.set()

    def run(self) -> None:
        """Wait, and call the function unless the timer was cancelled; this runs in the new process."""
        if self._wait() and not self.finished.is_set():
            self.function(*self.args, **self.kwargs)
        self.finished.set()

    def _wait(self) -> bool:
        """Returns whether somebody is there to be on time for: False when this is a daemon and its parent has died."""
        from tasuki import _tasuki

        parent = _open_parent() if self.daemon else None
        while (left := self._due - _tasuki.deadline()) > 0:
            if self.daemon:
                if parent is None or _tasuki.poll([parent], 0):
                    return False
                left = min(left, _LOOK)
            if self.finished.wait(left):
                break
        return True

    def _context(self) -> Any:
        return _default_context.get_context(self._start_method)  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # What only the parent can use: a copy elsewhere can look at the timer and cancel it.
        state["_popen"] = None
        if context.get_spawning_popen() is None:
            state["_config"] = {key: value for key, value in state["_config"].items() if key != "authkey"}
        return state


class Timer(BaseTimer, Process):
    """A function called after a while, in a process started by the default start method, unless cancelled before."""


class ForkTimer(BaseTimer, ForkProcess):
    """A timer whose process is started by os.fork()."""


class SpawnTimer(BaseTimer, SpawnProcess):
    """A timer whose process is started as a fresh interpreter."""


class ForkServerTimer(BaseTimer, ForkServerProcess):
    """A timer whose process is forked by a server."""


def _open_parent() -> int | None:
    """A pidfd of the process that started this one, open until this one ends; None when it has died already.

    The sentinel that the standard library hands to children does not do: after a fork, siblings hold its other end.
    """
    parent = process.parent_process()
    if parent is None or parent.pid is None:
        return None
    try:
        pidfd = os.pidfd_open(parent.pid)
    except ProcessLookupError:
        return None
    except OSError:
        # No pidfds here: the sentinel then, which may tell the end late.
        return os.dup(parent.sentinel)
    # The number may be another's by now. If the parent lived after the descriptor was opened, it is the parent's.
    return pidfd if parent.is_alive() else None
