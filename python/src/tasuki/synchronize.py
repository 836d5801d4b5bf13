"""Locks between processes: `Lock` and `RLock` on the engine, everything that is built from locks from the standard
library, where it runs on ours unchanged.

A lock is an object in shared memory with an owner. When its owner dies, `on_owner_died` says what the next one to ask
gets: "raise": `OwnerDied`, and the lock is free; "warn": the lock, and an `OwnerDiedWarning`; "ignore": the lock. It is an
attribute of the object, and goes along when the object is sent.
"""

from __future__ import annotations

import multiprocessing.synchronize as _standard
from multiprocessing.synchronize import BoundedSemaphore, Condition, Semaphore

from tasuki import _tasuki
from tasuki._private import handles
from tasuki.context import OwnerDied, OwnerDiedWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasuki.context import OnOwnerDied

__all__ = ["BoundedSemaphore", "Condition", "Event", "Lock", "OwnerDied", "OwnerDiedWarning", "RLock", "Semaphore"]


class Lock(_tasuki.Lock, handles.Owned, _standard.Lock):
    """A lock that any process or thread may release."""

    def __init__(self, *, on_owner_died: OnOwnerDied = "raise", ctx: Any = None) -> None:
        self._create()
        self.on_owner_died = on_owner_died


class RLock(_tasuki.RLock, handles.Owned, _standard.RLock):
    """A lock that its owner, a thread of a process, may take again."""

    def __init__(self, *, on_owner_died: OnOwnerDied = "raise", ctx: Any = None) -> None:
        self._create()
        self.on_owner_died = on_owner_died


class Event(_tasuki.Event, _standard.Event):
    """Something that happened or not yet; processes wait for it. `set()` releases all who wait, even if `clear()` follows."""

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    def __repr__(self) -> str:
        status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
