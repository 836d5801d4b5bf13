"""Locks between threads: the standard library's, which also understand what locks between processes do.

`acquire` takes `block` or `blocking`, and a timeout where None means no limit and less than 0 means 0. Errors are those
of both worlds: a release too many is a RuntimeError, as of threads, and a ValueError or AssertionError, as of
processes. `on_owner_died` is accepted and changes nothing: no thread is killed with a lock in its hand.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Event
from typing import Any

__all__ = ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "RwLock", "Semaphore")


class _NotTaken(RuntimeError, ValueError):
    """A lock was released that nobody has."""


class _NotOwner(RuntimeError, AssertionError):
    """A lock was released by a thread that has it not."""


class Lock:
    """A lock that any thread may release."""

    _new: Any = staticmethod(threading.Lock)
    _error: type[RuntimeError] = _NotTaken

    def __init__(self, *, on_owner_died: str = "raise") -> None:
        self._lock = self._new()
        self.on_owner_died = on_owner_died

    def acquire(self, block: bool = True, timeout: float | None = None, *, blocking: bool = True) -> bool:
        """Take the lock; returns whether it was taken."""
        if timeout is None or not (block and blocking):
            return bool(self._lock.acquire(block and blocking))
        return bool(self._lock.acquire(True, max(timeout, 0)))

    def release(self) -> None:
        """Free the lock."""
        try:
            self._lock.release()
        except RuntimeError as error:
            raise self._error(*error.args) from None

    def locked(self) -> bool:
        """Whether somebody has the lock."""
        return bool(self._lock.locked())

    def __enter__(self) -> bool:
        return bool(self._lock.acquire())

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._lock!r}>"


class RLock(Lock):
    """A lock that its owner may take again."""

    _new = staticmethod(threading.RLock)
    _error = _NotOwner

    def __init__(self, *, on_owner_died: str = "raise") -> None:
        super().__init__(on_owner_died=on_owner_died)
        # What threading.Condition uses to release all depths at once.
        self._release_save = self._lock._release_save
        self._acquire_restore = self._lock._acquire_restore
        self._is_owned = self._lock._is_owned

    def locked(self) -> bool:
        """Whether somebody has the lock."""
        if self._is_owned():
            return True
        if free := self.acquire(False):
            self.release()
        return not free


class RwLock:
    """A lock that any number of readers or one writer have; a writer that waits lets no new reader in before it."""

    def __init__(self, *, on_owner_died: str = "raise") -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writes = False
        self._writers_waiting = 0
        self.on_owner_died = on_owner_died

    def _wait_for(self, ready: Any, block: bool, timeout: float | None) -> bool:
        if timeout is not None or not block:
            return bool(self._changed.wait_for(ready, max(timeout or 0, 0) if block else 0))
        return bool(self._changed.wait_for(ready))

    def acquire_read(self, block: bool = True, timeout: float | None = None) -> bool:
        """Begin to read; returns whether that was possible in time."""
        with self._changed:
            got = self._wait_for(lambda: not self._writes and not self._writers_waiting, block, timeout)
            self._readers += got
            return got

    def release_read(self) -> None:
        """End one reading."""
        with self._changed:
            if not self._readers:
                raise _NotTaken("this process does not read")
            self._readers -= 1
            self._changed.notify_all()

    def acquire_write(self, block: bool = True, timeout: float | None = None) -> bool:
        """Begin to write, alone; returns whether that was possible in time."""
        with self._changed:
            self._writers_waiting += 1
            try:
                got = self._wait_for(lambda: not self._writes and not self._readers, block, timeout)
                self._writes |= got
                return got
            finally:
                self._writers_waiting -= 1
                self._changed.notify_all()

    def release_write(self) -> None:
        """End the writing."""
        with self._changed:
            if not self._writes:
                raise _NotTaken("this process does not write")
            self._writes = False
            self._changed.notify_all()

    @contextmanager
    def read(self) -> Iterator[None]:
        """Read in a `with` statement."""
        self.acquire_read()
        try:
            yield
        finally:
            self.release_read()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Write in a `with` statement."""
        self.acquire_write()
        try:
            yield
        finally:
            self.release_write()

    @property
    def readers(self) -> int:
        """How often it is read at this moment."""
        return self._readers

    def locked(self) -> bool:
        """Whether somebody writes, or waits for the readers to end."""
        return self._writes or self._writers_waiting > 0


class Condition(threading.Condition):
    """A condition with a lock of this module."""

    def __init__(self, lock: Any = None) -> None:
        own: Any = RLock() if lock is None else lock
        super().__init__(own)


class Semaphore(threading.Semaphore):
    """A semaphore whose value can be asked for."""

    def __init__(self, value: int = 1, *, on_owner_died: str = "warn") -> None:
        super().__init__(value)
        self.on_owner_died = on_owner_died

    def acquire(  # type: ignore[override]
        self, block: bool = True, timeout: float | None = None, *, blocking: bool = True
    ) -> bool:
        """Take a permit; returns whether there was one."""
        if timeout is None or not (block and blocking):
            return super().acquire(block and blocking)
        return super().acquire(True, max(timeout, 0))

    def get_value(self) -> int:
        """How many permits there are at this moment."""
        return self._value

    def locked(self) -> bool:
        """Whether there is no permit at this moment."""
        return self._value == 0


class BoundedSemaphore(Semaphore, threading.BoundedSemaphore):
    """A semaphore that raises ValueError when it is released more often than it was taken."""
