"""Locks between processes: `Lock` and `RLock` on the engine, everything that is built from locks from the standard
library, where it runs on ours unchanged.

A lock is an object in shared memory with an owner. When its owner dies, the next one to ask gets `OwnerDied`, once,
and the lock is free.
"""

from __future__ import annotations

import multiprocessing.synchronize as _standard
from multiprocessing.synchronize import BoundedSemaphore, Condition, Event, Semaphore

from tasuki import _tasuki
from tasuki._private import handles
from tasuki.context import OwnerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["BoundedSemaphore", "Condition", "Event", "Lock", "OwnerDied", "RLock", "Semaphore"]


class Lock(_tasuki.Lock, _standard.Lock):
    """A lock that any process or thread may release."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


class RLock(_tasuki.RLock, _standard.RLock):
    """A lock that its owner, a thread of a process, may take again."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
