"""What processes and threads synchronise with, all on the engine, each an instance of the standard class too.

A lock is an object in shared memory with an owner, and so is a permit that `with` took from a semaphore. When the owner
dies, `on_owner_died` says what the next one to ask gets: "raise": `OwnerDied`, and the lock is free; "warn": the lock, and
an `OwnerDiedWarning`; "ignore": the lock. It is an attribute of the object, and goes along when the object is sent.
"""

from __future__ import annotations

import multiprocessing.synchronize as _standard
from collections.abc import Callable

from tasuki import _private, _tasuki, context
from tasuki._private import handles

# Now: a death is told once, and when it is, nothing may be left to import, for which there may be no descriptor.
from tasuki._private.owner_died import OwnerDied, OwnerDiedWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from tasuki.context import OnOwnerDied
else:  # for programs that evaluate annotations
    Any = Self = object
    OnOwnerDied = str

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "OwnerDied",
    "OwnerDiedWarning",
    "RLock",
    "RwLock",
    "Semaphore",
]


class _SemLock(handles.Owned):
    """What the `_semlock` of a standard lock or semaphore is asked, by the standard library's own code too: it is the object
    itself. The rest, `_is_mine`, `_count`, `_get_value` and `handle`, is the engine's."""

    kind = 1  # what the standard library calls everything but a recursive lock
    name = None

    if TYPE_CHECKING:

        def _get_value(self) -> int: ...

    @property
    def _semlock(self) -> Self:
        return self

    @property
    def maxvalue(self) -> int:
        return 1

    def _is_zero(self) -> bool:
        return self._get_value() == 0


class Lock(_tasuki.Lock, _SemLock, _standard.Lock):
    """A lock that any process or thread may release."""

    def __init__(self, *, on_owner_died: OnOwnerDied = "raise", ctx: Any = None) -> None:
        self._create()
        self.on_owner_died = on_owner_died


class RLock(_tasuki.RLock, _SemLock, _standard.RLock):
    """A lock that its owner, a thread of a process, may take again."""

    kind = 0  # a recursive lock, to the standard library

    def __init__(self, *, on_owner_died: OnOwnerDied = "raise", ctx: Any = None) -> None:
        self._create()
        self.on_owner_died = on_owner_died


class RwLock(_tasuki.RwLock, handles.Owned):
    """A lock that any number of readers or one writer have, in processes and threads::

        with lock.read():
            ...
        with lock.write():
            ...

    A writer that waits lets no new reader in before it. A reader that is killed is forgotten; when a writer is, the next one to
    get the lock, to read or to write, is told as `on_owner_died` says. Not recursive: a thread that reads and asks again, to read
    or to write, may wait for itself. A child that is forked inside `with lock.read()` does not read, and is told so where the
    block ends. At most 128 processes read at the same time; a further one waits. The standard library has
    none.
    """

    def __init__(self, *, on_owner_died: OnOwnerDied = "raise", ctx: Any = None) -> None:
        self._create()
        self.on_owner_died = on_owner_died

    def read(self) -> _tasuki.Section:
        """Returns what a `with` statement reads in: it waits until nobody writes."""
        return _tasuki.Section(self, False)

    def write(self) -> _tasuki.Section:
        """Returns what a `with` statement writes in: it waits until nobody reads or writes."""
        return _tasuki.Section(self, True)

    def __repr__(self) -> str:
        status = "wanted by a writer" if self.locked() else f"readers: {self.readers}"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"


class Semaphore(_tasuki.Semaphore, _SemLock, _standard.Semaphore):
    """A number of permits. `with` owns its permit, which comes back when the process dies; `acquire()` and `release()` may
    be called by different processes, as for a signal."""

    def __init__(self, value: int = 1, *, on_owner_died: OnOwnerDied = "warn", ctx: Any = None) -> None:
        self._create(value, False)
        self.on_owner_died = on_owner_died


class BoundedSemaphore(Semaphore, _standard.BoundedSemaphore):
    """A semaphore that never has more permits than at the beginning: a release too many is a ValueError."""

    def __init__(self, value: int = 1, *, on_owner_died: OnOwnerDied = "warn", ctx: Any = None) -> None:
        self._create(value, True)
        self.on_owner_died = on_owner_died


