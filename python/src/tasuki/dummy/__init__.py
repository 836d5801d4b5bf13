"""Threads behind the names of `tasuki`: `import tasuki.dummy as multiprocessing` runs a program's processes as threads.

Every name of `tasuki` is here that has a meaning for threads, with the same arguments, methods and errors, so that one
word changes a program from threads to processes and back. Underneath are the standard library's own threads, locks and
queues: a `Process` is a `threading.Thread`, a `Queue` a `queue.Queue`. Values and arrays are those of processes. What
cannot be the same:

- A thread cannot be ended from outside: `terminate`, `kill` and `interrupt` raise, unless it has ended already.
- Threads share their objects, they have no copies: `close` of a queue or of an end of a pipe does nothing, since
  others use the same one, and so an end of a pipe never sees EOFError. Arguments need not be picklable.
- There is one way to start a thread: start methods are accepted, and change nothing.
- What starts or is handed to other programs is not here: `Command`, `inherited`, `install`.
"""

from __future__ import annotations

import multiprocessing.dummy as _standard
import sys
from collections.abc import Callable, Iterable
from multiprocessing.dummy import Barrier, Event, Pipe, freeze_support
from typing import TYPE_CHECKING, Any

from tasuki.context import (
    AuthenticationError,
    BufferTooShort,
    OwnerDied,
    OwnerDiedWarning,
    ProcessError,
    TimeoutError,
    _default_context,
)
from tasuki.dummy.managers import Manager
from tasuki.dummy.process import Process, Timer, active_children, current_process, parent_process
from tasuki.dummy.queues import JoinableQueue, Queue, ShutDown, SimpleQueue
from tasuki.dummy.synchronize import BoundedSemaphore, Condition, Lock, RLock, RwLock, Semaphore

if TYPE_CHECKING:
    from logging import Logger
    from multiprocessing.pool import ThreadPool
else:  # for programs that evaluate annotations
    Logger = ThreadPool = object

# Shared data works between threads as it does between processes, with the same types, locks and atomic operations.
Array = _default_context.Array
RawArray = _default_context.RawArray
RawValue = _default_context.RawValue
Value = _default_context.Value

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "OwnerDied",
    "OwnerDiedWarning",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "RwLock",
    "Semaphore",
    "ShutDown",
    "SimpleQueue",
    "TimeoutError",
    "Timer",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]


def Pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> ThreadPool:
    """Returns a pool of threads. They are not replaced: `maxtasksperchild` changes nothing."""
    from multiprocessing.pool import ThreadPool

    return ThreadPool(processes, initializer, initargs)


def cpu_count() -> int:
    """Returns the number of processors."""
    import tasuki

    return int(tasuki.cpu_count())


def get_context(method: str | None = None) -> Any:
    """Returns this module: it is the context of every start method."""
    _check(method)
    return sys.modules[__name__]


def get_start_method(allow_none: bool = False) -> str:
    """Returns "thread"."""
    return "thread"


def get_all_start_methods() -> list[str]:
    """Returns the one way to start a thread."""
    return ["thread"]


def set_start_method(method: str | None, force: bool = False) -> None:
    """Accepts any start method, as often as one likes; threads start as they do."""
    _check(method)


def _check(method: str | None) -> None:
    import tasuki

    if method not in (None, "thread", *tasuki.get_all_start_methods()):
        raise ValueError(f"cannot find context for {method!r}")


def allow_connection_pickling() -> None:
    """Does nothing: nothing is pickled."""


def set_executable(executable: str) -> None:
    """Does nothing: no program is started."""


def set_forkserver_preload(module_names: list[str], **options: Any) -> None:
    """Does nothing: there is no server."""


def get_logger() -> Logger:
    """Returns the package's logger."""
    from multiprocessing.util import get_logger

    return get_logger()


def log_to_stderr(level: str | int | None = None) -> Logger:
    """Turns on logging to standard error."""
    from multiprocessing.util import log_to_stderr

    return log_to_stderr(level)


def __getattr__(name: str) -> Any:
    if name in ("shared_array", "shared_array_from"):
        # As a value, the same between threads; loaded only when it is asked for, since it needs numpy.
        import tasuki

        return getattr(tasuki, name)
    return getattr(_standard, name)
