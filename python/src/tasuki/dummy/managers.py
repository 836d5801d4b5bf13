"""What a manager is between threads: the objects themselves, since all threads see the same ones."""

from __future__ import annotations

import array
import builtins
import threading
from multiprocessing.dummy import Namespace
from typing import Any

from tasuki.dummy import queues, synchronize

__all__ = ("Manager", "Namespace", "Value")


class Value:
    """A value without a lock, as a manager has it."""

    def __init__(self, typecode: Any, value: Any, lock: bool = True) -> None:
        self._typecode = typecode
        self.value = value

    def get(self) -> Any:
        """Returns the value."""
        return self.value

    def set(self, value: Any) -> None:
        """Changes the value."""
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._typecode!r}, {self.value!r})"


class Manager:
    """Makes objects that are shared because threads share everything; there is no server to start or to end."""

    dict = builtins.dict
    list = builtins.list
    set = builtins.set
    Namespace = Namespace
    Value = Value
    Array = staticmethod(lambda typecode, sequence, lock=True: array.array(typecode, sequence))
    Queue = JoinableQueue = queues.JoinableQueue
    Event = threading.Event
    Barrier = threading.Barrier
    Lock = synchronize.Lock
    RLock = synchronize.RLock
    Condition = synchronize.Condition
    Semaphore = synchronize.Semaphore
    BoundedSemaphore = synchronize.BoundedSemaphore

    @staticmethod
    def Pool(*args: Any, **kwargs: Any) -> Any:
        """Returns a pool of threads."""
        from tasuki.dummy import Pool

        return Pool(*args, **kwargs)

    def start(self, initializer: Any = None, initargs: Any = ()) -> None:
        """Does nothing: there is no server."""

    def shutdown(self) -> None:
        """Does nothing: there is no server."""

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