class Event(_tasuki.Event, _standard.Event):
    """Something that happened or not yet; processes wait for it. `set()` releases all who wait, even if `clear()` follows."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    @property
    def _flag(self) -> _private.behind.Count:
        return _private.behind.Count(lambda: int(self.is_set()))

    @property
    def _cond(self) -> _private.behind.Moment:
        return _private.behind.Moment(self.wait)

    def __repr__(self) -> str:
        status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


class _ConditionLock(RLock):
    """The lock that a condition brings along."""

    def __init__(self, condition: Condition) -> None:
        self._bind_condition(condition)


# What it shows itself as.
_ConditionLock.__name__ = "RLock"


class Condition(_tasuki.Condition, _standard.Condition):
    """Lets processes and threads wait until another one says that something has changed.

    A waiter that is killed takes no notification with it. When the process that has the lock dies, one of those who wait
    is woken and told, as `on_owner_died` of the lock says; whatever `wait()` raises, the lock is held then.
    """

    _lock: Any

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._create()
        if lock:
            self._use(lock)
        else:
            self._use_own_lock()

    def _use(self, lock: Any) -> None:
        self._lock = lock
        self._tie(lock)
        self._make_methods()  # type: ignore[attr-defined]  # acquire and release are those of the lock

    def _use_own_lock(self) -> None:
        self._use(_ConditionLock(self))

    def locked(self) -> bool:
        """Whether anybody has the lock at this moment."""
        return bool(self._lock.locked() if hasattr(self._lock, "locked") else self._lock._semlock._is_zero())

    def _check_bare(self) -> None:
        if not isinstance(self._lock, _ConditionLock):
            raise TypeError(
                "a condition with the lock of another object cannot be a handle for a program in another language"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, {self._waiting})>"

    def __getstate__(self) -> Any:
        own = isinstance(self._lock, _ConditionLock)
        # Its own lock is there where the condition is; what its user chose about it travels along.
        return handles.pack(self), self._lock.on_owner_died if own else None, None if own else self._lock

    def __setstate__(self, state: Any) -> None:
        record, on_owner_died, lock = state
        handles.unpack(self, record)
        if lock is not None:
            self._use(lock)
        else:
            self._use_own_lock()
            self._lock.on_owner_died = on_owner_died

    # One count for the three semaphores of the standard class, so that sums and differences come out right.

    @property
    def _sleeping_count(self) -> _private.behind.Count:  # type: ignore[override]
        return _private.behind.Count(lambda: self._waiting)

    @property
    def _woken_count(self) -> _private.behind.Count:  # type: ignore[override]
        return _private.behind.Count(lambda: 0)

    @property
    def _wait_semaphore(self) -> _private.behind.Count:  # type: ignore[override]
        return _private.behind.Count(lambda: 0)


class Barrier(_tasuki.Barrier, _standard.Barrier):
    """A place where so many processes or threads wait until all have come. It breaks when one that is needed dies."""

    # As one from another language has them.
    _action: Callable[[], object] | None = None
    _timeout: float | None = None

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        self._create(parties)
        self._action, self._timeout = action, timeout

    def wait(self, timeout: float | None = None) -> int:
        """Waits until all have come, and returns a number below `parties`, another one for each of them.

        The last one to come calls the action first, if there is one. Raises threading.BrokenBarrierError, whose text
        says why, if the barrier is or gets broken; a timeout that runs out breaks it.
        """
        return self._wait(self._action, self._timeout if timeout is None else timeout)

    @property
    def _parties(self) -> int:
        return self.parties

    @property
    def _state(self) -> int:  # type: ignore[override]
        return -2 if self.broken else 0

    @property
    def _count(self) -> int:  # type: ignore[override]
        return self.n_waiting

    @property
    def _cond(self) -> _private.behind.NoLock:
        return _private.behind.NoLock()

    def _check_bare(self) -> None:
        if self._action:
            raise TypeError("a barrier with an action cannot be a handle for a program in another language")

    def __getstate__(self) -> Any:
        return handles.pack(self), self._action, self._timeout

    def __setstate__(self, state: Any) -> None:
        record, self._action, self._timeout = state
        handles.unpack(self, record)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


if context._is_installed:
    context._install_classes()
