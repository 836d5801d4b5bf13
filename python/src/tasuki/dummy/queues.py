"""Queues between threads: the standard library's, with the methods that queues between processes have."""

from __future__ import annotations

import queue as _queue
from queue import Empty, Full
from typing import TypeVar

__all__ = ("Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue")

_T = TypeVar("_T")


class Queue(_queue.Queue[_T]):
    """A `queue.Queue`. Nothing is written, so `codec` changes nothing."""

    def __init__(self, maxsize: int = 0, *, codec: str = "pickle") -> None:
        super().__init__(maxsize)

    def close(self) -> None:
        """Does nothing: other threads use the same queue."""

    def join_thread(self) -> None:
        """Does nothing: there is no thread behind it."""

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread behind it."""


class JoinableQueue(Queue[_T]):
    """A `queue.Queue`, which has `task_done` and `join`."""


class SimpleQueue(_queue.SimpleQueue[_T]):
    """A `queue.SimpleQueue`."""

    def close(self) -> None:
        """Does nothing: other threads use the same queue."""
